# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending end of a hop: pace, repetition, giving up; time is passed in."""

import itertools
import math

import numpy as np
import pytest
from outbox_drain import drain, drain_ready, message

from edge_dnn_partition.transport.fragments import PROBE, fragment_size
from edge_dnn_partition.transport.outbox import BURST_BYTES, CATCH_UP_SECONDS, Outbox
from edge_dnn_partition.transport.outgoing import (
    DRAIN_GAIN,
    PROBE_GAIN,
    PROBE_QUEUE_BYTES,
    PROBE_QUEUE_SECONDS,
    STEADY_GAIN,
    TRAIN_FRAGMENTS,
    Loss,
    Waiting,
)


def test_pace_follows_the_rate_and_probes_with_every_other_message():
    outbox = Outbox(rate=1e4)
    train = [PROBE_GAIN] * TRAIN_FRAGMENTS + [DRAIN_GAIN] * TRAIN_FRAGMENTS
    for number in range(4):
        outbox.put(message(number, 300), 0.0)
        taken = drain(outbox, 100.0 * number)
        gaps = np.diff([at for at, *_ in taken])
        assert [index for _, index, _ in taken] == list(range(30))
        outbox.acknowledge(number)
        gains = [STEADY_GAIN] * 30 if number % 2 else train + [STEADY_GAIN] * 14
        np.testing.assert_allclose(gaps, 10 / (1e4 * np.array(gains[:-1])), rtol=1e-6)
        fast = 0 if number % 2 else TRAIN_FRAGMENTS
        assert [ready[1].paced for *_, ready in taken] == [False] * fast + [True] * (30 - fast)


@pytest.mark.parametrize(('rate', 'more'), [
    (3e6, 0.12), (1e6, 1e6 * PROBE_QUEUE_SECONDS / (TRAIN_FRAGMENTS * 4000)), (1e5, PROBE_QUEUE_BYTES / (TRAIN_FRAGMENTS * 4000)),
])  # fmt: skip
def test_where_there_is_room_the_next_message_looks_for_twice_as_much_more(rate, more):
    """On a slow link it begins with less, so as not to fill a short queue."""
    outbox = Outbox(rate=rate)
    gains = []
    for number, share in enumerate((1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0)):
        outbox.put(message(number, 40_000, 4000), 0.0)
        times = [at for at, *_ in drain(outbox, 1000.0 * number)]
        gains.append(4000 / (rate * (times[1] - times[0])))
        outbox.acknowledge(number, share * gains[-1] * rate)
    wanted = [*(min(2.0, 1 + more * 2**doublings) for doublings in range(6)), 1 + more, STEADY_GAIN]
    np.testing.assert_allclose(gains, wanted, rtol=1e-6)


def test_a_look_for_room_fills_only_a_few_milliseconds_of_a_slow_links_queue():
    outbox = Outbox(rate=1e6)
    outbox.put(message(0, 120_000, 4000), 0.0)
    times = [at for at, *_ in drain(outbox)]
    ahead = [4000 * index / 1e6 - at for index, at in enumerate(times)]
    assert PROBE_QUEUE_SECONDS / 2 < max(ahead) <= PROBE_QUEUE_SECONDS
    assert ahead[2 * TRAIN_FRAGMENTS] < PROBE_QUEUE_SECONDS / 4, 'the fragments after it let the queue drain'


def test_fragments_that_are_asked_for_go_at_the_steady_pace():
    outbox = Outbox(rate=1000.0)
    outbox.put(message(0, 100), 0.0)
    drain(outbox)
    outbox.resend(0, [1, 2, 3, 4])
    gaps = np.diff([at for at, *_ in drain(outbox, 50.0)])
    np.testing.assert_allclose(gaps, 10 / (1000 * STEADY_GAIN))


def test_a_late_wake_up_is_made_good_but_not_a_pause():
    outbox = Outbox(rate=1000.0)
    outbox.put(message(0), 0.0)
    outbox.put(message(1), 0.0)
    for _ in range(10):
        outbox.take(outbox.next_at(1.0))
    due = outbox.next_at(1.0)
    outbox.take(due + CATCH_UP_SECONDS / 2)
    assert outbox.next_at(0.0) == pytest.approx(due + 10 / (1000 * STEADY_GAIN))
    outbox.take(due + 10.0)
    assert outbox.next_at(0.0) == pytest.approx(due + 10.0 + 10 / (1000 * STEADY_GAIN))


def test_no_fragment_leaves_before_its_time():
    outbox = Outbox(rate=1000.0)
    outbox.put(message(1), 0.0)
    assert outbox.take(0.0) is not None
    assert outbox.take(0.005) is None
    assert outbox.take(outbox.next_at(0.005))[1].index == 1


def test_without_a_rate_a_burst_waits_for_acks():
    outbox = Outbox(retry_seconds=50.0)
    for number in range(4):
        outbox.put(message(number, BURST_BYTES // 2 + 1, BURST_BYTES), 0.0)
    assert [outbox.take(0.0)[1].message for _ in range(2)] == [0, 1]
    assert outbox.take(0.0) is None
    assert outbox.next_at(0.0) == 50.0
    assert outbox.acknowledge(0)
    assert not outbox.acknowledge(0)
    assert outbox.take(0.0)[1].message == 2


def test_retries_draw_a_ack_until_given_up():
    outbox = Outbox(retry_seconds=1.0, give_up_seconds=20.0)
    outbox.put(message(1, 30), 0.0)
    drain(outbox)
    times, now = [], 0.0
    while not outbox.idle:
        now = outbox.next_at(now)
        if now >= 20.0:
            assert outbox.take(now) is None
            break
        ready = outbox.take(now)
        assert ready[1].index == 2, 'the last fragment draws the acknowledgement'
        times.append(now)
    assert times == [1.0, 3.0, 7.0, 15.0]
    assert outbox.given_up == 1
    assert (outbox.idle, outbox.bytes_unacknowledged) == (True, 0)


def test_missing_fragments_go_first_and_once():
    outbox = Outbox()
    outbox.put(message(1), 0.0)
    drain(outbox)
    outbox.put(message(2), 0.1)
    outbox.resend(1, [4, 7, 4, 99, -1])
    outbox.resend(9, [0])
    order = [(ready[1].message, ready[1].index) for *_, ready in drain(outbox, 0.1)]
    assert order == [(1, 4), (1, 7), *((2, i) for i in range(10))]
    outbox.resend(1, [99])
    assert outbox.acknowledge(1), 'a request for no real fragment forgot the message'


def test_dropping_a_frame_and_all():
    outbox = Outbox()
    for number, frame in ((1, 1), (2, 2), (3, 1)):
        outbox.put(message(number, frame=frame), 0.0)
    outbox.take(0.0)
    outbox.drop_frame(1)
    assert [ready[1].message for *_, ready in drain(outbox)] == [2] * 10
    assert outbox.bytes_unacknowledged == 100
    outbox.clear()
    assert (outbox.idle, outbox.bytes_unacknowledged, outbox.next_at(0.0)) == (True, 0, math.inf)


def test_probes_yield_and_are_not_waited_for():
    outbox = Outbox()
    outbox.put(message(1, kind=PROBE), 0.0)
    outbox.put(message(2, kind=PROBE), 0.0)
    assert len(drain(outbox)) == 10
    assert (outbox.idle, outbox.bytes_unacknowledged) == (True, 0)


def test_a_probe_goes_no_further_when_a_frame_comes_and_says_nothing_of_the_link():
    outbox = Outbox(rate=1e4)
    outbox.put(message(1, kind=PROBE), 0.0)
    assert outbox.take(0.0)[1].index == 0
    outbox.put(message(2), 0.0)
    assert {ready[1].message for *_, ready in drain(outbox)} == {2}
    assert outbox.bytes_unacknowledged == 100
    assert outbox.probe_lost(1) == Loss()
    assert outbox.probe_lost(3) is None, 'it went to another inbox'


def test_memory_is_bounded_by_the_oldest_that_waits():
    outbox = Outbox(keep_bytes=250)
    for number in range(4):
        outbox.put(message(number), 0.0)
        drain(outbox)
    assert outbox.bytes_unacknowledged <= 250
    assert outbox.given_up == 2
    assert not outbox.acknowledge(1)
    assert outbox.acknowledge(2)


def test_fragments_too_large_for_what_the_link_turned_out_to_be_are_cut_anew():
    outbox = Outbox(rate=1e7, numbers=itertools.count(100))
    outbox.put(message(1, 300_000, 60_000), 0.0)
    drain(outbox)
    outbox.rate = 1e6  # as the receiver said with what it lacks
    outbox.resend(1, [0, 2])
    assert {ready[1].message for *_, ready in drain(outbox, 5.0)} == {1}, 'they were too fast; what is there need not come again'
    outbox.resend(1, [0, 2])
    taken = [ready[1] for *_, ready in drain(outbox, 10.0)]
    assert {fragment.message for fragment in taken} == {100}
    assert [fragment.index for fragment in taken] == list(range(-(-300_000 // fragment_size(300_000, rate=1e6))))
    assert b''.join(bytes(fragment.data) for fragment in taken) == bytes(message(1, 300_000).buffer)
    assert outbox.bytes_unacknowledged == 300_000
    assert not outbox.acknowledge(1)
    assert outbox.acknowledge(100)
    assert outbox.idle and outbox.bytes_unacknowledged == 0


def test_a_silent_link_is_believed_to_be_slower_until_the_fragments_are_small():
    rates = []

    def silence(_now, heard):
        assert not heard
        rates.append(outbox.rate / 2)
        return rates[-1]

    outbox = Outbox(rate=4e6, numbers=itertools.count(100), on_silence=silence, give_up_seconds=30.0)
    outbox.put(message(1, 300_000, 24_000), 0.0)
    now, last = 0.0, None
    while not outbox.idle:
        now = max(now, outbox.next_at(now))
        ready = outbox.take(now)
        last = ready[1] if ready else last
    assert rates == [2e6, 1e6, 5e5]
    assert len(last.data) <= 0.006 * 1e6
    assert (outbox.given_up, outbox.bytes_unacknowledged) == (1, 0)


def test_messages_without_an_answer_beside_answered_ones_are_told_once_a_while():
    calls = []
    outbox = Outbox(rate=1e6, on_silence=lambda now, heard: calls.append((now, heard)), retry_seconds=1.0)
    for number in range(5):
        outbox.put(message(number, 30), 0.0)
    drain(outbox)
    outbox.acknowledge(4, now=0.5)
    for tenth in range(5, 25):
        while outbox.take(tenth / 10) is not None:
            pass
    assert calls == [(1.0, True)], 'four lost, told once; what was sent again has its own time to be answered'


def test_on_a_guess_one_message_goes_at_a_time_and_later_ones_are_cut_larger():
    outbox = Outbox(rate=1e6, cautious=True, numbers=itertools.count(100), retry_seconds=1e9)
    for number in range(3):
        outbox.put(message(number, 120_000, 1_200), 0.0)
    assert {ready[1].message for *_, ready in drain_ready(outbox)} == {0}
    outbox.cautious = False
    outbox.rate = 2e6
    outbox.acknowledge(0)
    taken = [ready[1] for *_, ready in drain(outbox, 10.0)]
    count = -(-120_000 // fragment_size(120_000, rate=2e6))
    assert [fragment.message for fragment in taken] == [1] * count + [2] * count
    assert max(len(fragment.data) for fragment in taken) == fragment_size(120_000, rate=2e6) > 9_000


def test_many_fragments_that_are_missing_early_are_sent_again_within_their_message():
    outbox = Outbox(rate=1e4)
    outbox.put(message(1, 1000), 0.0)
    now = 0.0
    for _ in range(40):
        now = max(now, outbox.next_at(now))
        outbox.take(now)
    assert outbox.resend(1, list(range(4, 14))) == Loss(), 'these are few'
    lost = outbox.resend(1, list(range(4, 28)))
    assert (lost.share, lost.rate) == (24 / 28, pytest.approx(PROBE_GAIN * 1e4))
    assert [index for _, index, _ in drain(outbox, now)] == [*range(40, 100), *range(4, 28)]


def test_on_a_guess_the_first_look_is_for_twice_the_rate():
    outbox = Outbox(rate=1e4, cautious=True)
    outbox.put(message(1, 300), 0.0)
    times = [at for at, *_ in drain(outbox)]
    assert times[1] - times[0] == pytest.approx(10 / 2e4)


def test_the_message_that_has_waited_longest_and_since_when_it_alone_has():
    outbox = Outbox(rate=1e5)
    assert outbox.unanswered(5.0) is None
    for number, size in ((1, 200), (2, 300)):
        outbox.put(message(number, size, frame=number), 1.0)
    assert outbox.unanswered(1.0) is None  # nothing has left
    drain(outbox, 2.0)
    assert outbox.unanswered(4.0) == Waiting(200, 2.0, 30)
    assert outbox.unanswered(4.0, 2).size == 300
    assert outbox.unanswered(4.0, 3) is None
    outbox.acknowledge(1, now=4.5)
    assert outbox.unanswered(5.0) == Waiting(300, 0.5, 30)
    outbox.drop_frame(2)
    assert outbox.unanswered(5.0) is None


def test_no_probe_is_waited_for():
    outbox = Outbox(rate=1000.0)
    outbox.put(message(1, kind=PROBE), 0.0)
    drain(outbox)
    assert outbox.unanswered(9.0) is None


def test_a_message_that_was_asked_after_in_vain_is_not_waited_for_any_longer():
    outbox = Outbox(rate=1e5, retry_seconds=0.3)
    outbox.put(message(1, 200), 0.0)
    drain(outbox)
    for now in (0.5, 1.5):
        assert outbox.unanswered(now) is not None
        assert outbox.take(now) is not None
    assert outbox.unanswered(3.0) is None


def half_sent(outbox, size=4000):
    """Begin a message of a hundred fragments of which half have left; return when each did."""
    outbox.put(message(1, 100 * size, size), 0.0)
    now, left = 0.0, []
    while len(left) < 50:
        now = max(now, outbox.next_at(now))
        left.append(int(outbox.take(now)[0] * 1e9))
    return now, left


def test_a_run_of_a_long_message_that_shows_headroom_lets_its_next_fragments_look_for_more():
    outbox = Outbox(rate=1e6)
    now, left = half_sent(outbox)
    fast = left[TRAIN_FRAGMENTS - 1]
    look = outbox.on_run(1, left[0], fast, (TRAIN_FRAGMENTS - 1) * 4000, now)
    assert look.asked > 1e6
    outbox.next_train(1, look, look.asked, sender_limited=False)
    fragments = [outbox.take(outbox.next_at(now))[1] for _ in range(2)]
    assert not any(fragment.paced for fragment in fragments)
    gap = (fragments[1].sent_ns - fragments[0].sent_ns) * 1e-9
    assert gap == pytest.approx(4000 / (1e6 * (1 + 2 * 1e6 * PROBE_QUEUE_SECONDS / (TRAIN_FRAGMENTS * 4000))), rel=1e-3)


def test_what_has_come_of_a_long_message_is_not_waited_for_any_longer():
    outbox = Outbox(rate=1e6)
    now, left = half_sent(outbox)
    assert outbox.unanswered(now).size == 100_000, 'of so much there is word: what the link carries in a tenth of a second'
    outbox.on_run(1, left[0], left[40], 40 * 4000, now)
    assert outbox.bytes_left(1) == 60 * 4000
    assert outbox.unanswered(now + 0.5) == Waiting(100_000, 0.5, 12_000)
    assert outbox.bytes_left(2) == 0


def test_a_run_of_which_fragments_were_lost_shows_no_rate():
    outbox = Outbox(rate=1e6)
    now, left = half_sent(outbox)
    assert outbox.on_run(1, left[0], left[20], 18 * 4000, now) is None
    assert outbox.on_run(9, left[0], left[20], 18 * 4000, now) is None, 'a message that nobody knows'
    assert outbox.on_run(1, left[0], left[20], 20 * 4000, now).asked == 0, 'not all of it looked for room'


def test_a_probe_goes_before_what_is_held_up_and_no_further_once_a_frame_comes():
    outbox = Outbox(rate=100.0)
    outbox.put(message(1, 500), 0.0)
    first = drain(outbox, 0.0, until=0.4)
    assert outbox.next_at(0.4) < math.inf and not outbox.may_be_probed(0.4)
    outbox.put(message(2, 50, kind=PROBE), 0.4, hoped=1e4)
    assert {ready[1].message for *_, ready in first + drain(outbox, 0.4, until=0.6)} == {1}
    assert outbox.may_be_probed(0.7)
    outbox.put(message(3, 50, kind=PROBE), 0.7, hoped=1e4)
    assert [ready[1].message for *_, ready in drain(outbox, 0.7, until=1.0)][:6] == [3] * 5 + [1]
    outbox.put(message(4, 50, kind=PROBE), 1.2, hoped=1e4)
    outbox.put(message(5), 1.2)
    assert 4 not in {ready[1].message for *_, ready in drain(outbox, 1.2, until=2.0)}


def test_what_was_lost_before_the_link_answered_again_is_not_waited_for_until_it_is_sent_again():
    outbox = Outbox(rate=1e4, retry_seconds=0.3)
    outbox.put(message(1), 0.0)
    drain(outbox)
    outbox.resend(1, [4, 5, 6, 7], 0.1)
    sent = drain(outbox, 0.1)[-1][0]
    assert outbox.unanswered(sent + 0.2) is not None
    outbox.acknowledge(99, now=sent + 0.25)
    assert outbox.unanswered(sent + 0.5) is None
    again = outbox.next_at(sent + 0.5)
    assert outbox.take(again) is not None
    assert outbox.unanswered(again + 0.2).seconds == pytest.approx(again + 0.2 - sent - 0.25)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending end of a hop: pace, emulated link, repetition, giving up; time is passed in."""

import itertools
import math

import numpy as np
import pytest

from edge_dnn_partition.runtime.link_evidence import Look, Loss
from edge_dnn_partition.runtime.outbox import BURST_BYTES, CATCH_UP_SECONDS, Outbox
from edge_dnn_partition.runtime.piece_size import in_packets, piece_size
from edge_dnn_partition.runtime.pieces import FRAME, PROBE, Address, Bundle
from edge_dnn_partition.runtime.room_search import DRAIN_GAIN, PROBE_GAIN, PROBE_QUEUE_SECONDS, STEADY_GAIN, TRAIN_PIECES
from edge_dnn_partition.testbed.link import Channel, EmulatedLink


def bundle(number, size=100, piece_bytes=10, *, kind=FRAME, frame=1):
    buffer = np.arange(size, dtype=np.uint64).astype(np.uint8).data
    return Bundle(kind, 'pi', 1, Address('m', 1, frame, 0, 0), number, buffer, piece_bytes=piece_bytes)


def drain(outbox, now=0.0, limit=1000):
    """Take all that leaves until nothing is due without a receipt; return (time, piece index, ready)."""
    taken = []
    while len(taken) < limit and outbox._queue:
        now = max(now, outbox.next_at(now))
        ready = outbox.take(now)
        assert ready is not None, 'next_at named a time at which nothing leaves'
        taken.append((now, ready.piece.index, ready))
    return taken


def drain_ready(outbox, now=0.0):
    """Take what leaves until something has to wait for a receipt."""
    taken = []
    while math.isfinite(at := outbox.next_at(now)) and at < 1e8:
        now = at
        taken.append((now, outbox.take(now)))
    return taken


def test_pace_follows_the_rate_and_probes_with_every_other_bundle():
    outbox = Outbox(rate=1e4)
    train = [PROBE_GAIN] * TRAIN_PIECES + [DRAIN_GAIN] * TRAIN_PIECES
    for number in range(4):
        outbox.put(bundle(number, 300), 0.0)
        taken = drain(outbox, 100.0 * number)
        gaps = np.diff([at for at, *_ in taken])
        assert [index for _, index, _ in taken] == list(range(30))
        outbox.acknowledge(number)
        gains = [STEADY_GAIN] * 30 if number % 2 else train + [STEADY_GAIN] * 14
        np.testing.assert_allclose(gaps, 10 / (1e4 * np.array(gains[:-1])), rtol=1e-6)
        assert {ready.piece.paced for *_, ready in taken} == {number % 2 == 1}


@pytest.mark.parametrize(('rate', 'more'), [(8e3, 0.12), (3000.0, 3000 * PROBE_QUEUE_SECONDS / (TRAIN_PIECES * 10)), (100.0, 0.04)])
def test_where_there_is_room_the_next_bundle_looks_for_twice_as_much_more(rate, more):
    """On a slow link it begins with less, so as not to fill a short queue."""
    outbox = Outbox(rate=rate)
    gains = []
    for number, share in enumerate((1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0)):
        outbox.put(bundle(number, 100), 0.0)
        times = [at for at, *_ in drain(outbox, 1000.0 * number)]
        gains.append(10 / (rate * (times[1] - times[0])))
        outbox.acknowledge(number, share * gains[-1] * rate)
    wanted = [*(min(2.0, 1 + more * 2**doublings) for doublings in range(6)), 1 + more, STEADY_GAIN]
    np.testing.assert_allclose(gains, wanted, rtol=1e-6)


def test_a_look_for_room_fills_only_a_few_milliseconds_of_a_slow_links_queue():
    outbox = Outbox(rate=3000.0)
    outbox.put(bundle(0, 300), 0.0)
    times = [at for at, *_ in drain(outbox)]
    ahead = [10 * index / 3000 - at for index, at in enumerate(times)]
    assert PROBE_QUEUE_SECONDS / 2 < max(ahead) <= PROBE_QUEUE_SECONDS
    assert ahead[2 * TRAIN_PIECES] < PROBE_QUEUE_SECONDS / 4, 'the pieces after it let the queue drain'


def test_pieces_that_are_asked_for_go_at_the_steady_pace():
    outbox = Outbox(rate=1000.0)
    outbox.put(bundle(0, 100), 0.0)
    drain(outbox)
    outbox.resend(0, [1, 2, 3, 4])
    gaps = np.diff([at for at, *_ in drain(outbox, 50.0)])
    np.testing.assert_allclose(gaps, 10 / (1000 * STEADY_GAIN))


def test_a_late_wake_up_is_made_good_but_not_a_pause():
    outbox = Outbox(rate=1000.0)
    outbox.put(bundle(0), 0.0)
    outbox.put(bundle(1), 0.0)
    for _ in range(10):
        outbox.take(outbox.next_at(1.0))
    due = outbox.next_at(1.0)
    outbox.take(due + CATCH_UP_SECONDS / 2)
    assert outbox.next_at(0.0) == pytest.approx(due + 10 / (1000 * STEADY_GAIN))
    outbox.take(due + 10.0)
    assert outbox.next_at(0.0) == pytest.approx(due + 10.0 + 10 / (1000 * STEADY_GAIN))


def test_no_piece_leaves_before_its_time():
    outbox = Outbox(rate=1000.0)
    outbox.put(bundle(1), 0.0)
    assert outbox.take(0.0) is not None
    assert outbox.take(0.005) is None
    assert outbox.take(outbox.next_at(0.005)).piece.index == 1


def test_without_a_rate_a_burst_waits_for_receipts():
    outbox = Outbox(retry_seconds=50.0)
    for number in range(4):
        outbox.put(bundle(number, BURST_BYTES // 2 + 1, BURST_BYTES), 0.0)
    assert [outbox.take(0.0).piece.bundle for _ in range(2)] == [0, 1]
    assert outbox.take(0.0) is None
    assert outbox.next_at(0.0) == 50.0
    assert outbox.acknowledge(0)
    assert not outbox.acknowledge(0)
    assert outbox.take(0.0).piece.bundle == 2


def test_retries_draw_a_receipt_until_given_up():
    outbox = Outbox(retry_seconds=1.0, give_up_seconds=20.0)
    outbox.put(bundle(1, 30), 0.0)
    drain(outbox)
    times, now = [], 0.0
    while not outbox.idle:
        now = outbox.next_at(now)
        if now >= 20.0:
            assert outbox.take(now) is None
            break
        ready = outbox.take(now)
        assert ready.piece.index == 2, 'the last piece draws the receipt'
        times.append(now)
    assert times == [1.0, 3.0, 7.0, 15.0]
    assert (outbox.pieces_repeated, outbox.given_up) == (4, 1)
    assert (outbox.idle, outbox.bytes_unacknowledged) == (True, 0)


def test_missing_pieces_go_first_and_once():
    outbox = Outbox()
    outbox.put(bundle(1), 0.0)
    drain(outbox)
    outbox.put(bundle(2), 0.1)
    outbox.resend(1, [4, 7, 4, 99, -1])
    outbox.resend(9, [0])
    order = [(ready.piece.bundle, ready.piece.index) for *_, ready in drain(outbox, 0.1)]
    assert order == [(1, 4), (1, 7), *((2, i) for i in range(10))]
    assert outbox.pieces_repeated == 2
    outbox.resend(1, [99])
    assert outbox.acknowledge(1), 'a request for no real piece forgot the bundle'


def test_dropping_a_frame_and_all():
    outbox = Outbox()
    for number, frame in ((1, 1), (2, 2), (3, 1)):
        outbox.put(bundle(number, frame=frame), 0.0)
    outbox.take(0.0)
    outbox.drop_frame(1)
    assert [ready.piece.bundle for *_, ready in drain(outbox)] == [2] * 10
    assert outbox.bytes_unacknowledged == 100
    outbox.clear()
    assert (outbox.idle, outbox.bytes_unacknowledged, outbox.next_at(0.0)) == (True, 0, math.inf)


def test_probes_yield_and_are_not_waited_for():
    outbox = Outbox()
    outbox.put(bundle(1, kind=PROBE), 0.0)
    outbox.put(bundle(2, kind=PROBE), 0.0)
    assert len(drain(outbox)) == 10
    assert (outbox.idle, outbox.bytes_unacknowledged) == (True, 0)


def test_a_probe_goes_no_further_when_a_frame_comes_and_says_nothing_of_the_link():
    outbox = Outbox(rate=1e4)
    outbox.put(bundle(1, kind=PROBE), 0.0)
    assert outbox.take(0.0).piece.index == 0
    outbox.put(bundle(2), 0.0)
    assert {ready.piece.bundle for *_, ready in drain(outbox)} == {2}
    assert outbox.bytes_unacknowledged == 100
    assert outbox.probe_lost(1) == Loss()
    assert outbox.probe_lost(3) == Loss(1.0)


def test_memory_is_bounded_by_the_oldest_that_waits():
    outbox = Outbox(keep_bytes=250)
    for number in range(4):
        outbox.put(bundle(number), 0.0)
        drain(outbox)
    assert outbox.bytes_unacknowledged <= 250
    assert outbox.given_up == 2
    assert not outbox.acknowledge(1)
    assert outbox.acknowledge(2)


def test_an_emulated_link_takes_size_over_rate_and_its_delay():
    link = EmulatedLink(1000.0, 0.25, overhead_bytes=60)
    assert link.send(10.0, 140) == pytest.approx(10.45)
    assert link.free_at(10.0) == pytest.approx(10.2)
    assert link.send(10.1, 40) == pytest.approx(10.55), 'the second waits for the first'
    assert link.send(20.0, 40) == pytest.approx(20.35), 'an idle link has no debts'


def test_links_of_one_channel_share_its_rate():
    channel = Channel()
    one, other = EmulatedLink(100.0, 0.0, 0, channel), EmulatedLink(100.0, 0.5, 0, channel)
    assert one.send(0.0, 100) == 1.0
    assert other.send(0.0, 100) == 2.5


def test_what_is_on_an_emulated_link_goes_on_at_its_new_rate():
    link = EmulatedLink(100.0, 0.5, 0)
    assert link.send(10.0, 1000) == 20.5
    assert link.change(12.0, 400.0, 0.25) == (20.5, 14.25)
    assert link.free_at(12.0) == 14.0
    assert link.change(13.0, 0.0, 0.25) is None  # a cut link: what was on it arrives
    assert link.change(13.0, 100.0, 0.25) is None
    assert link.change(15.0, 200.0, 0.25) is None
    other = EmulatedLink(100.0, 0.0, 0, link.channel)
    other.send(15.0, 100)
    assert link.change(15.5, 100.0, 0.0) is None  # the air is taken by the other's piece
    assert link.free_at(15.5) == 16.0


def test_a_bundle_over_an_emulated_link():
    outbox = Outbox(shaper=EmulatedLink(700.0, 0.125), retry_seconds=100.0)
    outbox.put(bundle(1), 0.0)
    taken = drain(outbox)
    np.testing.assert_allclose([r.at for *_, r in taken], np.arange(1, 11) * 0.1 + 0.125)
    np.testing.assert_allclose([at for at, *_ in taken], np.arange(10) * 0.1, atol=1e-12)
    outbox.shaper.bytes_per_second = 0.0
    outbox.put(bundle(2), 2.0)
    assert outbox.take(2.0) is None, 'a cut link let a piece through'


def test_pieces_too_large_for_what_the_link_turned_out_to_be_are_cut_anew():
    outbox = Outbox(rate=1e7, numbers=itertools.count(100))
    outbox.put(bundle(1, 300_000, 60_000), 0.0)
    drain(outbox)
    outbox.rate = 1e6  # as the receiver said with what it lacks
    outbox.resend(1, [0, 2])
    taken = [ready.piece for *_, ready in drain(outbox, 10.0)]
    assert {piece.bundle for piece in taken} == {100}
    assert [piece.index for piece in taken] == list(range(-(-300_000 // piece_size(300_000, rate=1e6))))
    assert b''.join(bytes(piece.data) for piece in taken) == bytes(bundle(1, 300_000).buffer)
    assert outbox.bytes_unacknowledged == 300_000
    assert not outbox.acknowledge(1)
    assert outbox.acknowledge(100)
    assert outbox.idle and outbox.bytes_unacknowledged == 0


def test_a_silent_link_is_believed_to_be_slower_until_the_pieces_are_small():
    rates = []

    def silence(_now, heard):
        assert not heard
        rates.append(outbox.rate / 2)
        return rates[-1]

    outbox = Outbox(rate=4e6, numbers=itertools.count(100), on_silence=silence, give_up_seconds=30.0)
    outbox.put(bundle(1, 300_000, 24_000), 0.0)
    now, last = 0.0, None
    while not outbox.idle:
        now = max(now, outbox.next_at(now))
        ready = outbox.take(now)
        last = ready.piece if ready else last
    assert rates == [2e6, 1e6, 5e5]
    assert len(last.data) <= 0.006 * 1e6
    assert (outbox.given_up, outbox.bytes_unacknowledged) == (1, 0)


def test_bundles_without_an_answer_beside_answered_ones_are_told_once_a_while():
    calls = []
    outbox = Outbox(rate=1e6, on_silence=lambda now, heard: calls.append((now, heard)), retry_seconds=1.0)
    for number in range(5):
        outbox.put(bundle(number, 30), 0.0)
    drain(outbox)
    outbox.acknowledge(4, now=0.5)
    for tenth in range(5, 25):
        while outbox.take(tenth / 10) is not None:
            pass
    assert calls == [(1.0, True)], 'four lost, told once; what was sent again has its own time to be answered'


def test_on_a_guess_one_bundle_goes_at_a_time_and_later_ones_are_cut_larger():
    outbox = Outbox(rate=1e6, cautious=True, numbers=itertools.count(100), retry_seconds=1e9)
    for number in range(3):
        outbox.put(bundle(number, 120_000, 1_200), 0.0)
    assert {ready.piece.bundle for *_, ready in drain_ready(outbox)} == {0}
    outbox.cautious = False
    outbox.rate = 2e6
    outbox.acknowledge(0)
    taken = [ready.piece for *_, ready in drain(outbox, 10.0)]
    count = -(-120_000 // piece_size(120_000, rate=2e6))
    assert [piece.bundle for piece in taken] == [1] * count + [2] * count
    assert max(len(piece.data) for piece in taken) == piece_size(120_000, rate=2e6) > 9_000


def test_a_bundle_that_is_still_being_sent_has_lost_nothing():
    outbox = Outbox(rate=1e6)
    outbox.put(bundle(1), 0.0)
    assert not outbox.resend(1, [0]).share
    drain(outbox)
    assert outbox.resend(1, [99]) == Loss()
    assert outbox.resend(1, [0, 1, 2]) == Loss(0.3, rate=pytest.approx(PROBE_GAIN * 1e6))
    assert outbox.resend(7, [0, 1]) == Loss()


def test_a_single_lost_piece_says_nothing_of_the_rate_nor_a_few_while_looking_for_room():
    outbox = Outbox(rate=1e6)
    for number, missing, share in ((0, [3, 4], 0), (1, [3], 0), (2, [3, 4], 0.2), (3, [3, 4, 5], 0.3), (4, [1], 0), (5, [1], 1 / 3)):
        outbox.put(bundle(number, 30 if number == 5 else 100), float(number))
        looks = drain(outbox, number)[0][2].piece.paced is False
        assert looks == (number == 0)
        assert outbox.resend(number, missing).share == share
        assert [index for _, index, _ in drain(outbox, number + 0.5)] == missing
        outbox.acknowledge(number)


def test_of_pieces_that_lost_a_packet_the_others_took_their_time_on_the_link():
    outbox = Outbox(rate=1e6)
    outbox.put(bundle(1, 3 * in_packets(4), in_packets(4)), 0.0)
    drain(outbox)
    assert outbox.resend(1, [0]) == Loss(1 / 3, 4, pytest.approx(1e6, rel=0.05))
    drain(outbox, 10.0)
    assert outbox.resend(1, [0]) == Loss(1.0, 4, STEADY_GAIN * 1e6), 'all of those that were sent again'


def test_pieces_that_left_at_another_rate_bound_it_no_more():
    outbox = Outbox(rate=1e6)
    outbox.put(bundle(1, 1000), 0.0)
    drain(outbox)
    lost = outbox.resend(1, list(range(40, 100)))
    assert (lost.share, lost.rate, lost.bears) == (0.6, STEADY_GAIN * 1e6, pytest.approx(0.4 * STEADY_GAIN * 1e6))
    outbox.rate = 4e5
    drain(outbox, 1.0)
    lost = outbox.resend(1, list(range(70, 100)))
    assert (lost.share, lost.rate, lost.bears) == (0.5, STEADY_GAIN * 4e5, pytest.approx(0.5 * STEADY_GAIN * 4e5))
    assert outbox.resend(1, [70]) == Loss(), 'it is still to be sent again'
    drain(outbox, 2.0)
    assert outbox.resend(1, [70]).bears == math.inf, 'a single one is lost by chance'


def test_what_a_loss_says_of_the_link():
    assert Loss(0.25, 1, 4e5).bears == math.inf
    assert Loss(0.5, 1, 4e5).bears == 2e5
    assert Loss(0.5, 2, 4e5).bears == 3e5
    assert Loss(1.0, 20, 4e5).bears == 2e5
    assert Loss(0.2, 1).carried == 1
    assert Loss(0.2, 2).carried == pytest.approx(1 + 0.25 / 2)
    assert Loss(0.9, 4).carried == 1.75


def test_many_pieces_that_are_missing_early_are_sent_again_within_their_bundle():
    outbox = Outbox(rate=1e4)
    outbox.put(bundle(1, 1000), 0.0)
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
    outbox.put(bundle(1, 300), 0.0)
    times = [at for at, *_ in drain(outbox)]
    assert times[1] - times[0] == pytest.approx(10 / 2e4)


def test_what_a_receipt_can_show_depends_on_how_the_bundle_was_sent():
    outbox = Outbox(rate=1e4)
    assert outbox.look(7) == Look()
    looks = []
    for number in range(3):
        outbox.put(bundle(number), float(number))
        drain(outbox, float(number))
        looks.append(outbox.look(number))
        outbox.acknowledge(number, looks[-1].asked)
    assert looks[0] == Look(1e4 * PROBE_GAIN, looks[0].asked)
    assert 1e4 < looks[0].asked < looks[0].pace
    assert looks[1].far
    assert looks[1].pace > looks[0].pace
    assert looks[0].shows_the_rate(looks[0].asked)
    assert not looks[0].shows_the_rate(0.99 * looks[0].asked)
    assert looks[1].shows_the_rate(1.0)
    assert not Look().shows_the_rate(1e9)


def test_pieces_that_left_late_do_not_say_that_there_is_no_room():
    outbox = Outbox(rate=1e4)
    for number, limited in enumerate((False, False, True)):
        outbox.put(bundle(number), float(number))
        drain(outbox, float(number))
        look = outbox.look(number)
        outbox.acknowledge(number, 0.5 * look.asked if limited else look.asked, sender_limited=limited)
    outbox.put(bundle(3), 3.0)
    drain(outbox, 3.0)
    assert outbox.look(3).pace == look.pace, 'it looks for as much once more'
    outbox.acknowledge(3, 0.5 * look.asked)
    outbox.put(bundle(4), 4.0)
    drain(outbox, 4.0)
    assert outbox.look(4).pace < look.pace


def test_a_sender_that_its_network_holds_up_shows_the_link():
    outbox = Outbox(rate=1e4)
    outbox.put(bundle(1), 0.0)
    took = drain(outbox)[-1][0]
    assert outbox.look(1).sender_limited(as_they_left=True)
    assert not outbox.look(1).sender_limited(as_they_left=False)
    assert not Look().sender_limited(as_they_left=True), 'nothing paced them'
    outbox.blocked(1, 0.5 * took)
    assert not outbox.look(1).sender_limited(as_they_left=True)
    outbox.blocked(99, 1.0)
    assert outbox.look(99) == Look()

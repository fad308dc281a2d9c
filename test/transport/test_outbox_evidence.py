# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the way of a message shows of its link, to the sending end of the hop; time is passed in."""

import math

import pytest
from outbox_drain import drain, message

from edge_dnn_partition.transport.fragments import PROBE, in_packets
from edge_dnn_partition.transport.outbox import Outbox
from edge_dnn_partition.transport.outgoing import PROBE_GAIN, STEADY_GAIN, Loss, PacingSample


def test_a_message_that_is_still_being_sent_has_lost_nothing():
    outbox = Outbox(rate=1e6)
    outbox.put(message(1), 0.0)
    assert not outbox.resend(1, [0]).share
    drain(outbox)
    assert outbox.resend(1, [99]) == Loss()
    assert outbox.resend(1, [0, 1, 2]) == Loss(0.3, rate=pytest.approx(PROBE_GAIN * 1e6))
    assert outbox.resend(7, [0, 1]) == Loss()


def test_a_single_lost_fragment_says_nothing_of_the_rate_nor_a_few_while_looking_for_room():
    outbox = Outbox(rate=1e6)
    for number, missing, share in ((0, [3, 4], 0), (1, [3], 0), (2, [3, 4], 0.2), (3, [3, 4, 5], 0.3), (4, [1], 0), (5, [1], 1 / 3)):
        outbox.put(message(number, 30 if number == 5 else 100), float(number))
        looks = drain(outbox, number)[0][2][1].paced is False
        assert looks == (number == 0)
        assert outbox.resend(number, missing).share == share
        assert [index for _, index, _ in drain(outbox, number + 0.5)] == missing
        outbox.acknowledge(number)


def test_of_fragments_that_lost_a_packet_the_others_took_their_time_on_the_link():
    outbox = Outbox(rate=1e6)
    outbox.put(message(1, 3 * in_packets(4), in_packets(4)), 0.0)
    drain(outbox)
    assert outbox.resend(1, [0]) == Loss(1 / 3, 4, pytest.approx(1e6, rel=0.05))
    drain(outbox, 10.0)
    assert outbox.resend(1, [0]) == Loss(1.0, 4, STEADY_GAIN * 1e6), 'all of those that were sent again'


def test_fragments_that_left_at_another_rate_bound_it_no_more():
    outbox = Outbox(rate=1e6)
    outbox.put(message(1, 1000), 0.0)
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


def test_what_a_ack_can_show_depends_on_how_the_message_was_sent():
    outbox = Outbox(rate=1e4)
    assert outbox.sample(7) == PacingSample()
    looks = []
    for number in range(3):
        outbox.put(message(number), float(number))
        drain(outbox, float(number))
        looks.append(outbox.sample(number))
        outbox.acknowledge(number, looks[-1].asked)
    assert looks[0] == PacingSample(1e4 * PROBE_GAIN, looks[0].asked)
    assert 1e4 < looks[0].asked < looks[0].pace
    assert looks[1].far
    assert looks[1].pace > looks[0].pace
    assert looks[0].shows_the_rate(looks[0].asked)
    assert not looks[0].shows_the_rate(0.99 * looks[0].asked)
    assert looks[1].shows_the_rate(1.0)
    assert not PacingSample().shows_the_rate(1e9)


def test_fragments_that_left_late_do_not_say_that_there_is_no_room():
    outbox = Outbox(rate=1e4)
    for number, limited in enumerate((False, False, True)):
        outbox.put(message(number), float(number))
        drain(outbox, float(number))
        look = outbox.sample(number)
        outbox.acknowledge(number, 0.5 * look.asked if limited else look.asked, sender_limited=limited)
    outbox.put(message(3), 3.0)
    drain(outbox, 3.0)
    assert outbox.sample(3).pace == look.pace, 'it looks for as much once more'
    outbox.acknowledge(3, 0.5 * look.asked)
    outbox.put(message(4), 4.0)
    drain(outbox, 4.0)
    assert outbox.sample(4).pace < look.pace


def test_a_sender_that_its_network_holds_up_shows_the_link():
    outbox = Outbox(rate=1e4)
    outbox.put(message(1), 0.0)
    took = drain(outbox)[-1][0]
    assert outbox.sample(1).sender_limited(as_they_left=True)
    assert not outbox.sample(1).sender_limited(as_they_left=False)
    assert not PacingSample().sender_limited(as_they_left=True), 'nothing paced them'
    outbox.on_blocked(1, 0.5 * took)
    assert not outbox.sample(1).sender_limited(as_they_left=True)
    outbox.on_blocked(99, 1.0)
    assert outbox.sample(99) == PacingSample()


def test_a_probe_that_came_as_it_left_is_one_sample_of_several():
    outbox = Outbox(rate=1e4)
    outbox.put(message(1, 50, kind=PROBE), 0.0)
    drain(outbox)
    look = outbox.sample(1)
    assert look.pace > 1e4
    assert not look.shows_the_rate(look.pace)
    assert look.sender_limited(as_they_left=True)


def test_what_was_under_way_to_a_receiver_that_has_died_says_nothing_to_the_next_one():
    silences = []
    outbox = Outbox(rate=1e5, on_silence=lambda now, heard: silences.append(now) or 1e5)
    outbox.put(message(1, 400), 0.0)
    drain(outbox)
    outbox.on_new_receiver()
    for now in (1.0, 2.0, 4.0):
        drain(outbox, now)
    assert outbox.unanswered(5.0) is None and not silences
    assert outbox.resend(1, range(30)) == Loss(), 'it has none of what went to the one before'
    assert not outbox.idle

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a tensor that has not arrived yet says of its link; time is passed in, no processes."""

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('edge_dnn_partition.msg')

from edge_dnn_partition.msg import Heartbeat, HopAck

from edge_dnn_partition.nodes.transport.links import LEAST_PACE, Links
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.sensing.link import LEAST_RATE
from edge_dnn_partition.transport.estimate_guard import BOUND_SECONDS, OVERDUE_SECONDS
from edge_dnn_partition.transport.fragments import PROBE
from edge_dnn_partition.transport.outgoing import PacingSample, Waiting


@pytest.fixture
def links():
    fleet = Fleet.model_validate({
        'fleet': 'f', 'source': 'a', 'devices': {'a': {}, 'b': {}},
        'links': [{'between': ['a', 'b'], 'rate': '8 Mbit/s', 'delay': '10 ms'}],
    })  # fmt: skip
    links = Links(fleet, 'a')
    for i in range(3):
        links.estimators['b'].transfer(float(i), 1e5, 0.1, sender_limited=False)
        links.estimators['b'].round_trip(float(i), 0.02)
    return links


def said(links, waits, now=10.0):
    message = Heartbeat()
    links.describe(message, now, waits)
    return message.bytes_per_second[0], message.age_seconds[0]


def test_a_message_that_is_overdue_bounds_what_is_said_of_the_link_and_not_the_pace(links):
    assert said(links, {}) == (pytest.approx(1e6), pytest.approx(8.0))
    usual = 0.1 + 0.02
    assert said(links, {'b': Waiting(100_000, 2 * usual + 0.99 * OVERDUE_SECONDS, 100_000)}) == (pytest.approx(1e6), pytest.approx(8.0))
    assert said(links, {'b': Waiting(100_000, 1.02, 100_000)}) == (pytest.approx(1e5), 0.0)
    assert links.pace('b') == pytest.approx(1e6)
    assert said(links, {}, now=10.0 + 0.99 * BOUND_SECONDS)[0] == pytest.approx(1e5)
    assert said(links, {}, now=10.0 + 1.01 * BOUND_SECONDS)[0] == pytest.approx(1e5), 'nothing was measured since'
    links.estimators['b'].transfer(10.5, 100_000, 0.1, sender_limited=False)
    assert said(links, {}, now=10.0 + 1.01 * BOUND_SECONDS)[0] == pytest.approx(1e6)
    assert said(links, {'b': Waiting(100, 1e6, 100)})[0] == LEAST_RATE


def test_a_loss_confirms_what_an_overdue_message_bounds_the_link_to(links):
    assert said(links, {'b': Waiting(100_000, 1.02, 100_000)})[0] == pytest.approx(1e5)
    links.silence('b', 11.0, heard=True)
    assert said(links, {}, now=30.0)[0] == pytest.approx(1e5), 'and not to nearly what was believed before'
    links.silence('b', 31.0, heard=True)
    assert said(links, {}, now=31.0)[0] == pytest.approx(0.97e5)


@pytest.mark.parametrize(('size', 'seconds', 'believed'), [(5_064, 1.4e-3, 1.69e6), (2_532, 0.7e-3, 1e6), (16_904, 6.5e-3, 2.6e6)])
def test_a_probe_shows_no_more_than_a_token_bucket_would_not_have_let_pass_at_once(links, size, seconds, believed):
    ack = HopAck(kind=PROBE, receiver='b', total=size + 1266, fragment_bytes=1266, spread_bytes=size, spread_seconds=seconds)
    for number in range(3):
        links.whole(ack, PacingSample(asked=4e6, pace=4e6, far=True), 10.0 + number)
    assert links.estimators['b'].estimate.bytes_per_second == pytest.approx(believed, rel=0.01)


def test_it_stays_believed_when_nobody_waits_for_the_message_any_longer(links):
    links.given_up('b', Waiting(100_000, 0.2, 100_000), 10.0)
    assert links.pace('b') == pytest.approx(1e6)
    links.given_up('b', Waiting(400_000, 2.02, 400_000), 10.0)
    assert links.pace('b') == pytest.approx(2e5)
    assert said(links, {}, now=11.0) == (pytest.approx(2e5), pytest.approx(1.0))


def test_a_link_that_was_never_measured_or_that_leads_nowhere_is_not_bounded():
    fleet = Fleet.model_validate({'fleet': 'f', 'source': 'a', 'devices': {'a': {}, 'b': {}}, 'links': []})
    links = Links(fleet, 'a')
    assert links.bound('b', Waiting(1000, 60.0, 1000)) is None
    assert links.bound('a', Waiting(1000, 60.0, 1000)) is None


def test_what_a_receiver_that_has_died_left_unanswered_is_not_held_against_its_link(links):
    for now in (10.0, 10.3, 10.9):
        links.silence('b', now, heard=False)
    links.given_up('b', Waiting(400_000, 2.02, 400_000), 11.0)
    assert said(links, {'b': Waiting(100_000, 1.02, 100_000)}, now=11.0)[0] < 2e5
    links.receiver_anew('b', 11.1)
    assert said(links, {}, now=11.1) == (pytest.approx(1e6), 0.0)
    links.receiver_anew('a', 11.1)


def test_a_probe_that_finds_what_is_believed_ends_what_a_small_overdue_message_allowed(links):
    def probe(rate, now):
        size = 5_064
        ack = HopAck(receiver='b', kind=PROBE, spread_bytes=size, spread_seconds=size / rate, total=6330, fragment_bytes=1266,
                             echo_sent_ns=int((now - 0.05) * 1e9))  # fmt: skip
        links.whole(ack, PacingSample(), now)

    assert said(links, {'b': Waiting(4_000, 0.3, 4_000)})[0] < 2e4
    probe(2e4, 10.1)
    assert said(links, {}, now=10.1)[0] < 2e4, 'it shows less than is believed'
    probe(0.9e6, 10.2)
    assert said(links, {}, now=10.2)[0] == pytest.approx(0.9e6)


def test_what_was_concluded_and_not_timed_slows_no_sender_below_a_packet_each_tenth_of_a_second(links):
    for now in range(10, 30):
        links.silence('b', float(now), heard=False)
    assert links.estimators['b'].estimate.bytes_per_second == LEAST_RATE
    assert links.pace('b') == LEAST_PACE
    links.estimators['b'].transfer(30.0, 8e3, 2.0, sender_limited=False)
    assert links.pace('b') == pytest.approx(4e3), 'that was timed'

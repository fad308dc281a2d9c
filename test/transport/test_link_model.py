# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a tensor that has not arrived yet says of its link; time is passed in, no processes."""

import pytest

from edge_dnn_partition.sensing.link import LEAST_RATE
from edge_dnn_partition.transport.fragments import NOWHERE, PROBE, Ack, AckState
from edge_dnn_partition.transport.link_model import BOUND_SECONDS, LEAST_PACE, OVERDUE_SECONDS, LinkModel
from edge_dnn_partition.transport.outgoing import PacingSample, Waiting


@pytest.fixture
def link():
    link = LinkModel('b', (1e6, 0.01))
    for i in range(3):
        link.estimator.transfer(float(i), 1e5, 0.1, sender_limited=False)
        link.estimator.round_trip(float(i), 0.02)
    return link


def said(link, waiting, now=10.0):
    state = link.state(now, waiting)
    return state.bytes_per_second, state.age_seconds


def ack(size, seconds, **more):
    return Ack(AckState.COMPLETE, PROBE, 'a', 1, 'b', NOWHERE, 1, total=size + 1266, fragment_bytes=1266, spread_bytes=size,
               spread_seconds=seconds, **more)  # fmt: skip


def test_a_message_that_is_overdue_bounds_what_is_said_of_the_link_and_not_the_pace(link):
    assert said(link, None) == (pytest.approx(1e6), pytest.approx(8.0))
    usual = 0.1 + 0.02
    assert said(link, Waiting(100_000, 2 * usual + 0.99 * OVERDUE_SECONDS, 100_000)) == (pytest.approx(1e6), pytest.approx(8.0))
    assert said(link, Waiting(100_000, 1.02, 100_000)) == (pytest.approx(1e5), 0.0)
    assert link.pace == pytest.approx(1e6)
    assert said(link, None, now=10.0 + 0.99 * BOUND_SECONDS)[0] == pytest.approx(1e5)
    assert said(link, None, now=10.0 + 1.01 * BOUND_SECONDS)[0] == pytest.approx(1e5), 'nothing was measured since'
    link.estimator.transfer(10.5, 100_000, 0.1, sender_limited=False)
    assert said(link, None, now=10.0 + 1.01 * BOUND_SECONDS)[0] == pytest.approx(1e6)
    assert said(link, Waiting(100, 1e6, 100))[0] == LEAST_RATE


def test_a_loss_confirms_what_an_overdue_message_bounds_the_link_to(link):
    assert said(link, Waiting(100_000, 1.02, 100_000))[0] == pytest.approx(1e5)
    link.on_silence(11.0, answered=True)
    assert said(link, None, now=30.0)[0] == pytest.approx(1e5), 'and not to nearly what was believed before'
    link.on_silence(31.0, answered=True)
    assert said(link, None, now=31.0)[0] == pytest.approx(0.97e5)


@pytest.mark.parametrize(('size', 'seconds', 'believed'), [(5_064, 1.4e-3, 1.69e6), (2_532, 0.7e-3, 1e6), (16_904, 6.5e-3, 2.6e6)])
def test_a_probe_shows_no_more_than_a_token_bucket_would_not_have_let_pass_at_once(link, size, seconds, believed):
    for number in range(3):
        link.on_transfer(ack(size, seconds), PacingSample(asked=4e6, pace=4e6, far=True), 10.0 + number)
    assert link.estimator.estimate.bytes_per_second == pytest.approx(believed, rel=0.01)


def test_it_stays_believed_when_nobody_waits_for_the_message_any_longer(link):
    link.on_given_up(Waiting(100_000, 0.2, 100_000), 10.0)
    assert link.pace == pytest.approx(1e6)
    link.on_given_up(Waiting(400_000, 2.02, 400_000), 10.0)
    assert link.pace == pytest.approx(2e5)
    assert said(link, None, now=11.0) == (pytest.approx(2e5), pytest.approx(1.0))


def test_a_link_that_was_never_measured_or_that_leads_nowhere_is_not_bounded():
    assert LinkModel('b').bound(Waiting(1000, 60.0, 1000)) is None
    assert LinkModel('a', local=True).bound(Waiting(1000, 60.0, 1000)) is None


def test_what_a_receiver_that_has_died_left_unanswered_is_not_held_against_its_link(link):
    for now in (10.0, 10.3, 10.9):
        link.on_silence(now, answered=False)
    link.on_given_up(Waiting(400_000, 2.02, 400_000), 11.0)
    assert said(link, Waiting(100_000, 1.02, 100_000), now=11.0)[0] < 2e5
    link.on_new_receiver(11.1)
    assert said(link, None, now=11.1) == (pytest.approx(1e6), 0.0)


def test_a_probe_that_finds_what_is_believed_ends_what_a_small_overdue_message_allowed(link):
    def probe(rate, now):
        link.on_transfer(ack(5_064, 5_064 / rate, echo_sent_ns=int((now - 0.05) * 1e9)), PacingSample(), now)

    assert said(link, Waiting(4_000, 0.3, 4_000))[0] < 2e4
    probe(2e4, 10.1)
    assert said(link, None, now=10.1)[0] < 2e4, 'it shows less than is believed'
    probe(0.9e6, 10.2)
    assert said(link, None, now=10.2)[0] == pytest.approx(0.9e6)


def test_what_was_concluded_and_not_timed_slows_no_sender_below_a_packet_each_tenth_of_a_second(link):
    for now in range(10, 30):
        link.on_silence(float(now), answered=False)
    assert link.estimator.estimate.bytes_per_second == LEAST_RATE
    assert link.pace == LEAST_PACE
    link.estimator.transfer(30.0, 8e3, 2.0, sender_limited=False)
    assert link.pace == pytest.approx(4e3), 'that was timed'

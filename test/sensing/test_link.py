# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A link's rate and latency from transfers and round trips; time is passed in."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.link import LEAST_RATE, LinkEstimate, LinkEstimator, speed_of


def feed(estimator, now, rate, *, limited=False):
    estimator.transfer(now, 1e5, 1e5 / rate, sender_limited=limited)


def test_a_guess_until_measured_then_a_step_and_an_outlier():
    estimator = LinkEstimator((5e6, 0.01))
    assert estimator.estimate == LinkEstimate(5e6, 0.01, measured=False)
    for now, rate, believed in ((0, 1e6, 1e6), (1, 1e6, 1e6), (2, 9e6, 1e6), (3, 1e6, 1e6), (4, 4e6, 4e6), (5, 4e6, 4e6)):
        feed(estimator, now, rate)
        assert estimator.estimate.bytes_per_second == pytest.approx(believed)
    assert estimator.estimate.measured
    assert estimator.last_at == 5


def test_sender_limited_transfers_only_raise():
    estimator = LinkEstimator((5e6, 0.01))
    for _ in range(3):
        feed(estimator, 0.0, 2e6)
        feed(estimator, 1.0, 1e6, limited=True)
    assert estimator.estimate.bytes_per_second == pytest.approx(2e6)
    assert estimator.last_at == 0.0
    for _ in range(2):
        feed(estimator, 2.0, 3e6, limited=True)
    assert estimator.estimate.bytes_per_second == pytest.approx(3e6)


def test_what_the_sender_limited_outvotes_one_that_a_busy_receiver_held_up():
    estimator = LinkEstimator((5e6, 0.01))
    feed(estimator, 0.0, 2e6)
    for now in range(1, 20):
        feed(estimator, now, 0.2e6 if now % 3 == 0 else 1.9e6, limited=now % 3 != 0)
        assert estimator.estimate.bytes_per_second == pytest.approx(2e6)
    for now in range(20, 23):
        feed(estimator, now, 0.2e6)
    assert estimator.estimate.bytes_per_second == pytest.approx(0.2e6), 'what the link shows again and again is believed'


def test_small_or_timeless_transfers_do_not_count():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.transfer(0.0, 3999, 1.0, sender_limited=False)
    estimator.transfer(0.0, 1e5, 0.0, sender_limited=False)
    assert not estimator.estimate.measured


def test_a_ramp_under_noise():
    random = np.random.default_rng(2)
    estimator = LinkEstimator((1e6, 0.0))
    for i in range(300):
        true = 1e6 * (1 + i / 100)
        feed(estimator, i, true * random.uniform(0.8, 1.2))
        assert abs(estimator.estimate.bytes_per_second / true - 1) < 0.22


def test_latency_is_half_the_least_recent_round_trip():
    estimator = LinkEstimator((1e6, 0.5), round_trip_seconds=20.0)
    for now, trip, latency in ((0, 0.04, 0.02), (1, 0.02, 0.01), (5, 0.1, 0.01), (20, 0.08, 0.01), (22, 0.2, 0.04), (41, 0.3, 0.1)):
        estimator.round_trip(now, trip)
        assert estimator.estimate.latency_seconds == pytest.approx(latency)
    estimator.round_trip(42, math.nan)
    estimator.round_trip(42, -1.0)
    assert estimator.estimate.latency_seconds == pytest.approx(0.1)


@pytest.mark.parametrize('period', [0.1, 0.4, 2.0])
def test_a_delay_that_has_risen_is_believed_after_a_few_round_trips_and_half_a_second(period):
    estimator, now = LinkEstimator((1e6, 0.5)), 0.0
    for _ in range(50):
        estimator.round_trip(now, 0.012)
        now += period
    rose = now
    while estimator.estimate.latency_seconds < 0.4:
        estimator.round_trip(now, 0.812)
        now += period
        assert now - rose <= 0.5 + 4 * period
    assert now - rose >= 0.5
    estimator.round_trip(now, 0.012)
    assert estimator.estimate.latency_seconds == pytest.approx(0.006)


def test_a_delay_that_has_risen_far_is_believed_after_two_slow_frames():
    estimator = LinkEstimator((1e6, 0.5))
    for now in range(10):
        estimator.round_trip(float(now), 0.012)
    estimator.round_trip(10.8, 0.812)
    assert estimator.estimate.latency_seconds == pytest.approx(0.006)
    estimator.round_trip(11.7, 0.813)
    assert estimator.estimate.latency_seconds == pytest.approx(0.406)


@pytest.mark.parametrize('trips', [[0.05, 0.012], [0.05, 0.06, 0.055, 0.012], [0.015, 0.02, 0.018, 0.021]])
def test_messages_that_were_held_up_between_others_raise_no_latency(trips):
    estimator = LinkEstimator((1e6, 0.5))
    for number in range(100):
        estimator.round_trip(0.25 * number, trips[number % len(trips)])
    assert estimator.estimate.latency_seconds == min(trips) / 2


@given(st.floats(1e3, 1e9), st.floats(1e3, 1e9), st.floats(0, 10), st.floats(0, 10))
def test_a_link_of_less_rate_or_more_delay_is_slower(rate, more_rate, delay, more_delay):
    low, high = sorted((rate, more_rate))
    assert speed_of(low, delay) <= speed_of(high, delay) * (1 + 1e-9)
    assert speed_of(rate, max(delay, more_delay)) <= speed_of(rate, min(delay, more_delay)) * (1 + 1e-9)
    assert speed_of(rate, 0.02) == rate


def test_loss_lowers_to_what_has_come_but_not_without_bound():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.loss(0.0, 1e5, 0.1)
    assert estimator.estimate.bytes_per_second == pytest.approx(1e6)
    assert estimator.estimate.measured
    estimator.loss(1.0, 2e6, 1.0)  # more came than was believed: others fill the queue, or it is the air
    assert estimator.estimate.bytes_per_second == pytest.approx(0.97e6)
    estimator.loss(2.0, 0.0, 0.0)
    assert estimator.estimate.bytes_per_second == pytest.approx(0.97**2 * 1e6)
    estimator.loss(3.0, 5e3, 10.0)
    assert estimator.estimate.bytes_per_second == pytest.approx(0.1 * 0.97**2 * 1e6)
    present = estimator.estimate.bytes_per_second
    estimator.loss(3.5, 0.0, 0.0, bound=present / 2)
    assert estimator.estimate.bytes_per_second == pytest.approx(present / 2)
    for now in range(4, 200):
        estimator.loss(now, 0.0, 0.0)
    assert estimator.estimate.bytes_per_second == LEAST_RATE
    feed(estimator, 200.0, 3e6)
    feed(estimator, 201.0, 3e6)
    assert estimator.estimate.bytes_per_second > 1e6


def test_a_guess_may_be_wrong_by_far():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.loss(0.0, 5e3, 0.25)
    assert estimator.estimate.bytes_per_second == pytest.approx(2e4)


def test_room_that_was_found_is_believed_at_once():
    estimator = LinkEstimator((5e6, 0.01))
    for now in range(3):
        feed(estimator, float(now), 1e6)
    estimator.transfer(3.0, 1.5e5, 0.1, sender_limited=False)
    assert estimator.estimate.bytes_per_second == pytest.approx(1e6)
    estimator.transfer(4.0, 2e5, 0.1, sender_limited=False, found_room=True)
    assert estimator.estimate.bytes_per_second == pytest.approx(2e6)
    estimator.transfer(5.0, 1e5, 0.1, sender_limited=False, found_room=True)
    assert estimator.estimate.bytes_per_second == pytest.approx(1.5e6)


def test_silence_halves():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.silence(0.0)
    assert estimator.estimate == LinkEstimate(2.5e6, 0.01, measured=True)
    for now in range(1, 60):
        estimator.silence(now)
    assert estimator.estimate.bytes_per_second == LEAST_RATE


def silent_link(*, halvings):
    estimator = LinkEstimator((5e6, 0.01))
    estimator.transfer(0.0, 1e5, 0.1, sender_limited=False)
    for now in range(1, halvings + 1):
        estimator.silence(now)
    return estimator


def test_a_link_that_answers_after_an_outage_is_believed_to_carry_nearly_what_it_did():
    estimator = silent_link(halvings=10)
    assert estimator.estimate.bytes_per_second == LEAST_RATE
    estimator.answered(10.0)
    assert estimator.estimate == LinkEstimate(pytest.approx(9e5), 0.01, measured=True)
    estimator.loss(11.0, 0.0, 0.0, bound=2e5)
    estimator.answered(11.1)
    assert estimator.estimate.bytes_per_second == 2e5, 'it was not silent any more'


def test_after_one_halving_only_what_was_lost_whole_shows_an_outage():
    estimator = silent_link(halvings=1)
    estimator.answered(2.0)
    assert estimator.estimate.bytes_per_second == 5e5
    assert estimator.lost_whole(2.0)
    assert estimator.estimate.bytes_per_second == pytest.approx(9e5)
    assert not estimator.lost_whole(20.0), 'that is long ago'


def test_nothing_is_made_of_a_guess_when_a_link_first_answers():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.silence(0.0)
    estimator.silence(1.0)
    estimator.answered(2.0)
    assert estimator.estimate.bytes_per_second == 1.25e6


def test_what_another_process_measured_counts_where_nothing_was_measured_here_for_long():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.on_report(float('-inf'), float('nan'))
    assert not estimator.estimate.measured
    estimator.on_report(1.0, 2e6)
    assert estimator.estimate == LinkEstimate(2e6, 0.01, measured=True)
    for now in (2.0, 3.0, 4.0):
        estimator.transfer(now, 1e6, 1.0, sender_limited=False)
    estimator.on_report(5.9, 8e6)
    assert estimator.estimate.bytes_per_second == 1e6
    estimator.on_report(6.0, 8e6)
    assert estimator.estimate.bytes_per_second == 8e6
    estimator.on_report(5.0, 1e6)
    assert estimator.estimate.bytes_per_second == 8e6


def test_what_another_process_measures_counts_as_often_as_it_measures():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.transfer(0.0, 1e6, 1.0, sender_limited=False)
    for at, rate in ((2.5, 2e6), (3.0, 4e6), (3.1, 8e6)):
        estimator.on_report(at, rate)
        assert estimator.estimate.bytes_per_second == rate, 'two seconds since it was told, not since it measured'
    estimator.on_report(3.11, 4e6)
    assert estimator.estimate.bytes_per_second == 8e6, 'an old measurement came back by way of a third process'
    estimator.transfer(3.2, 1e6, 1.0, sender_limited=False)
    estimator.on_report(4.0, 8e6)
    estimator.transfer(4.1, 1e6, 1.0, sender_limited=False)
    assert estimator.estimate.bytes_per_second == 1e6, 'what is measured here goes first'


def test_the_silence_of_a_receiver_that_has_died_says_nothing_once_there_is_another_one():
    estimator = silent_link(halvings=3)
    estimator.given_up(4.0, 1e4)
    estimator.receiver_anew(5.0)
    assert estimator.estimate == LinkEstimate(pytest.approx(1e6), 0.01, measured=True)
    assert (estimator.silent, estimator.last_at) == (False, 5.0)
    estimator.given_up(6.0, 2e5)
    estimator.answered(6.1)
    estimator.receiver_anew(7.0)
    assert estimator.estimate.bytes_per_second == pytest.approx(2e5), 'it has answered since: the link was slow'


def test_a_guess_is_a_guess_again_where_only_a_dead_receiver_lowered_it():
    estimator = LinkEstimator((5e6, 0.01))
    estimator.silence(0.0)
    estimator.receiver_anew(1.0)
    assert estimator.estimate == LinkEstimate(5e6, 0.01, measured=False)


def test_a_loss_that_times_nothing_makes_nothing_look_newly_measured():
    estimator = LinkEstimator((1e6, 0.01))
    for now in (0.0, 0.5, 1.0):
        estimator.transfer(now, 1e5, 0.1, sender_limited=False)
    estimator.loss(10.0, 1_266, 0.005)
    assert estimator.last_at == 1.0
    estimator.loss(11.0, 50_000, 0.1)
    assert estimator.last_at == 11.0

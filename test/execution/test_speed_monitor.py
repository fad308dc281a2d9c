# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How often an idle device's speed is read, and a stage that is overdue while it runs; time is passed in."""

import pytest

from edge_dnn_partition.execution.profiling.speed_monitor import (
    LEAST_SECONDS,
    PROBE_SECONDS,
    REMEMBER_SECONDS,
    REST_PERIODS,
    REST_SECONDS,
    SpeedMonitor,
    StageWatch,
)  # fmt: skip
from edge_dnn_partition.execution.stages.hardware import Hardware


def pause(share, seconds=0.002, later=0.0):
    """Return the seconds until the next reading, on a device where one takes ``seconds``."""
    monitor = SpeedMonitor(Hardware())
    monitor._probe_seconds = seconds
    monitor.worth_probing(share, 100.0)
    return monitor.pause(1.0, 100.0 + later)


def test_the_speed_is_read_by_what_knowing_it_is_worth():
    assert (pause(0.02), pause(0.005), pause(0.0)) == (PROBE_SECONDS, pytest.approx(0.4), 1.0)
    assert SpeedMonitor(Hardware()).pause(1.0, 100.0) == 1.0


def test_a_slow_device_is_read_no_more_often_than_the_budget_allows():
    assert (pause(0.02, seconds=0.01), pause(0.02, seconds=0.1)) == (pytest.approx(0.5), 1.0)


def test_an_old_request_counts_no_more():
    assert (pause(0.02, later=4.0), pause(0.02, later=6.0)) == (PROBE_SECONDS, 1.0)


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def watch(clock):
    return StageWatch(lambda: clock[0])


def test_the_time_so_far_counts_while_a_stage_runs_and_for_a_while_after_it(watch, clock):
    assert watch.factor(clock[0]) == 0.0
    with watch.watching(0.2):
        assert watch.factor(100.2 + LEAST_SECONDS / 2) == 0.0
        assert watch.factor(100.5) == pytest.approx(2.5)
        clock[0] = 100.6
    assert watch.factor(100.6) == watch.factor(100.6 + 0.99 * REMEMBER_SECONDS) == pytest.approx(3.0)
    assert watch.factor(100.6 + 1.01 * REMEMBER_SECONDS) == 0.0


def test_a_stage_in_time_is_no_news_and_takes_the_last_ones_place(watch, clock):
    for seconds in (0.6, 0.21):
        with watch.watching(0.2):
            clock[0] += seconds
    assert watch.factor(clock[0]) == 0.0


def test_a_stage_that_fails_or_that_no_profile_knows_is_not_watched(watch, clock):
    with watch.watching(0.0):
        assert watch.factor(200.0) == 0.0
        clock[0] = 150.0
    assert watch.factor(150.0) == 0.0
    with pytest.raises(ValueError, match='boom'), watch.watching(0.1):
        raise ValueError('boom')
    assert watch.factor(150.0) == 0.0


def test_a_device_at_rest_is_read_less_often_once_its_speed_is_known():
    monitor = SpeedMonitor(Hardware())
    assert monitor.pause(1.0, 100.0) == 1.0  # not known yet
    monitor.factor, monitor.ran_at = 1.1, 98.0
    assert monitor.pause(1.0, 100.0) == 1.0
    assert monitor.pause(1.0, 98.0 + 1.01 * REST_SECONDS) == REST_PERIODS
    monitor.worth_probing(0.02, 110.0)
    assert monitor.pause(1.0, 110.0) == PROBE_SECONDS

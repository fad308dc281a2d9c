# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A prediction that is too long does not hold the stream back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_dnn_partition.execution.frames.admission import Admission, frames_at_a_time, slowest_part
from edge_dnn_partition.planning.cost_model.evaluate import Costs
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.timing import HopTime, StageTime

PLAN = Plan(3, '', 'd1', 'd1', (), (), bottleneck_seconds=1.0)
TICK = 0.02


def stage(device: str, seconds: float) -> StageTime:
    return StageTime(device, 0, 0.5, 0.0, seconds, 0.0)


def test_the_slowest_part_is_a_device_with_all_its_stages_and_codings_or_a_link():
    stages = [StageTime('a', 0, 9.0, 0.01, 0.1, 0.02), stage('b', 0.2), StageTime('a', 2, 9.0, 0.0, 0.1, 0.02)]
    assert slowest_part(stages, [HopTime('a', 'b', 0, 100, 0.03, 0.2, 90)]) == pytest.approx(0.24)
    assert slowest_part(stages, [HopTime('a', 'b', 0, 100, 0.03, 0.3, 90)]) == pytest.approx(0.3)


def rate(plan: Plan, station_seconds: list[float], room: int, seconds: float = 60.0) -> float:
    """Return the frames per second of the second half, of stations that work on one frame each, fed as the source does."""
    admission, free, ends = Admission(), [0.0] * len(station_seconds), []
    now, told = 0.0, 0
    while now < seconds:
        while told < len(ends) and ends[told] <= now:
            admission.delivered(plan.version, [stage(f'd{i}', taken) for i, taken in enumerate(station_seconds)], [])
            told += 1
        if len(ends) - told < room and admission.may_accept(now):
            admission.accepted(plan, room, now)
            at = now
            for index, taken in enumerate(station_seconds):
                free[index] = at = max(at, free[index]) + taken
            ends.append(at)
        now += TICK
    return sum(seconds / 2 < end <= seconds for end in ends) / (seconds / 2)


@pytest.mark.parametrize('predicted', [0.05, 0.2, 1.0, 4.0])
def test_the_slowest_station_is_kept_busy_however_long_it_was_predicted_to_take(predicted):
    plan = replace(PLAN, bottleneck_seconds=predicted)
    assert rate(plan, [0.15, 0.2, 0.1, 0.18], room=6, seconds=200.0) == pytest.approx(5.0, rel=0.05)


def test_frames_are_spaced_by_the_prediction_until_there_are_results():
    admission = Admission()
    admission.accepted(PLAN, 4, 10.0)
    assert not admission.may_accept(10.85)
    assert admission.may_accept(10.95)
    admission.delivered(3, [stage('a', 0.05), stage('b', 0.1)], [])
    admission.accepted(PLAN, 4, 12.0)
    assert not admission.may_accept(12.08)
    assert admission.may_accept(12.1)


def test_what_was_seen_of_one_plan_says_nothing_of_the_next():
    admission = Admission()
    admission.accepted(PLAN, 4, 0.0)
    admission.delivered(3, [stage('a', 0.1)], [])
    admission.accepted(replace(PLAN, version=4), 4, 3.0)
    admission.delivered(3, [stage('a', 0.1)], [])
    assert not admission.may_accept(3.8)


def test_one_frame_at_a_time_needs_no_spacing():
    admission = Admission()
    admission.accepted(PLAN, 1, 0.0)
    assert admission.may_accept(0.01)


def test_for_throughput_each_stage_has_a_frame_even_where_one_link_is_taken_to_be_slow():
    costs = Costs(1.2, 0.0, 1.0, stages=4)
    assert frames_at_a_time(4, costs, pipelined=True) == 5
    assert frames_at_a_time(4, costs, pipelined=False) == 1
    assert frames_at_a_time(2, replace(costs, bottleneck_seconds=0.2), pipelined=True) == 7
    assert frames_at_a_time(2, replace(costs, bottleneck_seconds=0.0), pipelined=False) == 1

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark trace: what the oracle does, and when somebody has adapted."""

import numpy as np
import pytest

from edge_dnn_partition.cli import bench

trace = bench.load('trace', bench.find()['trace'])

from edge_dnn_partition.benchmarks import trace_course  # noqa: E402
from edge_dnn_partition.benchmarks.trace_course import Condition  # noqa: E402

COURSE = (Condition(0, 8.0), Condition(10, 1.0), Condition(20, 8.0, (('jetson', 3.0),)))


def stream(*segments, fps=10):
    """Frames of three segments of ten seconds with one latency each."""
    return [(s * 10 + i / fps, latency) for s, latency in enumerate(segments) for i in range(10 * fps)]


def test_the_oracle_takes_the_quickest_plan_of_each_segment_and_pays_for_its_switches():
    fixed = {'here': stream(0.3, 0.3, 0.3), 'there': stream(0.1, 0.9, 0.1)}
    plans, seconds, mean = trace_course.oracle(COURSE, 30.0, fixed)
    assert plans == ['there', 'here', 'there']
    assert seconds == pytest.approx([0.1, 0.3, 0.1])
    assert mean == pytest.approx((0.1 + 0.3 + 0.1) / 3 + 2 * trace_course.SWITCH_SECONDS / 30)


def test_the_oracle_stays_where_a_switch_costs_more_than_it_gains():
    gain = trace_course.SWITCH_SECONDS / 10
    fixed = {'here': stream(0.3, 0.3, 0.3), 'there': stream(0.4, 0.3 - 0.9 * gain, 0.4)}
    assert trace_course.oracle(COURSE, 30.0, fixed)[0] == ['here'] * 3


def test_a_plan_without_frames_is_not_chosen():
    fixed = {'here': stream(0.3, 0.3, 0.3), 'dead': [f for f in stream(0.1, 0.1, 0.1) if not 10 <= f[0] < 20]}
    assert trace_course.oracle(COURSE, 30.0, fixed)[0] == ['dead', 'here', 'dead']


def test_adapted_counts_from_the_first_frame_after_the_step():
    frames = [(10.05 + 0.1 * i, 0.9 if i < 4 else 0.31) for i in range(30)]
    seconds, count = trace_course.adapted(frames, 10.0, 20.0, 0.3)
    assert (seconds, count) == (pytest.approx(0.4), 4)
    assert trace_course.adapted(frames, 10.0, 20.0, 0.1) is None
    lucky = [(at, 0.3 if i == 1 else latency) for i, (at, latency) in enumerate(frames)]
    assert trace_course.adapted(lucky, 10.0, 20.0, 0.3)[1] == 4  # one quick frame is no adaptation


def test_what_a_step_changes():
    assert trace_course.changed(COURSE[0], COURSE[1]) == {'cloud link'}
    assert trace_course.changed(COURSE[1], COURSE[2]) == {'cloud link', 'jetson'}
    assert not trace_course.changed(COURSE[0], COURSE[0])


@pytest.mark.parametrize('name', trace_course.COURSES)
def test_courses_begin_at_zero_rise_and_are_the_same_every_time(name):
    make, end = trace_course.COURSES[name]
    course = make()
    times = [condition.at for condition in course]
    assert times[0] == 0
    assert np.all(np.diff([*times, end]) > 0)
    assert all(0.05 <= condition.uplink <= 100 for condition in course)
    assert course == make()


def test_a_course_is_judged():
    class Plan:
        devices = ('pi', 'cloud')

    played = {'frames': stream(0.1, 0.3, 0.11), 'lost': 0, 'moves': [(10.5, Plan())], 'before': Plan()}
    fixed = {'here': {'frames': stream(0.3, 0.3, 0.3), 'lost': 0}, 'there': {'frames': stream(0.1, 0.9, 0.1), 'lost': 1}}
    row = trace.judge(COURSE, 30.0, played, fixed)
    assert row['mean_seconds'] == pytest.approx((0.1 + 0.3 + 0.11) / 3)
    assert [step['in_use'] for step in row['steps']] == [True, True]
    assert [step['adapted_frames'] for step in row['steps']] == [0, 0]
    assert row['lost'] == 1
    result = {'course': 'steps', 'fps': 5.0, **row}
    assert {target.name: target.met for target in trace._targets([result])}['accepted frames lost'] is False

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A device's part in a frame: what can run when, what is sent, what is refused, when a frame is let go."""

import dataclasses

import numpy as np
import pytest

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.pipeline import FramePipeline, Part, deliveries
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan, StagePlan, Transfer
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, StageTime

PLAN = Plan(
    4, 'net', 'pi', 'pi',
    (
        StagePlan('pi', True, ((0, 1),), (IMAGE,), ('a', 'b')),
        StagePlan('cloud', False, ((1, 2),), ('a',), ('c',)),
        StagePlan('pi', False, ((2, 3),), ('b', 'c'), ('y',)),
    ),
    (Transfer('a', 0, 'pi', 'cloud', encoding='half'), Transfer('c', 1, 'cloud', 'pi'), Transfer('y', 2, 'pi', 'pi', to_sink=True)),
)  # fmt: skip
"""The source does the ends, the cloud the middle; `b` stays on the source."""
ARRAYS = {name: np.full(2, index) for index, name in enumerate((IMAGE, 'a', 'b', 'c', 'y'))}


def pipeline(device='pi', plan=PLAN, **options):
    made = FramePipeline(device, **options)
    made.add_plan(plan)
    return made


def address(frame=1, attempt=0, plan=4, stage=SOURCE_STAGE):
    return Address('net', plan, frame, attempt, stage)


def receive(made, *names, now=0.0, stages=(), hops=(), encodings=(), **where):
    return made.receive(address(**where), {name: ARRAYS[name] for name in names}, dict(encodings), stages, hops, now)


def finish(made, job, now=0.0):
    outputs = {name: ARRAYS[name] for name in job.frame.part.plan.stages[job.stage].outputs}
    return made.finished(job, outputs, StageTime(made.device, job.stage, 0.0, 0.0, 0.0, 0.0), now)


def test_a_frame_on_a_device_of_two_stages():
    made = pipeline()
    [job] = receive(made, IMAGE, now=1.0, encodings={IMAGE: 'jpeg'})
    assert (job.stage, dict(job.inputs), job.ready_at) == (0, {IMAGE: ARRAYS[IMAGE]}, 1.0)
    assert job.frame.encodings == {IMAGE: 'jpeg'}
    sends, jobs = finish(made, job, now=2.0)
    assert sends == [(('cloud', False), {'a': ARRAYS['a']}, {'a': 'half'})]
    assert (jobs, made.frames) == ([], 1)
    [job] = receive(made, 'c', now=3.0, stage=1)
    assert (job.stage, dict(job.inputs), job.ready_at) == (2, {'b': ARRAYS['b'], 'c': ARRAYS['c']}, 3.0)
    assert not made.drained(4)
    sends, jobs = finish(made, job, now=4.0)
    assert sends == [(('pi', True), {'y': ARRAYS['y']}, {'y': 'raw'})]
    assert (jobs, made.frames, made.drained(4)) == ([], 0, True)


def test_a_stage_waits_for_all_its_inputs_and_knows_since_when_they_are_here():
    plan = dataclasses.replace(PLAN, stages=(PLAN.stages[0], PLAN.stages[1], dataclasses.replace(PLAN.stages[2], device='jetson')))
    made = pipeline('jetson', plan)
    assert receive(made, 'c', now=5.0, stage=1) == []
    [job] = receive(made, 'b', now=7.0, stage=0)
    assert (job.stage, job.ready_at) == (2, 7.0)
    assert receive(made, 'b', 'c', now=8.0, stage=0) == [], 'a repetition started it again'


def test_stages_of_one_device_follow_each_other_without_a_hop():
    plan = dataclasses.replace(PLAN, stages=tuple(dataclasses.replace(stage, device='pi') for stage in PLAN.stages), transfers=())
    made = pipeline('pi', plan)
    jobs, ran = receive(made, IMAGE), []
    while jobs:
        ran.append(jobs[0].stage)
        _, jobs = finish(made, jobs[0])
    assert (ran, made.frames) == ([0, 1, 2], 0)


def test_timings_travel_with_the_frame_each_once():
    made = pipeline()
    other = StageTime('cloud', 1, 0.1, 0.2, 0.3, 0.4)
    hops = tuple(HopTime('cloud', 'pi', 1, size, 0.0, 0.0, 0) for size in (1, 2))
    [job] = receive(made, IMAGE, hops=hops[:1])
    finish(made, job)
    [job] = receive(made, 'c', stages=(other,), hops=hops)
    finish(made, job)
    assert [timing.stage for timing in job.frame.stages] == [0, 1, 2]
    assert job.frame.stages[1] == other
    assert job.frame.hops == hops


def test_what_a_part_sends():
    assert Part(PLAN, 'pi').stages == (0, 2)
    assert Part(PLAN, 'jetson').stages == ()
    assert Part(PLAN, 'pi').sends(SOURCE_STAGE) == {}
    away = dataclasses.replace(PLAN, transfers=(Transfer(IMAGE, SOURCE_STAGE, 'pi', 'cloud', encoding='jpeg'), *PLAN.transfers))
    assert Part(away, 'pi').sends(SOURCE_STAGE) == {('cloud', False): ((IMAGE, 'jpeg'),)}
    assert Part(away, 'cloud').sends(SOURCE_STAGE) == {}
    assert deliveries(PLAN) == {'pi': {IMAGE: 'raw'}}


@pytest.mark.parametrize(('change', 'names', 'words'), [
    ({'plan_version': 9}, ['a'], r'frame 1: plan 9 is not known here \(known: 4, 5\)'),
    ({'model_sha256': 'other'}, ['a'], 'frame 1: it belongs to another model; copy one model to all devices'),
    ({}, ['a', 'y'], "frame 1: cloud needs no tensor 'y' in plan 4"),
    ({}, [IMAGE], "frame 1: cloud needs no tensor '@image' in plan 4"),
])  # fmt: skip
def test_what_nobody_waits_for_is_refused_and_leaves_nothing(change, names, words):
    made = pipeline('cloud')
    made.add_plan(dataclasses.replace(PLAN, version=5))
    where = dataclasses.replace(address(), **change)
    with pytest.raises(WireError, match=words):
        made.receive(where, {name: ARRAYS[name] for name in names}, {}, (), (), 0.0)
    assert made.frames == 0
    assert len(receive(made, 'a', stage=0)) == 1


def test_without_any_plan_the_refusal_says_so():
    with pytest.raises(WireError, match='known: none'):
        receive(FramePipeline('pi'), IMAGE)


def test_a_newer_attempt_takes_the_place_of_an_older_one():
    made = pipeline()
    [old] = receive(made, IMAGE)
    [new] = receive(made, IMAGE, attempt=1)
    assert (made.current(old), made.current(new), made.frames, made.superseded) == (False, True, 1, 1)
    assert receive(made, 'c', attempt=0, stage=1) == []
    assert made.superseded == 2
    finish(made, old)
    assert (made.frames, made.current(new)) == (1, True), 'a late end of the old run touched the new attempt'
    finish(made, new)
    [last] = receive(made, 'c', attempt=1, stage=1)
    finish(made, last)
    assert made.frames == 0
    assert receive(made, IMAGE, attempt=0) == receive(made, IMAGE, attempt=1) == []
    assert made.frames == 0


def test_a_frame_that_has_ended_is_let_go_and_what_comes_late_of_it_does_not_begin_it_again():
    made = pipeline()
    [job] = receive(made, IMAGE)
    made.end(job.frame.address.frame_number + 1)
    assert made.current(job)
    made.end(job.frame.address.frame_number)
    assert not made.current(job) and made.frames == 0
    assert receive(made, IMAGE) == []


def test_a_newer_attempt_under_another_plan_takes_the_place_too():
    made = pipeline()
    made.add_plan(dataclasses.replace(PLAN, version=5))
    [old] = receive(made, IMAGE, attempt=1)
    [other] = receive(made, IMAGE, frame=2)
    [new] = receive(made, IMAGE, attempt=1, plan=5)
    assert [made.current(job) for job in (old, other, new)] == [False, True, True]
    assert receive(made, IMAGE, attempt=1, plan=4) == []
    made.add_plan(dataclasses.replace(PLAN, version=6))
    assert receive(made, IMAGE, attempt=0, plan=6) == [], 'the attempt counts before the plan'
    assert made.current(new)
    assert (made.drained(4), made.drained(5)) == (False, False)


def test_a_failed_frame_is_let_go_and_its_next_attempt_runs():
    made = pipeline()
    [job] = receive(made, IMAGE)
    made.failed(job)
    assert (made.frames, made.current(job)) == (0, False)
    assert receive(made, IMAGE) == [], 'the attempt that failed ran again'
    assert len(receive(made, IMAGE, attempt=1)) == 1


def test_frames_of_which_nothing_is_heard_are_let_go():
    made = pipeline(keep_seconds=10.0)
    [job] = receive(made, IMAGE, frame=1, now=0.0)
    receive(made, IMAGE, frame=2, now=5.0)
    finish(made, job, now=8.0)
    assert made.expire(15.0) == 0
    assert made.expire(15.1) == 1
    assert made.current(job)
    assert made.expire(18.1) == 1
    assert made.frames == 0


def test_a_plan_that_is_removed_takes_its_frames_along():
    made = pipeline()
    made.add_plan(dataclasses.replace(PLAN, version=5))
    [old] = receive(made, IMAGE, frame=1)
    [new] = receive(made, IMAGE, frame=2, plan=5)
    made.remove_plan(4)
    assert (made.current(old), made.current(new), made.drained(4), made.drained(5)) == (False, True, True, False)
    with pytest.raises(WireError, match='known: 5'):
        receive(made, IMAGE, frame=3)
    made.remove_plan(4)


def test_a_frame_that_comes_by_again_tells_of_each_stage_once_though_its_energy_is_unknown():
    made = pipeline()
    [job] = receive(made, IMAGE)
    finish(made, job)
    back = dataclasses.replace(job.frame.stages[0], joules=float('nan'), deviation_joules=float('nan'))
    far = StageTime('cloud', 1, 0.0, 0.0, 0.0, 0.0, float('nan'), float('nan'))
    [job] = receive(made, 'c', stage=1, stages=(back, far))
    assert [(one.device, one.stage) for one in job.frame.stages] == [('pi', 0), ('cloud', 1)]

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When the frame source sends a frame again, and when a worker lets a plan go."""

from dataclasses import replace

import numpy as np
import pytest

from edge_dnn_partition.execution.frames.failure import Failure, FailureKind
from edge_dnn_partition.execution.frames.ledger import FAILED, Frame, FrameLedger
from edge_dnn_partition.execution.frames.plan_registry import LINGER_SECONDS, PlanStatus, WorkerPlans
from edge_dnn_partition.execution.frames.repetition import (
    HOPELESS_SECONDS,
    MOST_DEATHS,
    MOST_OVERTAKEN,
    PREPARATION_SECONDS,
    PROPOSAL_SECONDS,
    Overdue,
    Patience,
    Repetition,
    SourcePlans,
)
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan

PATIENCE = Patience(factor=6.0, least_seconds=3.0, heartbeat_seconds=1.0)


@pytest.fixture
def plan():
    stage = StagePlan(device='pi', preprocess=True, layers=((0, 3),), inputs=('@image',), outputs=('y',))
    return Plan(version=1, model_sha256='a' * 64, source='pi', sink='pi', stages=(stage,), transfers=(), latency_seconds=0.1)


@pytest.fixture
def plans(plan):
    plans = SourcePlans()
    plans.on_plan(plan, PlanStatus.ACTIVE)
    plans.on_heartbeat('pi', 1, {1, 2}, 1e9)
    return plans


def frame(plans, plan, number, now):
    found = Frame(number, FrameInputs.of_image(CameraImage(np.zeros(1, np.uint8), 'jpeg')), now, plan.version, sent_at=now)
    plans.sent(number, plan)
    return found


def test_where_frames_wait_for_one_another_none_is_sent_again(plans, plan):
    first = frame(plans, plan, 1, 0.0)
    assert plans.overdue(first, 3.0, PATIENCE) is None
    assert plans.overdue(first, 3.1, PATIENCE) is Overdue.TIMEOUT
    for _ in range(3):
        plans.on_result(plan.version, 4.0)
    assert not plans.overdue(first, 11.9, PATIENCE)
    assert plans.overdue(first, 12.1, PATIENCE)


def test_what_an_earlier_plan_took_says_nothing_of_the_next(plans, plan):
    frame(plans, plan, 1, 0.0)
    plans.on_result(plan.version, 40.0)
    plans.done(1)
    later = replace(plan, version=2)
    plans.on_plan(later, PlanStatus.ACTIVE)
    second = frame(plans, later, 2, 1.0)
    plans.tidy({2})
    assert plans.overdue(second, 4.1, PATIENCE)
    plans.on_result(plan.version, 40.0)  # a late frame of a plan that is gone
    assert plans.overdue(second, 4.1, PATIENCE)


def test_a_worker_keeps_a_plan_while_frames_of_it_may_be_on_their_way(plan):
    plans = WorkerPlans(device='pi')
    for version in (1, 2, 3):
        plans.on_plan(replace(plan, version=version), PlanStatus.ACTIVE)
    assert plans.idle({1, 2, 3}, lambda _: True, 5.0) == ()
    assert plans.idle({1, 2, 3}, lambda _: True, 5.0 + LINGER_SECONDS - 0.1) == ()
    assert plans.idle({1, 2, 3}, lambda _: False, 5.0 + LINGER_SECONDS) == ()
    assert plans.idle({1, 2, 3}, lambda _: True, 5.0 + LINGER_SECONDS) == (1,), 'the newest of the older ones stays'


def slower(plan, **changes):
    return replace(plan, version=2, **{'latency_seconds': 0.25, 'objective': 'latency'} | changes)


def test_a_late_frame_of_an_earlier_plan_is_overtaken_but_not_without_end(plans, plan):
    late = frame(plans, plan, 1, 0.0)
    assert not plans.overtaken(late, 9.0, 1.5)  # there is no other plan
    plans.on_plan(slower(plan), PlanStatus.ACTIVE)
    assert not plans.overtaken(late, 0.2, 1.5)  # late, but the other plan takes as long
    assert plans.overtaken(late, 0.26, 1.5)
    assert not plans.overtaken(late, 9.0, 0.0)
    late.attempt = late.first_attempt + MOST_OVERTAKEN - 1
    assert plans.overtaken(late, 9.0, 1.5)
    late.attempt += 1
    assert not plans.overtaken(late, 9.0, 1.5)


def test_a_frame_that_takes_no_longer_than_usual_is_not_overtaken(plans, plan):
    for _ in range(3):
        frame(plans, plan, 1, 0.0)
        plans.on_result(plan.version, 1.0)
    late = frame(plans, plan, 2, 0.0)
    plans.on_plan(slower(plan), PlanStatus.ACTIVE)
    plans.tidy({plan.version})
    assert not plans.overtaken(late, 1.4, 1.5)
    assert plans.overtaken(late, 1.6, 1.5)


def test_where_energy_is_to_be_saved_no_frame_runs_twice(plans, plan):
    late = frame(plans, plan, 1, 0.0)
    plans.on_plan(slower(plan, objective='energy'), PlanStatus.ACTIVE)
    assert not plans.overtaken(late, 9.0, 1.5)


class Source:
    """A frame source's parts, with workers that say what they have prepared; sendings are noted."""

    def __init__(self, plan, *, in_flight=1):
        self.plans, self.ledger, self.sent, self.now = SourcePlans(), FrameLedger(waiting=10, first_id=1), [], 0.0
        self.repetition = Repetition(self.plans, self.ledger, self, self.send, lambda _: None)
        self.workers = {}
        self.worker('pi', 1, {1})
        self.plans.on_plan(plan, PlanStatus.ACTIVE)
        for _ in range(in_flight):
            self.ledger.offer(FrameInputs.of_image(CameraImage(np.zeros(1, np.uint8), 'jpeg')))
            self.send(self.ledger.accept(0.0, 1, in_flight), plan)

    def send(self, frame, plan):
        self.plans.sent(frame.frame_number, plan)
        self.sent.append((frame.frame_number, frame.attempt, plan.version))

    def seconds_left(self, frame_number):
        return 0.0

    def forget_frame(self, frame_number, *, late=False):
        pass

    def forget_device(self, device):
        pass

    def worker(self, device, incarnation, prepared):
        self.workers[device] = incarnation, prepared
        self.plans.on_heartbeat(device, incarnation, prepared, self.now)

    def passes(self, seconds):
        """Let time pass in which the workers live; return what was sent meanwhile."""
        before = len(self.sent)
        for _ in range(max(1, round(seconds * 10))):
            self.now += min(0.1, seconds)
            for device, (incarnation, prepared) in self.workers.items():
                self.plans.on_heartbeat(device, incarnation, prepared, self.now)
            for frame in self.ledger.unfinished:
                self.repetition.again(frame, self.now, PATIENCE)
        return self.sent[before:]

    def fails(self, kind, device, frame_number=1):
        frame = self.ledger.under_way(frame_number)
        self.repetition.on_failure(Failure(
            kind, device, self.workers[device][0], frame_number, frame.plan_version, frame.attempt, 0, f'on {device}'), self.now)

    @property
    def ends(self):
        return [(frame.status, frame.reason) for frame in self.ledger.release()]


def test_a_worker_that_was_started_anew_gets_its_frames_when_it_has_the_plan(plan):
    source = Source(plan)
    source.worker('pi', 2, set())
    assert source.passes(60.0) == [], 'it would refuse them'
    source.worker('pi', 2, {1})
    assert source.passes(0.0) == [(1, 1, 1)]


def test_a_refused_frame_is_sent_again_when_its_plan_is_there_and_that_does_not_count(plan):
    source = Source(plan)
    for attempt in range(1, 40):
        source.fails(FailureKind.NOT_READY, 'pi')
        source.workers['pi'] = 1, set()
        assert source.passes(5.0) == []
        source.worker('pi', 1, {1})
        assert source.passes(0.0) == [(1, attempt, 1)]
    assert source.ledger.under_way(1).timeouts == 0


def test_a_frame_of_which_nobody_knows_anything_is_given_up_after_some_time_and_not_while_a_worker_is_away(plan):
    source = Source(plan)
    away = source.workers.pop('pi')
    source.passes(600.0)
    assert source.ledger.under_way(1).timeouts == 0
    source.workers['pi'] = away
    source.passes(100.0)
    assert [(frame.status, frame.reason) for frame in source.ledger.release()] == [
        ('lost', 'sent 5 times without a result or a reason')]


def test_a_frame_that_kills_its_workers_fails_and_those_beside_it_do_not(plan):
    source = Source(plan, in_flight=3)
    for death in range(2, 2 + MOST_DEATHS):
        source.worker('pi', death, set())
        source.worker('pi', death, {1})
        sent = source.passes(0.1)
        assert [number for number, *_ in sent] == ([1] if death < 1 + MOST_DEATHS else [2]), 'one that may be the cause runs alone'
    assert source.ends == [(FAILED, '3 workers died with this frame, the last one on pi')]
    source.ledger.result(2, 1, 1, {'y': np.zeros(1)}, (), (), 1, source.now)
    source.plans.done(2)
    assert [number for number, *_ in source.passes(0.1)] == [3]


@pytest.mark.parametrize('prepared', [True, False])
def test_what_may_be_the_devices_doing_is_tried_once_elsewhere(plan, prepared):
    source = Source(plan)
    other = replace(plan, version=2, stages=(replace(plan.stages[0], device='cloud'),))
    source.worker('cloud', 7, {2} if prepared else set())
    if prepared:
        source.plans.on_plan(other, PlanStatus.ACTIVE)
        source.plans.on_plan(replace(plan, version=3), PlanStatus.ACTIVE)
        source.plans.sent(99, other)  # it was used a while ago
    source.fails(FailureKind.DEVICE, 'pi')
    if not prepared:
        assert source.passes(PROPOSAL_SECONDS - 0.2) == []
        source.plans.on_plan(other, PlanStatus.PROPOSED)
        assert source.passes(PREPARATION_SECONDS / 2) == []
        source.worker('cloud', 7, {2})
        source.plans.on_plan(other, PlanStatus.ACTIVE)
    assert source.passes(0.1) == [(1, 1, 2)]
    source.fails(FailureKind.DEVICE, 'cloud')
    assert source.ends == [(FAILED, 'stage 0 on cloud: on cloud; before that, stage 0 on pi: on pi')]


def test_a_failure_that_is_told_twice_is_one(plan):
    source = Source(plan)
    source.worker('cloud', 7, set())
    source.fails(FailureKind.DEVICE, 'pi')
    source.fails(FailureKind.DEVICE, 'pi')  # fragments that were sent again under load came after it had failed
    assert source.ends == []


def test_where_there_is_no_other_device_or_plan_the_frame_fails_and_the_next_one_does_not_wait(plan):
    source = Source(plan)
    source.fails(FailureKind.DEVICE, 'pi')
    source.passes(0.1)
    assert source.ends == [(FAILED, 'stage 0 on pi: on pi')]
    source = Source(plan, in_flight=3)
    source.worker('cloud', 7, set())
    source.fails(FailureKind.DEVICE, 'pi')
    source.passes(PROPOSAL_SECONDS - 0.2)
    assert source.ends == []
    source.passes(0.5)
    assert len(source.ends) == 1
    source.fails(FailureKind.DEVICE, 'pi', 2)
    source.passes(0.1)
    assert len(source.ends) == 1
    source.passes(HOPELESS_SECONDS)
    source.fails(FailureKind.DEVICE, 'pi', 3)
    source.passes(0.1)
    assert source.ends == []


def test_the_failure_of_an_earlier_sending_says_nothing(plan):
    source = Source(plan)
    source.worker('pi', 2, {1})
    assert source.passes(0.1) == [(1, 1, 1)]
    source.repetition.on_failure(Failure(FailureKind.DATA, 'pi', 1, 1, 1, 0, 0, 'cut off'), source.now)
    source.passes(0.1)
    assert source.ends == []
    source.fails(FailureKind.DATA, 'pi')
    assert source.ends == [(FAILED, 'stage 0 on pi: on pi')]

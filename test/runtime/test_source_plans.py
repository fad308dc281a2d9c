# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When the frame source sends a frame again, and when a worker lets a plan go."""

from dataclasses import replace

import numpy as np
import pytest

from edge_dnn_partition.planning.plans.plan import Plan, StagePlan
from edge_dnn_partition.runtime.frames.ledger import Frame, Picture
from edge_dnn_partition.runtime.frames.plan_book import LINGER_SECONDS, PlanStatus, WorkerPlans
from edge_dnn_partition.runtime.frames.source_plans import MOST_OVERTAKEN, Patience, SourcePlans

PATIENCE = Patience(factor=6.0, least_seconds=3.0, heartbeat_seconds=1.0)


@pytest.fixture
def plan():
    stage = StagePlan(device='pi', preprocess=True, layers=((0, 3),), inputs=('@picture',), outputs=('y',))
    return Plan(version=1, model_sha256='a' * 64, source='pi', sink='pi', stages=(stage,), transfers=(), latency_seconds=0.1)


@pytest.fixture
def plans(plan):
    plans = SourcePlans()
    plans.hear(plan, PlanStatus.ACTIVE)
    return plans


def frame(plans, plan, number, now):
    found = Frame(number, Picture(np.zeros(1, np.uint8), 'jpeg'), now, plan.version, sent_at=now)
    plans.sent(number, plan)
    return found


def test_where_frames_wait_for_one_another_none_is_sent_again(plans, plan):
    first = frame(plans, plan, 1, 0.0)
    assert not plans.overdue(first, 3.0, PATIENCE)
    assert plans.overdue(first, 3.1, PATIENCE)
    for _ in range(3):
        plans.took(plan.version, 4.0)
    assert not plans.overdue(first, 11.9, PATIENCE)
    assert plans.overdue(first, 12.1, PATIENCE)


def test_what_an_earlier_plan_took_says_nothing_of_the_next(plans, plan):
    frame(plans, plan, 1, 0.0)
    plans.took(plan.version, 40.0)
    plans.done(1)
    later = replace(plan, version=2)
    plans.hear(later, PlanStatus.ACTIVE)
    second = frame(plans, later, 2, 1.0)
    plans.tidy({2})
    assert plans.overdue(second, 4.1, PATIENCE)
    plans.took(plan.version, 40.0)  # a late frame of a plan that is gone
    assert plans.overdue(second, 4.1, PATIENCE)


def test_a_worker_keeps_a_plan_while_frames_of_it_may_be_on_their_way(plan):
    plans = WorkerPlans(device='pi')
    for version in (1, 2, 3):
        plans.hear(replace(plan, version=version), PlanStatus.ACTIVE)
    assert plans.idle({1, 2, 3}, lambda _: True, 5.0) == ()
    assert plans.idle({1, 2, 3}, lambda _: True, 5.0 + LINGER_SECONDS - 0.1) == ()
    assert plans.idle({1, 2, 3}, lambda _: False, 5.0 + LINGER_SECONDS) == ()
    assert plans.idle({1, 2, 3}, lambda _: True, 5.0 + LINGER_SECONDS) == (1,), 'the newest of the older ones stays'


def slower(plan, **changes):
    return replace(plan, version=2, **{'latency_seconds': 0.25, 'objective': 'latency'} | changes)


def test_a_late_frame_of_an_earlier_plan_is_overtaken_but_not_without_end(plans, plan):
    late = frame(plans, plan, 1, 0.0)
    assert not plans.overtaken(late, 9.0, 1.5)  # there is no other plan
    plans.hear(slower(plan), PlanStatus.ACTIVE)
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
        plans.took(plan.version, 1.0)
    late = frame(plans, plan, 2, 0.0)
    plans.hear(slower(plan), PlanStatus.ACTIVE)
    plans.tidy({plan.version})
    assert not plans.overtaken(late, 1.4, 1.5)
    assert plans.overtaken(late, 1.6, 1.5)


def test_where_energy_is_to_be_saved_no_frame_runs_twice(plans, plan):
    late = frame(plans, plan, 1, 0.0)
    plans.hear(slower(plan, objective='energy'), PlanStatus.ACTIVE)
    assert not plans.overtaken(late, 9.0, 1.5)

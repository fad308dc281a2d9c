# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Policies on small fleets: the planner's choice at first, learning of plans and devices, records, candidates."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.control.decision import qlearning as learned
from edge_dnn_partition.control.decision.auto import AutoPolicy
from edge_dnn_partition.control.decision.candidates import Candidates, Predictor
from edge_dnn_partition.control.decision.exact import ExactPolicy
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policies import learner_of, policy_of
from edge_dnn_partition.control.decision.policy import Conditions, FixedPolicy, Frame
from edge_dnn_partition.control.decision.qlearning import LearningSettings, QLearningPolicy
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.solvers.solve import solve

NAMES = ('pi', 'fog', 'cloud')
LOCAL, FOG, CLOUD = (('pi',) * 3, ('fog',) * 3, ('cloud',) * 3)


def problem(fog=0.06, cloud=0.05, *, devices=NAMES, rate=1e7):
    """Three nodes; one device alone is best: the tensors between them are large."""
    seconds = {'pi': 0.4, 'fog': fog, 'cloud': cloud}
    return Problem(
        source='pi', sink='pi', devices=tuple(Device(name=d) for d in devices),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=rate, latency_seconds=0.01) for a in devices for b in devices if a != b),
        node_names=('a', 'b', 'c'),
        tensors=(Tensor(name='in', producer=INPUT, readers=(0,), bytes=1e5), Tensor(name='ab', producer=0, readers=(1,), bytes=1e7),
                 Tensor(name='bc', producer=1, readers=(2,), bytes=1e7), Tensor(name='out', producer=2, readers=(), bytes=1e3, at_sink=True)),
        seconds=np.array([[seconds[d] / 3 for d in devices]] * 3), weight_bytes=np.zeros(3),
    )  # fmt: skip


def drive(policy, frames, cost, *, given=problem, start=0.0, warm=(), decide_every=2):
    """Let a policy decide over frames that cost ``cost(plan)``; return the plans that were in force."""
    plans, present = [], getattr(policy, 'present', None)
    for frame in range(frames):
        now = start + frame * 0.2
        if frame % decide_every == 0:
            conditions = Conditions(now, given())
            choice = policy.choose(conditions)
            policy.maintain(conditions)
            if choice.assignment is not None:
                present = choice.assignment
                policy.moved(now, present)
        shadow = policy.shadow([LOCAL, FOG, CLOUD, *warm])
        policy.learn(Frame(now, present, cost(present)))
        if shadow is not None:
            assert shadow != present
            policy.learn(Frame(now, shadow, cost(shadow), shadow=True))
        plans.append(present)
    return plans


def predicted(plan):
    return evaluate(problem(), plan).latency_seconds


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_its_first_choices_are_the_planners(reference, seed):
    given_problem = from_costs_json(reference.random_document(seed, nodes=6, devices=3, chain=True))
    policy = QLearningPolicy()
    best = solve(given_problem).objective_value
    conditions = Conditions(0.0, given_problem)
    first = policy.choose(conditions).assignment
    assert evaluate(given_problem, first).latency_seconds == pytest.approx(best, rel=1e-9)
    policy.maintain(conditions)
    chosen = policy.choose(Conditions(0.1, given_problem)).assignment
    assert evaluate(given_problem, chosen).latency_seconds == pytest.approx(best, rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(rates=st.lists(st.floats(0.05, 20), min_size=1, max_size=12))
def test_while_predictions_hold_it_is_no_worse_than_the_planner(rates):
    """Under changing rates, without surprises, every plan in force is within the least gain of the best candidate."""
    policy = QLearningPolicy(Settings(confirmations=1, dwell_seconds=0.0))
    present = None
    for step, rate in enumerate(rates):
        now = step * 10.0
        given_problem = problem(rate=rate * 1e7)
        conditions = Conditions(now, given_problem)
        choice = policy.choose(conditions)
        policy.maintain(conditions)
        if choice.assignment is not None:
            present = choice.assignment
            policy.moved(now, present)
        cost = evaluate(given_problem, present).latency_seconds
        best = min(evaluate(given_problem, plan).latency_seconds for plan in policy.candidates.plans)
        margin = policy.hysteresis.least_gain() + policy.settings.table.switch_cost + 0.02
        assert cost <= best * (1 + margin)
        for frame in range(3):
            policy.learn(Frame(now + frame * 0.2, present, cost))


@pytest.mark.parametrize('make', [QLearningPolicy, AutoPolicy])
def test_a_plan_that_is_worse_than_predicted_is_left_and_stays_left(make):
    plans = drive(make(), 600, lambda plan: predicted(plan) * (2.0 if plan == CLOUD else 1.0))
    assert plans[0] == CLOUD
    assert plans[60:].count(FOG) > 500


def test_auto_hands_back_when_predictions_hold_again():
    policy = AutoPolicy()
    drive(policy, 200, lambda plan: predicted(plan) * (2.0 if plan == CLOUD else 1.0))
    assert policy.learning
    for part in range(22):
        drive(policy, 500, predicted, start=40.0 + 100.0 * part)
        if not policy.learning:
            break
    assert not policy.learning


def test_auto_is_the_planner_while_predictions_hold():
    policy, exact = AutoPolicy(), ExactPolicy()
    assert drive(policy, 400, predicted) == drive(exact, 400, predicted)
    assert not policy.learning


@pytest.mark.parametrize('make', [QLearningPolicy, AutoPolicy, ExactPolicy, lambda: FixedPolicy(CLOUD)])
def test_a_gone_device_moves_every_policy_at_once(make):
    policy = make()
    assert drive(policy, 40, predicted)[-1] == CLOUD
    choice = policy.choose(Conditions(8.1, problem(devices=('pi', 'fog'))))
    assert choice.assignment is not None
    assert 'cloud' not in choice.assignment
    policy.moved(8.1, choice.assignment)
    policy.learn(Frame(8.2, choice.assignment, 0.1))


def test_shadow_frames_keep_to_the_budget(monkeypatch):
    policy = QLearningPolicy(learning=LearningSettings(shadow_share=0.1, explore=9.0))
    spend, spent = policy.budget.spend, []
    monkeypatch.setattr(policy.budget, 'spend', lambda: spent.append(spend()))
    drive(policy, 500, predicted)
    assert 0 < len(spent) <= 50


def test_equal_frames_give_equal_courses():
    def course():
        rng = np.random.default_rng(5)
        return drive(AutoPolicy(), 400, lambda plan: predicted(plan) * float(np.exp(rng.normal(0, 0.4))))

    assert course() == course()


def test_what_was_learned_is_taken_up_again(tmp_path):
    policy = QLearningPolicy()
    drive(policy, 300, lambda plan: predicted(plan) * (2.0 if plan == CLOUD else 1.0))
    path, key = tmp_path / 'q.json', learned.key_of('abc', 'fleet', (0, 1), 'latency')
    again = QLearningPolicy()
    assert not learned.load(path, key, again)
    learned.save(path, key, policy)
    assert learned.load(path, key, again)
    assert again.candidates.plans == policy.candidates.plans
    np.testing.assert_array_equal(again.table.values, policy.table.values)
    assert drive(again, 20, predicted)[0] == FOG, 'it remembers which plan is slow'
    other = QLearningPolicy()
    for changed in (('abd', 'fleet', (0, 1), 'latency'), ('abc', 'fleet2', (0, 1), 'latency'), ('abc', 'fleet', (0, 2), 'latency'),
                    ('abc', 'fleet', (0, 1), 'energy')):  # fmt: skip
        assert not learned.load(path, learned.key_of(*changed), other)
    assert not other.candidates.plans
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('break_it', [
    lambda text: text[:40], lambda text: '[]', lambda text: text.replace('"plans": [', '"plans": [3, '),
    lambda text: text.replace('"visits"', '"visit"'), lambda text: text.replace('"format"', '"for"'),
])  # fmt: skip
def test_a_broken_record_is_refused_and_changes_nothing(tmp_path, break_it):
    policy = QLearningPolicy()
    drive(policy, 100, lambda plan: predicted(plan) * (2.0 if plan == CLOUD else 1.0))
    path = tmp_path / 'q.json'
    learned.save(path, 'k', policy)
    path.write_text(break_it(path.read_text()))
    fresh = QLearningPolicy()
    with pytest.raises(PlanError, match='delete the file'):
        learned.load(path, 'k', fresh)
    assert not fresh.candidates.plans
    assert not fresh.table.values.any()


def test_candidates_are_answers_of_the_planner_and_keep_to_their_limit():
    candidates = Candidates(limit=3)
    candidates.seed(problem())
    assert candidates.plans[0] == CLOUD
    assert set(candidates.plans) <= {LOCAL, FOG, CLOUD}
    assert candidates.offer(CLOUD) is None
    mixed = ('pi', 'fog', 'fog')
    candidates.offer(mixed)
    candidates.offer(('pi', 'cloud', 'cloud'))
    assert len(candidates.plans) <= 3


def test_a_plan_in_force_does_not_give_way():
    candidates = Candidates(limit=2)
    candidates.offer(LOCAL)
    candidates.offer(CLOUD)
    assert candidates.offer(FOG, keep=(LOCAL, CLOUD)) is None
    slot = candidates.offer(FOG, keep=(CLOUD,))
    assert slot == 0
    assert candidates.plans == [FOG, CLOUD]


def test_frames_before_conditions_and_senseless_costs_are_let_pass():
    policy = AutoPolicy()
    policy.learn(Frame(0.0, CLOUD, 0.1))
    drive(policy, 10, predicted)
    before = policy.table.values.copy()
    for cost in (0.0, -1.0, math.nan):
        policy.learn(Frame(2.0, CLOUD, cost))
    drive(policy, 2, predicted, start=2.0)
    np.testing.assert_allclose(policy.table.values, before, atol=0.01)


@pytest.mark.parametrize('name', ['q_learning', 'auto'])
def test_exploration_is_what_is_asked_for(name):
    assert learner_of(policy_of(name, Settings(), exploration=0.1)).budget.share == 0.1
    assert learner_of(policy_of(name, Settings())).budget.share == 0.02


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_what_candidates_are_predicted_to_take_is_the_cost_models(reference, seed):
    given_problem = from_costs_json(reference.random_document(seed, nodes=6, devices=3))
    random, names = np.random.default_rng(seed), given_problem.names
    plans = [tuple(random.choice(names, given_problem.nodes)) for _ in range(4)] + [('gone',) * given_problem.nodes]
    expected = [evaluate(given_problem, plan).latency_seconds for plan in plans[:-1]] + [math.inf]
    np.testing.assert_allclose(np.exp(Predictor().log_seconds(given_problem, plans)), expected, rtol=1e-9)


def large(robots=96):
    """A robot's problem in a large fleet: four servers that all robots reach."""
    servers = [f's{i}' for i in range(4)]
    names = [*servers, *(f'r{i}' for i in range(robots))]
    seconds = {name: 0.4 if name[0] == 'r' else 0.05 + 0.01 * int(name[1:]) for name in names}
    pairs = [(a, b) for a in names for b in servers if a != b] + [(b, a) for a in names for b in servers if a[0] == 'r']
    return replace(
        problem(), source='r0', sink='r0', devices=tuple(Device(name=n) for n in names),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=1e7, latency_seconds=0.005) for a, b in pairs),
        seconds=np.array([[seconds[d] / 3 for d in names]] * 3),
    )  # fmt: skip


@pytest.mark.parametrize('make', [QLearningPolicy, AutoPolicy])
def test_of_a_hundred_devices_the_slow_server_is_left_for_the_next(make):
    given_problem = large()

    def cost(plan):
        return evaluate(given_problem, plan).latency_seconds * (3.0 if 's0' in plan else 1.0)

    plans = drive(make(), 100, cost, given=lambda: given_problem)
    assert set(plans[0]) == {'s0'}
    assert set(plans[-1]) == {'s1'}

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Learning in large fleets: about a few devices, which follow the plans, while the planner chooses among all."""

import dataclasses

import numpy as np
import pytest

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.adaptation import learned
from edge_dnn_partition.planning.adaptation.decide import Settings
from edge_dnn_partition.planning.adaptation.neighbourhood import LIMIT, MOST, Neighbourhood
from edge_dnn_partition.planning.adaptation.policies import learner_of, policy_of
from edge_dnn_partition.planning.adaptation.policy import Conditions, Frame
from edge_dnn_partition.planning.adaptation.qlearning import QLearningPolicy
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import INPUT, Device, Link, Problem, Tensor

SERVERS = 4


def fleet(robots=96, *, gone=()):
    """The first robot's problem: four servers that all robots reach; those that are gone are left out."""
    names = [f's{i}' for i in range(SERVERS)] + [f'r{i}' for i in range(robots)]
    names = [name for name in names if name not in gone]
    seconds = {name: 0.4 if name[0] == 'r' else 0.05 + 0.01 * int(name[1:]) for name in names}
    servers = [name for name in names if name[0] == 's']
    pairs = [(a, b) for a in names for b in servers if a != b] + [(b, a) for a in names for b in servers if a[0] == 'r']
    return Problem(
        source='r0', sink='r0', devices=tuple(Device(name=n) for n in names),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=1e7, latency_seconds=0.005) for a, b in pairs),
        node_names=('a', 'b', 'c'),
        tensors=(Tensor(name='in', producer=INPUT, readers=(0,), bytes=1e5), Tensor(name='ab', producer=0, readers=(1,), bytes=1e7),
                 Tensor(name='bc', producer=1, readers=(2,), bytes=1e7), Tensor(name='out', producer=2, readers=(), bytes=1e3, at_sink=True)),
        seconds=np.array([[seconds[d] / 3 for d in names]] * 3), weight_bytes=np.zeros(3),
    )  # fmt: skip


def live(policy, problems, *, cost=None, start=0.0):
    """Decide on each problem, a frame after each decision; return the plans that were in force."""
    present, plans = policy.present, []
    for step, problem in enumerate(problems):
        conditions = Conditions(start + 0.25 * step, problem)
        choice = policy.choose(conditions)
        if choice.assignment is not None:
            present = choice.assignment
            policy.moved(conditions.now, present)
        policy.tend(conditions)
        seconds = evaluate(problem, present).latency_seconds * (1.0 if cost is None else cost(present))
        policy.learn(Frame(conditions.now + 0.1, present, seconds))
        policy.shadow([])
        plans.append(present)
    return plans


@pytest.mark.parametrize('name', ['auto', 'q_learning'])
def test_a_hundred_devices_are_decided_on_among_all_and_learned_of_a_few(name):
    names = fleet().names
    policy = policy_of(name, names, Settings())
    plans = live(policy, [fleet()] * 12)
    assert set(plans[-1]) == {'s0'}, 'the quickest server'
    learner = learner_of(policy)
    assert len(learner.near.devices) == MOST
    assert {'r0', 's0', 's1', 's2', 's3'} <= set(learner.near.devices)
    assert learner.predictor.count == MOST * (MOST + 1)
    assert learner.filter.covariance.nbytes < 1e6
    assert all(set(plan) <= set(learner.near.devices) for plan in learner.candidates.plans)


def test_what_frames_show_of_a_server_moves_the_stream_away_from_it():
    policy = QLearningPolicy(fleet().names)
    plans = live(policy, [fleet()] * 80, cost=lambda plan: 3.0 if 's0' in plan else 1.0)
    assert set(plans[0]) == {'s0'}
    assert set(plans[-1]) == {'s1'}


def test_who_comes_to_matter_is_learned_of_from_then_on():
    policy = policy_of('auto', fleet().names, Settings())
    live(policy, [fleet()] * 4)
    near = learner_of(policy).near
    stranger = next(name for name in fleet().names if name not in near.devices)
    quick = dataclasses.replace(fleet(), seconds=np.where(np.array(fleet().names) == stranger, 0.001, fleet().seconds))
    linked = dataclasses.replace(quick, links=(
        *quick.links, *(Link(sender=a, reader=b, bytes_per_second=1e9) for a, b in (('r0', stranger), (stranger, 'r0'))),
    ))  # fmt: skip
    plans = live(policy, [linked] * 20, start=2.0)
    assert set(plans[-1]) == {stranger}
    assert near.has(plans[-1]) and len(near.devices) == MOST
    policy.moved(9.0, ('r0', 'r77', 'r77'))
    live(policy, [linked] * 1, start=9.25)
    assert near.has(('r0', 'r77', 'r77'))


def test_where_those_that_were_followed_are_gone_others_are():
    policy = QLearningPolicy(fleet().names)
    live(policy, [fleet()] * 4)
    dead = [name for name in policy.near.devices if name != 'r0'][: MOST - 2]
    plans = live(policy, [fleet(gone=dead)] * 8, start=2.0)
    assert not set(plans[-1]) & set(dead)
    assert len(set(policy.near.devices) & set(fleet(gone=dead).names)) >= MOST - 1


def test_a_plan_of_more_devices_than_can_be_followed_stays():
    names = fleet().names
    problem = dataclasses.replace(fleet(), links=tuple(
        Link(sender=a, reader=b, bytes_per_second=1e9) for a in names for b in names if a != b))  # fmt: skip
    nodes = 40
    problem = dataclasses.replace(
        problem, node_names=tuple(f'n{i}' for i in range(nodes)), weight_bytes=np.zeros(nodes), seconds=np.full((nodes, len(names)), 0.01),
        tensors=tuple(Tensor(name=f't{i}', producer=i - 1, readers=(i,) if i < nodes else (), bytes=1e3, at_sink=i == nodes)
                      for i in range(nodes + 1)),
    )  # fmt: skip
    wide = tuple(names[i] for i in range(nodes))
    policy = QLearningPolicy(names)
    policy.moved(0.0, wide)
    choice = policy.choose(Conditions(1.0, problem))
    assert choice.assignment is None and 'more devices' in choice.reason
    assert len(policy.near.devices) == LIMIT
    policy.learn(Frame(1.1, wide, 0.5))
    assert np.isfinite(policy.filter.mean).all()


def test_what_was_learned_of_a_large_fleet_is_taken_up(tmp_path):
    names = fleet().names
    policy = QLearningPolicy(names)
    live(policy, [fleet()] * 40, cost=lambda plan: 3.0 if 's0' in plan else 1.0)
    path = tmp_path / 'q.json'
    learned.save(path, 'k', policy)
    again = QLearningPolicy(names)
    assert learned.load(path, 'k', again)
    assert again.near.devices == policy.near.devices
    assert again.candidates.plans == policy.candidates.plans
    np.testing.assert_array_equal(again.table.values, policy.table.values)
    np.testing.assert_array_equal(again.filter.plan_logs, policy.filter.plan_logs)
    path.write_text(path.read_text().replace('"visits"', '"visit"'))
    fresh = QLearningPolicy(names)
    with pytest.raises(PlanError, match='delete the file'):
        learned.load(path, 'k', fresh)
    assert fresh.near.devices == () and not fresh.candidates.plans


def test_a_small_fleet_is_its_own_neighbourhood():
    near = Neighbourhood(['a', 'b', 'c'])
    assert near.whole and near.devices == ('a', 'b', 'c')
    near.take(['a'])
    problem = fleet(robots=4)
    assert near.devices == ('a', 'b', 'c') and near.of(problem) is problem

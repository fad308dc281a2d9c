# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fleets on the same hosts: what each counts of the others, whose memory comes first, whose turn it is, and that it ends."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.control.state.sharing import EXPIRE_SECONDS, FleetUse, HostUse, OthersUse, Sharing, niceness, use_of
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.contention import HostLoad, host_factor


def fleet(name='current', priority=5, hosts=None, **devices):
    return parse_fleet({
        'fleet': name, 'source': 'pi', 'devices': devices or {'pi': {}, 'jetson': {'threads': 2}},
        'links': [{'between': ['pi', 'jetson'], 'rate': '8 Mbit/s'}],
        'share': {'group': 'robot', 'priority': priority, 'hosts': hosts or {}},
    })  # fmt: skip


def use(name, priority, cores=0.0, memory=0.0, moving=False, host='jetson'):
    return FleetUse(name, priority, moving, {host: HostUse(cores, memory)})


@pytest.mark.parametrize(('share', 'words'), [
    ({'group': 'robot', 'priority': 11}, 'less than or equal to 10'),
    ({'group': '1st'}, "'1st' is not a ROS name"),
    ({'group': 'robot', 'hosts': {'jetsom': 'base'}}, "share.hosts: no device is called 'jetsom'; did you mean 'jetson'"),
    ({'priority': 3}, 'group'),
])  # fmt: skip
def test_what_does_not_fit_is_said(share, words):
    with pytest.raises(PlanError, match=words):
        parse_fleet({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}}, 'share': share})


def test_loads_count_by_who_comes_first():
    current = Sharing(fleet(priority=5, hosts={'jetson': 'base'}))
    for other in (use('a', 9, 0.5, host='base'), use('b', 5, 0.25, host='base'), use('c', 1, 0.125, host='base'), use('current', 5, 7)):
        current.on_share(other, 10.0)
    assert current.use('jetson', 10.0) == OthersUse(0.5, 0.25, 0.125)
    assert current.use('pi', 10.0) == OthersUse()
    assert current.words(10.0) == 'a (priority 9), b (priority 5), c (priority 1)'
    current.on_share(use('a', 9, 1.5, host='base'), 12.0)
    assert current.use('jetson', 10.0 + EXPIRE_SECONDS + 0.1) == OthersUse(1.5, 0.0, 0.0), 'who is silent is gone'


def test_memory_is_taken_by_who_comes_first():
    problem = from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 1, 'devices': {'pi': {}, 'jetson': {'memory_bytes': 100}}, 'links': [],
        'layers': [{'name': 'l', 'inputs': [-1], 'output_bytes': 1, 'weight_bytes': 60, 'seconds': {'pi': 1.0, 'jetson': 0.1}}],
    })  # fmt: skip

    def left(me, *others):
        sharing = Sharing(fleet(me))
        for other in others:
            sharing.on_share(other, 0.0)
        return {device.name: device.memory_bytes for device in sharing.applied(problem, 0.0).devices}

    assert left('m') == {'pi': math.inf, 'jetson': 100}
    assert left('m', use('a', 9, memory=30), use('b', 1, memory=50)) == {'pi': math.inf, 'jetson': 70}
    assert left('m', use('a', 5, memory=30)) == {'pi': math.inf, 'jetson': 70}, 'of equal ones the first by name'
    assert left('m', use('z', 5, memory=30)) == {'pi': math.inf, 'jetson': 100}
    assert left('m', use('a', 9, memory=300)) == {'pi': math.inf, 'jetson': 0}


def test_it_waits_for_a_fleet_that_moves_but_not_for_one_that_gives_way():
    current = Sharing(fleet(priority=5))
    current.on_share(use('low', 2, moving=True), 0.0)
    assert current.wait(0.0) == ''
    current.on_share(use('even', 5, moving=True), 0.0)
    assert current.wait(0.0) == 'a better plan waits for the fleet even, which is moving'
    current.on_share(use('even', 5), 1.0)
    assert current.wait(1.0) == ''
    current.on_share(use('high', 8, moving=True), 1.0)
    assert 'high' in current.wait(1.0)
    assert current.wait(1.0 + EXPIRE_SECONDS + 0.1) == '', 'one that died in its move holds nobody up'


def test_what_a_plan_takes():
    profile = Profile('m', 'pi', 'CPUExecutionProvider', 1, (0, 2, 4), (0.1, 0.2), (0.0,), preprocess_seconds=0.05)
    stages = (StagePlan('pi', True, ((0, 2),)), StagePlan('jetson', False, ((2, 4),)))
    plan = Plan(3, 'm', 'pi', 'pi', stages, ())
    weights = {0: 1.0, 1: 2.0, 2: 4.0, 3: 8.0}
    profiles = {'pi': profile, 'jetson': profile.scaled(0.5)}
    found = use_of(plan, 2.0, fleet(hosts={'pi': 'base'}), profiles, weights)
    assert found['base'] == HostUse(pytest.approx(0.3), 3.0)
    assert found['jetson'] == HostUse(pytest.approx(2 * 0.1 * 2), 12.0), 'two threads'
    assert use_of(plan, 100.0, fleet(), profiles, weights)['pi'].cores == 1.0, 'no host is busier than it has cores'
    assert use_of(plan, 2.0, fleet(), {}, weights)['jetson'] == HostUse(0.0, 12.0)


def test_a_played_device_is_as_slow_as_the_others_make_it():
    emulated = fleet(pi={'emulate': {'slowdown': 2}}, jetson={'emulate': {'slowdown': 2}})
    view = FleetView(emulated)
    view.on_heartbeat('jetson', 1, 1.0, 0.0)
    view.on_shared('jetson', OthersUse(first_cores=0.5, equal_cores=0.25, lesser_cores=3.0))
    assert view.factors(0.0) == {'pi': 1.0, 'jetson': pytest.approx(1.25 / 0.5)}
    for _ in range(3):
        view.on_heartbeat('jetson', 1, 1.1, 0.0)  # its probe counts CPU time, which the others do not take from it
    assert view.factors(0.0)['jetson'] == pytest.approx(1.1 * 1.25 / 0.5)
    view.on_shared('jetson', OthersUse())
    assert view.factors(1.0)['jetson'] == pytest.approx(1.1)


def test_on_a_real_host_what_gives_way_is_no_load():
    view = FleetView(fleet(pi={'threads': 4}, jetson={'threads': 4}))
    view.devices['jetson'].own_cores = 0.0
    load = HostLoad(cores=4, busy_cores=4.0)
    view.on_host('jetson', load)
    assert view.factors(0.0)['jetson'] == 2.0
    view.on_shared('jetson', OthersUse(lesser_cores=4.0))
    view.on_host('jetson', load)
    assert view.factors(0.0)['jetson'] == 1.0
    view.on_shared('jetson', OthersUse(first_cores=2.0))
    view.on_host('jetson', load)
    assert view.factors(0.0)['jetson'] == pytest.approx((4 + 2) / 2)


def test_priorities_are_niceness():
    assert [niceness(priority) for priority in (10, 5, 0)] == [0, 5, 10]


# Several fleets until none moves ------------------------------------------------------------------------------

SLOW = {'pi': 1.0, 'jetson': 0.4, 'cloud': 0.1}


def chain(random):
    """Return a model of six layers on three devices, by a cost file."""
    base = random.uniform(0.005, 0.05, 6)
    pairs = [(a, b) for a in SLOW for b in SLOW if a != b]
    return from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 20000, 'devices': {name: {} for name in SLOW},
        'links': [{'from': a, 'to': b, 'bytes_per_second': 2e6, 'latency_seconds': 0.002} for a, b in pairs],
        'layers': [{'name': f'l{i}', 'inputs': [i - 1], 'output_bytes': int(random.uniform(1e3, 1e5)), 'weight_bytes': 1,
                    'seconds': {name: base[i] * slow for name, slow in SLOW.items()}} for i in range(6)],
    })  # fmt: skip


def loads(problem, assignment, fps):
    """Return how much of each device a plan keeps busy."""
    cores = dict.fromkeys(SLOW, 0.0)
    for node, device in enumerate(assignment):
        cores[device] += fps * problem.seconds[node, problem.position[device]]
    return {device: min(1.0, busy) for device, busy in cores.items()}


def under(problem, sharing, now):
    """Return a fleet's problem as slow as the others make its devices."""
    factors = []
    for name in problem.names:
        others = sharing.use(name, now)
        load = HostLoad(cores=1, busy_cores=others.first_cores + others.equal_cores, own_cores=0.0, first_cores=others.first_cores)
        factors.append(host_factor(load, 1))
    return replace(problem, seconds=problem.seconds * np.array(factors))


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(3, 6), min_size=2, max_size=4), st.floats(1.0, 10.0))
def test_it_ends_and_the_first_has_what_it_would_have_alone(seed, priorities, fps):
    """Each in turn moves to its best plan if that is 8 % better: after some rounds none does."""
    random = np.random.default_rng(seed)
    devices = {name: {} for name in SLOW}
    problems = [chain(random) for _ in priorities]
    minds = [Sharing(fleet(f'f{i}', priority, **devices)) for i, priority in enumerate(priorities)]
    plans = [solve(problem).assignment for problem in problems]
    for turn in range(40):
        moved = False
        for i, (mind, problem) in enumerate(zip(minds, problems, strict=True)):
            for k, plan in enumerate(plans):
                told = {host: HostUse(cores) for host, cores in loads(problems[k], plan, fps).items()}
                mind.on_share(FleetUse(f'f{k}', priorities[k], False, told), float(turn))
            now = under(problem, mind, float(turn))
            best = solve(now).assignment
            if evaluate(now, best).latency_seconds < 0.92 * evaluate(now, plans[i]).latency_seconds:
                plans[i], moved = best, True
        if not moved:
            break
    assert not moved, 'they never come to rest'
    top = max(priorities)
    if priorities.count(top) == 1:
        first = priorities.index(top)
        alone = evaluate(problems[first], solve(problems[first]).assignment).latency_seconds
        assert evaluate(problems[first], plans[first]).latency_seconds <= alone / 0.92

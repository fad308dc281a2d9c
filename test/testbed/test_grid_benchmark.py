# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks grid and scale: what is compared, and how parts are put together."""

import pytest

from edge_dnn_partition.cli import bench
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.solvers.solve import solve

grid = bench.load('grid', bench.find()['grid'])

from edge_dnn_partition.benchmarks import grid_plans, grid_run, scale_fleet  # noqa: E402
from edge_dnn_partition.benchmarks.grid_plans import CLOUD, SOURCE, Conditions, Planner  # noqa: E402

SLOW = {SOURCE: 12.0, CLOUD: 1.0}
DOCUMENT = {
    'fleet': 'grid', 'source': SOURCE, 'devices': {SOURCE: {}, CLOUD: {}},
    'links': [{'between': [SOURCE, CLOUD], 'rate': '1 Mbit/s', 'delay': '10 ms'}],
}


@pytest.fixture(scope='module')
def ground():
    return scale_fleet.ground()


def planner_of(ground, **more):
    fleet = parse_fleet(DOCUMENT | more)
    return Planner(Pipeline(ground.model, {name: ground.profile.scaled(f) for name, f in SLOW.items()}, fleet), SLOW)


def cell(rate, **slowdowns):
    return Conditions(rate, 0.01, SLOW | slowdowns, 60_000.0)


@pytest.mark.parametrize('rate', [0.13, 5.85, 100.0])
def test_the_oracle_begins_with_the_best_fixed_plan_and_no_other_dominates_it(ground, rate):
    planner = planner_of(ground)
    chosen, front = planner.oracle(cell(rate))
    assert 1 <= len(chosen) <= min(front, 5)
    problem = planner.problem(cell(rate))
    best = solve(problem).latency_seconds
    assert chosen[0].predicted.latency_seconds == pytest.approx(best)
    seconds = [choice.predicted.latency_seconds for choice in chosen]
    assert seconds == sorted(seconds)


def test_baselines_are_what_their_names_say(ground):
    planner = planner_of(ground)
    here = cell(5.85)
    found = planner.baselines(here, here)
    assert set(found) == set(grid_plans.BASELINES)
    assert set(found['all_on_source'].assignment) == {SOURCE}
    assert set(found['all_on_cloud'].assignment) == {CLOUD}
    assert found['cloud_tensor'].assignment[0] == SOURCE
    assert set(found['cloud_tensor'].assignment[1:]) == {CLOUD}
    assert found['cloud_tensor'].raw
    assert found['neurosurgeon'].raw
    assert found['neurosurgeon'].assignment[0] == found['dads'].assignment[0] == SOURCE
    plain = planner.problem(here, raw=True)
    heads = [(SOURCE,) * k + (CLOUD,) * (plain.nodes - k) for k in range(1, plain.nodes + 1)]
    assert found['neurosurgeon'].predicted.latency_seconds == min(evaluate(plain, a).latency_seconds for a in heads)
    assert found['dads'].predicted.latency_seconds <= found['neurosurgeon'].predicted.latency_seconds


def test_rivals_that_plan_once_do_not_know_of_a_busy_cloud(ground):
    planner = planner_of(ground)
    usual, busy = cell(100.0), cell(100.0, **{CLOUD: 40.0})
    unaware, aware = planner.baselines(busy, usual)['dads'], planner.baselines(busy, busy)['dads']
    assert unaware.assignment == planner.baselines(usual, usual)['dads'].assignment
    assert aware.predicted.latency_seconds < unaware.predicted.latency_seconds


def test_what_cannot_run_is_no_baseline(ground):
    until = ground.model.layers[3].name
    planner = planner_of(ground, constraints={'private_until': until})
    found = planner.baselines(cell(5.85), cell(5.85))
    assert 'all_on_source' in found
    assert not {'all_on_cloud', 'cloud_tensor'} & set(found)
    assert all(choice.assignment[0] == SOURCE for choice in planner.oracle(cell(5.85))[0])


def test_links_are_fitted_and_missing_plans_composed():
    ladder = [
        {'rate': 8.0, 'bytes': size, 'hops': hops, 'seconds': 0.02 * hops + size * 1.1e-6}
        for size, hops in ((10_000, 1), (200_000, 2), (50_000, 2), (400_000, 2))
    ]
    per_hop, per_byte = grid_run.fit_links(ladder)[8.0]
    assert per_hop == pytest.approx(0.02)
    assert per_byte == pytest.approx(1.1e-6)
    row = {'composed': True, 'frames': 0, 'device_seconds': {SOURCE: 1.0, CLOUD: 0.5}, 'bytes': 1e6, 'hops': 2}
    cells = [{'rate': 8.0, 'baselines': {'all_on_cloud': row}, 'oracle': [row]}]
    watts = {'idle': 2.0, 'active': 3.0, 'radio': 1.0}
    assert grid_run.compose_missing(cells, {8.0: (per_hop, per_byte)}, watts) == 1
    assert row['p50_seconds'] == pytest.approx(1.5 + 0.04 + 1.1)
    assert row['joules'] == pytest.approx({'idle': 2.0 * 2.64, 'active': 3.0, 'radio': 1.0})


def test_a_cell_is_held_against_its_best_fixed_split():
    def row(seconds, *, interior=False):
        joules = {'idle': seconds, 'active': 0.0, 'radio': 0.0}
        return {'p50_seconds': seconds, 'seconds': [seconds] * 3, 'plan': f'{seconds}', 'interior': interior, 'joules': joules}

    one = {
        'baselines': {'all_on_source': row(4.0), 'all_on_cloud': row(3.0), 'cloud_tensor': row(8.0)},
        'oracle': [row(2.0, interior=True), row(2.5)], 'adaptive': row(2.1), 'front': 4,
    }
    found = grid_run.summary(one)
    assert found['over_oracle'] == pytest.approx(1.05)
    assert found['over_oracle_interval'] == pytest.approx([1.05, 1.05])
    assert found['interior_wins']
    assert found['speedup']['all_on_cloud'] == pytest.approx(3.0 / 2.1)
    targets = {target.name: target for target in grid._targets([one | found], 1)}
    within = targets['cells in which adaptive takes at most 1.10 times the oracle']
    assert within.met
    assert within.measured == 100
    slower = targets['baselines that adaptive is over 5 % slower than']
    assert slower.met
    worse = one | {'adaptive': row(3.2)}
    missed = {target.name: target for target in grid._targets([worse | grid_run.summary(worse)], 1)}
    assert missed['baselines that adaptive is over 5 % slower than'].measured == 1
    assert not missed['the worst cell, over the oracle'].met


def test_simulated_fleets_grow_as_their_shape_says(ground):
    hubs, mesh = (scale_fleet.Simulated(ground, 12, shape, 0) for shape in scale_fleet.SHAPES)
    assert len(mesh.links) == 66
    assert len(hubs.links) == 28 + 8 * 4
    hubs.hear(0.0)
    problem, choice = hubs.decide(0.0)
    assert len(problem.names) == 12
    assert choice.assignment is not None
    assert scale_fleet.exponent([10, 100, 1000], [3.0, 300.0, 30000.0]) == pytest.approx(2.0)

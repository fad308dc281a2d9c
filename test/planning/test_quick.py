# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Who plans all the time leaves out what takes seconds of a core, and loses little by that."""

import dataclasses
import itertools

import numpy as np
import pytest

from edge_dnn_partition.control.decision.exact import decide
from edge_dnn_partition.control.decision.explain import explain
from edge_dnn_partition.control.decision.hysteresis import Hysteresis, Settings
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import stage_count
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers import milp
from edge_dnn_partition.planning.solvers.fewer_stages import effective_bottleneck, fewer_stages, in_one_cache, worth
from edge_dnn_partition.planning.solvers.solve import solve


def pipeline(seed: int, devices: int, nodes: int, rate: float = 40e6) -> Problem:
    """A chain like a network's on equal devices."""
    draw = np.random.default_rng(seed)
    names = tuple(f'd{i}' for i in range(1, devices + 1))
    seconds = np.repeat(draw.uniform(0.01, 0.08, nodes)[:, None], devices, axis=1)
    sizes = [4e5, *np.sort(draw.uniform(1e5, 3e6, nodes - 1))[::-1], 4e3]
    return Problem(
        source='d1', sink='d1', devices=tuple(Device(name=name) for name in names),
        links=tuple(
            Link(sender=a, reader=b, bytes_per_second=rate, latency_seconds=1e-3) for a, b in itertools.permutations(names, 2)
        ),
        node_names=tuple(f'n{i}' for i in range(nodes)),
        tensors=tuple(
            Tensor(name=f't{i}', producer=i - 1 if i else INPUT, readers=(i,) if i < nodes else (), bytes=float(size),
                   at_sink=i == nodes)
            for i, size in enumerate(sizes)
        ),
        seconds=seconds, weight_bytes=np.zeros(nodes), seam_seconds=np.full((nodes - 1, devices), 0.002),
    )  # fmt: skip


@pytest.mark.parametrize(('devices', 'nodes'), [(2, 12), (3, 9)])
@pytest.mark.parametrize('seed', [1, 2])
def test_quick_planning_for_throughput_is_nearly_as_good(seed, devices, nodes):
    problem = pipeline(seed, devices, nodes)
    quick, thorough = (solve(problem, 'throughput', quick=quick) for quick in (True, False))
    assert thorough.bottleneck_seconds <= quick.bottleneck_seconds * (1 + 1e-9)
    assert quick.bottleneck_seconds <= 1.04 * thorough.bottleneck_seconds


def test_live_decisions_and_their_explanations_do_without_mixed_integer_programs(monkeypatch):
    def never(*_args, **_options):
        raise AssertionError('a mixed-integer program takes seconds of a core')

    monkeypatch.setattr(milp, 'throughput', never)
    problem = pipeline(3, 3, 12)
    decision = decide(0.0, problem, Hysteresis(Settings('throughput')))
    assert decision.assignment is not None
    assert decision.costs.bottleneck_seconds <= 1.2 * problem.seconds[:, 0].sum() / 3
    explain(problem, decision.assignment, tuple(range(12)), Goal('throughput'), reason='first plan')


@pytest.mark.parametrize('devices', [2, 3, 4])
@pytest.mark.parametrize('seed', [1, 2, 3])
def test_a_pipeline_that_is_to_run_has_no_more_stages_than_pay(seed, devices):
    problem = pipeline(seed, devices, 24, rate=125e6)
    found = solve(problem, 'throughput', quick=True)
    names = {name: i for i, name in enumerate(problem.names)}
    plan = np.array([names[device] for device in found.assignment])
    own = worth(plan, found.bottleneck_seconds)
    assert stage_count(plan) <= devices + 5
    single_visit = solve(problem, 'throughput', 'each_device_once')
    assert own <= single_visit.bottleneck_seconds * (1 + 1e-9), 'one stage each would be better'
    merged = fewer_stages(problem, [plan])
    assert np.array_equal(merged, plan), 'a merger would be better'


def cached(devices: int = 4, segments: int = 20) -> Problem:
    """Equal segments of 10 ms, each timed alone; two neighbours take 2 ms longer, since the cache holds one of them."""
    problem = pipeline(0, devices, segments, rate=125e6)
    return dataclasses.replace(
        problem, seconds=np.full((segments, devices), 0.010), seam_seconds=np.full((segments - 1, devices), -0.002)
    )


@pytest.mark.parametrize('devices', [2, 4])
def test_a_pipeline_counts_on_no_cache_for_each_of_a_devices_stages(devices):
    problem = cached(devices)
    found = solve(problem, 'throughput', quick=True)
    assert stage_count(problem.indices(found.assignment)) == devices
    assert not found.optimal, 'small stages have the least bottleneck, as far as the profile tells'
    many = solve(problem, 'throughput', quick=True, few_stages=False)
    assert many.bottleneck_seconds < found.bottleneck_seconds
    assert effective_bottleneck(problem, many.assignment) > effective_bottleneck(problem, found.assignment)


def test_a_plan_of_small_stages_is_left_for_one_stage_each():
    problem = cached()
    scattered = tuple(f'd{1 + i % 4}' for i in range(problem.nodes))
    hysteresis, decision = Hysteresis(Settings('throughput'), scattered, since=0.0), None
    for second in range(5, 9):
        decision = decide(float(second), problem, hysteresis)
        if decision.assignment is not None:
            break
    assert decision.assignment is not None and stage_count(problem.indices(decision.assignment)) == 4
    after = decide(60.0, problem, Hysteresis(Settings('throughput'), decision.assignment, since=10.0))
    assert after.assignment is None, 'and not for small stages again'


def test_in_one_cache_the_whole_takes_as_long_as_it_was_measured_and_overheads_that_save_stay():
    problem = cached()
    whole = np.zeros(problem.nodes, dtype=np.int64)
    shared = in_one_cache(problem)
    assert evaluate(shared, whole).latency_seconds == pytest.approx(evaluate(problem, whole).latency_seconds)
    assert (shared.seam_seconds >= 0).all()
    usual = pipeline(1, 2, 12)
    assert in_one_cache(usual) is usual

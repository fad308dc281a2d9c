# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Many devices with few links: the same plans as over all pairs, and tables of the links alone."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import energy_cost, latency_cost
from edge_dnn_partition.planning.cost_model.parts import Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.cost_model.transfer_tables import ByTransfer, Coding, columns_of
from edge_dnn_partition.planning.solvers import chain
from edge_dnn_partition.planning.solvers.solve import solve


def sparse_problem(seed, nodes=6, devices=70, degree=3, coded=True):
    """A chain on devices of which each has a few links, and node ``i``'s tensor is an output, too, now and then."""
    rng = np.random.default_rng(seed)
    names = [f'd{i}' for i in range(devices)]
    pairs = sorted({(a, b) for a in range(devices) for b in rng.choice(devices, degree).tolist() if a != b})
    tensors = [Tensor(name='image', producer=-1, readers=(0,), bytes=1e5)]
    for i in range(nodes):
        readers = (i + 1,) if i + 1 < nodes else ()
        outside = not readers or bool(rng.random() < 0.2)
        tensors.append(Tensor(name=f't{i}', producer=i, readers=readers, bytes=float(rng.uniform(1e3, 1e6)), at_sink=outside))
    seconds = rng.uniform(0.01, 0.1, (nodes, devices))
    seconds[rng.random(seconds.shape) < 0.1] = np.inf
    seconds[:, 0] = 0.2
    problem = Problem(
        source='d0', sink='d0', devices=tuple(Device(name=n, active_watts=float(rng.uniform(1, 9))) for n in names),
        links=tuple(Link(sender=names[a], reader=names[b], bytes_per_second=float(10 ** rng.uniform(6, 8)), latency_seconds=0.002)
                    for a, b in pairs),
        node_names=tuple(f'n{i}' for i in range(nodes)), tensors=tuple(tensors), seconds=seconds,
        weight_bytes=np.ones(nodes), seam_seconds=rng.uniform(-0.003, 0.009, (nodes - 1, devices)),
    )  # fmt: skip
    if not coded:
        return problem
    ends = np.array(pairs).T
    shape = (len(tensors), len(pairs) + 1)

    def table(numbers, without):
        numbers[:, -1] = without
        return ByTransfer(columns_of(*ends, devices), numbers)

    coding = Coding(
        wire_bytes=table(problem.tensor_bytes[:, None] * rng.uniform(0.1, 1.1, shape), problem.tensor_bytes),
        encode_seconds=table(rng.uniform(0, 0.01, shape), 0.0), decode_seconds=table(rng.uniform(0, 0.005, shape), 0.0),
    )  # fmt: skip
    return dataclasses.replace(problem, coding=coding)


@given(seed=st.integers(0, 10_000), degree=st.integers(1, 12), coded=st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_links_alone_give_the_same_plan_as_all_pairs(seed, degree, coded):
    problem = sparse_problem(seed, degree=degree, coded=coded)
    for make in (latency_cost, energy_cost):
        cost = make(problem)
        expected = chain.shortest([chain.trellis(problem, cost)])
        found = chain.only_path(problem, cost)
        assert found is not None and expected is not None, 'the source can always run all'
        assert found.tolist() == expected.tolist()


def test_a_large_fleet_is_planned_over_its_links_and_a_tie_is_broken_as_in_a_small_one():
    problem = sparse_problem(3)
    solution = solve(problem)
    assert solution.optimal and problem.indices(solution.assignment).tolist() == chain.only_path(
        problem, latency_cost(problem)
    ).tolist()
    # Twice the same: a device that is as quick and as well connected as one that the plan uses, and stands after it.
    plain = dataclasses.replace(problem, coding=None)
    alone = solve(plain)
    used = next(name for name in alone.assignment if name != 'd0')
    first = problem.position[used]
    twin = [
        dataclasses.replace(link, **{end: 'twin' for end in ('sender', 'reader') if getattr(link, end) == used})
        for link in problem.links if used in (link.sender, link.reader)
    ]  # fmt: skip
    twins = dataclasses.replace(
        plain, devices=(*plain.devices, dataclasses.replace(plain.devices[first], name='twin')), links=(*plain.links, *twin),
        seconds=np.column_stack((plain.seconds, plain.seconds[:, first])),
        seam_seconds=np.column_stack((plain.seam_seconds, plain.seam_seconds[:, first])),
    )  # fmt: skip
    both = solve(twins)
    assert chain.only_path(twins, latency_cost(twins)) is None, 'two plans are as cheap'
    assert both.assignment == alone.assignment and both.optimal


def test_a_large_fleet_that_cannot_run_the_model_is_told_so():
    problem = sparse_problem(1)
    seconds = problem.seconds.copy()
    seconds[2] = np.inf
    nowhere = dataclasses.replace(problem, seconds=seconds)
    assert chain.only_path(nowhere, latency_cost(nowhere)) is None
    assert not solve(nowhere).feasible
    unlinked = dataclasses.replace(problem, links=(), coding=None)
    seconds = unlinked.seconds.copy()
    seconds[2, 0] = np.inf
    stuck = dataclasses.replace(unlinked, seconds=seconds)
    solution = solve(stuck)
    assert not solution.feasible and solution.optimal


def test_a_table_of_the_links_reads_as_the_whole_array():
    problem = sparse_problem(5)
    table = problem.coding.wire_bytes
    whole = table.whole()
    assert whole.shape == (len(problem.tensors), 70, 70)
    rng = np.random.default_rng(0)
    tensor, sender, reader = rng.integers(0, len(problem.tensors), 500), *rng.integers(0, 70, (2, 500))
    assert np.array_equal(table[tensor, sender, reader], whole[tensor, sender, reader])
    assert np.array_equal(table[2, sender[:, None], reader[None, :]], whole[2][np.ix_(sender, reader)])
    assert np.array_equal(table.whole(3), whole[3])
    senders, readers = table.ends
    assert (problem.rate[senders, readers] > 0).all() and len(senders) == len(problem.links)
    assert np.array_equal(table.values[:, :-1], whole[:, senders, readers])
    dense = ByTransfer.of(whole)
    assert np.array_equal(dense[tensor, sender, reader], whole[tensor, sender, reader])
    same = dataclasses.replace(problem, coding=dataclasses.replace(problem.coding, wire_bytes=dense,
        encode_seconds=ByTransfer.of(problem.coding.encode_seconds.whole()),
        decode_seconds=ByTransfer.of(problem.coding.decode_seconds.whole())))  # fmt: skip
    plan = solve(problem).assignment
    assert evaluate(same, plan) == evaluate(problem, plan)
    assert solve(same).assignment == plan


@given(seed=st.integers(0, 10_000), count=st.integers(1, 20), coded=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_part_of_a_problem_costs_its_plans_the_same(seed, count, coded):
    problem = sparse_problem(seed, devices=40, degree=12, coded=coded)
    problem = dataclasses.replace(problem, devices=tuple(dataclasses.replace(d, idle_watts=0.5) for d in problem.devices))
    rng = np.random.default_rng(seed)
    names = ['d0', *(problem.names[i] for i in rng.choice(np.arange(1, 40), count - 1, replace=False))]
    part = problem.among(names)
    assert set(part.names) == set(names) and part.source == 'd0'
    for _ in range(5):
        plan = tuple(names[i] for i in rng.integers(0, count, problem.nodes))
        whole, part_costs = evaluate(problem, plan), evaluate(part, plan)
        for value in ('latency_seconds', 'energy_joules', 'bottleneck_seconds'):
            assert getattr(part_costs, value) == pytest.approx(getattr(whole, value), rel=1e-12) or math.isinf(getattr(whole, value))
        assert part_costs.feasible == whole.feasible
    found = solve(part)
    assert solve(problem).latency_seconds <= found.latency_seconds * (1 + 1e-9)
    assert evaluate(problem, found.assignment).latency_seconds == pytest.approx(found.latency_seconds)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The methods one by one, on middle-sized problems: against each other, networkx and HiGHS."""

import dataclasses
import itertools

import networkx as nx
import numpy as np
import pytest

from edge_dnn_partition.planning.cost_model.batch import Batch
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import LinearCost, device_once, energy_cost, latency_cost, transfers
from edge_dnn_partition.planning.cost_model.parts import Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.cost_model.transfer_tables import ByTransfer, Coding
from edge_dnn_partition.planning.solvers import (
    chain,
    frontier,
    labels,
    maxflow,
    milp,
    subsets,
    twodevices,
)
from edge_dnn_partition.planning.solvers.solve import solve

OBJECTIVES = ('latency', 'energy', 'throughput', 'balanced')


def rich_problem(seed, nodes, devices, *, overheads=True, coding=True, chain=False):
    """A problem with what cost files lack: several tensors and inputs, boundary overheads of either sign, coding."""
    rng = np.random.default_rng(seed)
    names = [f'd{i}' for i in range(devices)]
    tensors = [Tensor(name='image', producer=-1, readers=(0,), bytes=1e5)]
    if not chain:
        tensors.append(Tensor(name='mask', producer=-1, readers=tuple(sorted({0, nodes // 2})), bytes=1e4))
    for i in range(nodes):
        for part in range(1 if chain else int(rng.integers(1, 3))):
            later = [i + 1] if chain else [j for j in range(i + 1, min(i + 4, nodes)) if rng.random() < 0.6]
            readers = tuple(j for j in later if j < nodes)
            tensors.append(
                Tensor(name=f't{i}.{part}', producer=i, readers=readers, bytes=float(rng.uniform(1e3, 1e6)), at_sink=not readers)
            )
    seconds = rng.uniform(0.01, 0.1, (nodes, devices))
    return Problem(
        source='d0', sink=names[-1],
        devices=tuple(
            Device(name=n, active_watts=float(rng.uniform(1, 9)), idle_watts=0.3, radio_watts=1.0,
                   **({'encode_seconds': 0.001, 'encode_seconds_per_byte': 1e-9, 'decode_seconds': 0.002,
                       'decode_seconds_per_byte': 2e-9} if coding else {}))
            for n in names
        ),
        links=tuple(
            Link(sender=a, reader=b, bytes_per_second=float(10 ** rng.uniform(6, 8)), latency_seconds=0.002)
            for a in names for b in names if a != b
        ),
        node_names=tuple(f'n{i}' for i in range(nodes)), tensors=tuple(tensors), seconds=seconds,
        weight_bytes=np.ones(nodes),
        seam_seconds=rng.uniform(-0.003, 0.009, (nodes - 1, devices)) if overheads else None,
    )  # fmt: skip


def best_of_all(problem, objective, once_only=False):
    plans = np.array(list(itertools.product(range(len(problem.devices)), repeat=problem.nodes)))
    costs = [evaluate(problem, plan) for plan in plans if not once_only or device_once(plan)]
    zero = evaluate(problem, np.zeros(problem.nodes, dtype=int))

    def value(c):
        if objective == 'balanced':
            return 0.5 * c.latency_seconds / zero.latency_seconds + 0.5 * c.energy_joules / zero.energy_joules
        return {'latency': c.latency_seconds, 'energy': c.energy_joules, 'throughput': c.bottleneck_seconds}[objective]

    return min(value(c) for c in costs if c.feasible)


def encoded(problem, seed):
    """The problem with encodings whose sizes and seconds differ by tensor and by pair of devices."""
    rng = np.random.default_rng([seed, 5])
    shape = (len(problem.tensors), len(problem.devices), len(problem.devices))
    wire = problem.tensor_bytes[:, None, None] * rng.uniform(0.1, 1.1, shape)
    tables = (wire, rng.uniform(0, 0.01, shape), rng.uniform(0, 0.005, shape))
    wire_bytes, encode_seconds, decode_seconds = map(ByTransfer.of, tables)
    coding = Coding(wire_bytes=wire_bytes, encode_seconds=encode_seconds, decode_seconds=decode_seconds)
    return dataclasses.replace(problem, coding=coding)


@pytest.mark.parametrize('objective', OBJECTIVES)
@pytest.mark.parametrize(('nodes', 'devices', 'is_chain'), [(7, 2, False), (5, 3, False), (6, 3, True)])
@pytest.mark.parametrize('seed', range(3))
def test_encodings_are_counted_exactly(objective, nodes, devices, is_chain, seed):
    problem = encoded(rich_problem(seed, nodes, devices, chain=is_chain, coding=seed == 0, overheads=seed > 0), seed)
    for space in ('any', 'each_device_once'):
        solution = solve(problem, objective, space)
        best = best_of_all(problem, objective, once_only=space == 'each_device_once')
        assert solution.objective_value >= best * (1 - 1e-9)
        assert not solution.optimal or solution.objective_value == pytest.approx(best, rel=1e-9)
        if objective != 'throughput':
            assert solution.optimal


def test_encodings_in_every_form_of_the_costs():
    problem = encoded(rich_problem(4, 8, 3), 4)
    plans = np.random.default_rng(0).integers(0, 3, (60, problem.nodes))
    plain = dataclasses.replace(problem, coding=None)
    latency, energy = latency_cost(problem), energy_cost(problem)
    measured = Batch(problem).measure(plans)
    for k, plan in enumerate(plans):
        costs = evaluate(problem, plan)
        assert latency.value(problem, plan) == pytest.approx(costs.latency_seconds, rel=1e-12)
        assert energy.value(problem, plan) == pytest.approx(costs.energy_joules, rel=1e-12)
        assert measured.latency_seconds[k] == pytest.approx(costs.latency_seconds, rel=1e-12)
        assert measured.energy_joules[k] == pytest.approx(costs.energy_joules, rel=1e-12)
        assert measured.bottleneck_seconds[k] == pytest.approx(costs.bottleneck_seconds, rel=1e-12)
        sent = transfers(problem, plan)
        saved = (plain.wire_bytes(*sent) - problem.wire_bytes(*sent)) / problem.rate[sent[1], sent[2]]
        spent = sum(problem.coding_seconds(*sent)) - sum(plain.coding_seconds(*sent))
        difference = costs.latency_seconds - evaluate(plain, plan).latency_seconds
        assert difference == pytest.approx((spent - saved).sum(), abs=1e-12)


@pytest.mark.parametrize('objective', ['latency', 'energy', 'balanced'])
def test_encodings_on_larger_graphs_agree_with_highs(objective):
    problem = encoded(rich_problem(7, 14, 3, overheads=False), 7)
    solution = solve(problem, objective)
    if objective != 'balanced':
        cost = latency_cost(problem) if objective == 'latency' else energy_cost(problem)
        other = milp.linear(problem, cost, None)
        assert solution.objective_value == pytest.approx(cost.value(problem, other.assignment), rel=1e-7)
    assert solution.optimal


@pytest.mark.parametrize('objective', OBJECTIVES)
@pytest.mark.parametrize(('nodes', 'devices', 'is_chain'), [(7, 2, False), (5, 3, False), (6, 3, True)])
@pytest.mark.parametrize('seed', range(3))
def test_several_tensors_overheads_and_coding(objective, nodes, devices, is_chain, seed):
    problem = rich_problem(seed, nodes, devices, chain=is_chain)
    for space in ('any', 'each_device_once'):
        solution = solve(problem, objective, space)
        best = best_of_all(problem, objective, once_only=space == 'each_device_once')
        assert solution.optimal
        assert solution.objective_value == pytest.approx(best, rel=1e-9)


def test_linear_costs_and_batches_are_what_evaluate_says():
    problem = rich_problem(5, 9, 3)
    plans = np.random.default_rng(0).integers(0, 3, (50, 9))
    measured = Batch(problem).measure(plans)
    for row, plan in enumerate(plans):
        costs = evaluate(problem, plan)
        assert latency_cost(problem).value(problem, plan) == pytest.approx(costs.latency_seconds)
        assert energy_cost(problem).value(problem, plan) == pytest.approx(costs.energy_joules)
        assert measured.latency_seconds[row] == pytest.approx(costs.latency_seconds)
        assert measured.energy_joules[row] == pytest.approx(costs.energy_joules)
        assert measured.bottleneck_seconds[row] == pytest.approx(costs.bottleneck_seconds)


def cut_value(edges, side):
    return edges.capacities[side[edges.tails] & ~side[edges.heads]].sum()


@pytest.mark.parametrize('seed', range(12))
def test_minimum_cuts_equal_networkx(seed):
    rng = np.random.default_rng(seed)
    size, count = 40, 300
    tails, heads = rng.integers(0, size, (2, count))
    capacities = 10 ** rng.uniform(-6, 6, count)
    if seed % 3 == 0:
        capacities[rng.random(count) < 0.05] = np.inf
    graph = nx.DiGraph()
    graph.add_nodes_from(range(size))
    for u, v, c in zip(tails.tolist(), heads.tolist(), capacities.tolist(), strict=True):
        if u != v:
            graph.add_edge(u, v, capacity=c + (graph[u][v]['capacity'] if graph.has_edge(u, v) else 0))
    edges = maxflow.Edges(size, tails, heads, capacities)
    cut = maxflow.minimum_cut(edges, 0, 1)
    try:
        value = nx.maximum_flow_value(graph, 0, 1)
    except nx.NetworkXUnbounded:
        assert cut is None
        return
    assert cut_value(edges, cut.side) == pytest.approx(value, rel=1e-10)
    assert cut_value(edges, cut.least) == pytest.approx(value, rel=1e-9)
    assert cut_value(edges, cut.most) == pytest.approx(value, rel=1e-9)
    assert cut.gap <= 1e-10 * cut.flow and cut.side[0] and not cut.side[1]


def test_a_capacity_must_be_a_number():
    with pytest.raises(ValueError, match='negative or no number'):
        maxflow.minimum_cut(maxflow.Edges(2, np.array([0]), np.array([1]), np.array([np.nan])), 0, 1)


@pytest.mark.parametrize('seed', range(3))
def test_two_devices_and_the_frontier_agree_on_long_graphs(reference, seed):
    problem = from_costs_json(reference.random_document(seed, nodes=300, devices=2))
    costs = [latency_cost(problem), energy_cost(problem)]
    plan, gap = twodevices.solve(problem, costs)
    search = frontier.search(problem, costs)
    value = costs[0].value(problem, plan)
    assert search.optimal and gap <= 1e-10 * value
    assert costs[0].value(problem, search.assignment) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize('objective', ['latency', 'throughput'])
@pytest.mark.parametrize('seed', range(4))
def test_middle_sized_graphs_against_highs(reference, objective, seed):
    problem = from_costs_json(reference.random_document(seed, nodes=16 if objective == 'latency' else 12, devices=3, missing=0.2, memory=seed % 2 == 1))
    solution = solve(problem, objective)
    if objective == 'latency':
        result = milp.linear(problem, latency_cost(problem), None, nodes=10**5)
    else:
        result = milp.throughput(problem, np.inf, nodes=10**5)
    if not solution.feasible:
        assert result.infeasible
        return
    highs = evaluate(problem, result.assignment)
    value = highs.latency_seconds if objective == 'latency' else highs.bottleneck_seconds
    if solution.optimal:
        assert solution.objective_value <= value * (1 + 1e-6)
    assert solution.objective_value <= value * 1.01
    assert solution.objective_value >= result.lower_bound * (1 - 1e-6)


def test_alike_devices_are_one_kind_and_change_nothing():
    rng = np.random.default_rng(1)
    problem = rich_problem(2, 12, 5, overheads=False, coding=False, chain=True)
    seconds = problem.seconds.copy()
    seconds[:, 2] = seconds[:, 1]
    seconds[:, 3] = seconds[:, 1]
    alike = tuple(dataclasses.replace(problem.devices[1], name=d.name) if d.name in 'd1d2d3' else d for d in problem.devices)
    rate = {frozenset(p): float(r) for p, r in zip(itertools.combinations(range(5), 2), 10 ** rng.uniform(6, 7, 10), strict=True)}
    links = tuple(
        dataclasses.replace(link, bytes_per_second=rate[frozenset(1 if d in {1, 2, 3} else d for d in _ends(link))])
        if len({1 if d in {1, 2, 3} else d for d in _ends(link)}) == 2
        else dataclasses.replace(link, bytes_per_second=5e6)
        for link in problem.links
    )
    problem = dataclasses.replace(problem, seconds=seconds, devices=alike, links=links)
    group = subsets.kinds(problem)
    assert (1, 2, 3) in group.members
    plan, bound = subsets.least_bottleneck(problem)
    assert evaluate(problem, plan).bottleneck_seconds == pytest.approx(bound, rel=1e-12)
    assert device_once(plan)
    apart = subsets.Kinds(tuple((d,) for d in range(5)))
    assert subsets._least_value(subsets._chain(problem, apart), apart) == bound


def _ends(link):
    return [int(link.sender[1:]), int(link.reader[1:])]


def test_forty_eight_layers_on_twelve_devices_are_proven(reference):
    document = reference.random_document(7, nodes=48, devices=12, chain=True)
    for link in document['links']:
        link['channel'] = None
    problem = from_costs_json(document)
    for objective in ('latency', 'throughput'):
        solution = solve(problem, objective, 'each_device_once')
        assert solution.optimal and len(set(reference.runs(solution.assignment))) == len(reference.runs(solution.assignment))


def test_links_that_differ_by_direction():
    def problem(forth, back):
        links = (
            Link(sender='a', reader='b', bytes_per_second=forth),
            Link(sender='b', reader='a', bytes_per_second=back),
        )
        return Problem(
            source='a', sink='a', devices=(Device(name='a'), Device(name='b')), links=links, node_names=('x', 'y', 'z'),
            tensors=(
                Tensor(name='input', producer=-1, readers=(0,), bytes=1.0),
                Tensor(name='x', producer=0, readers=(1, 2), bytes=1.0),
                Tensor(name='y', producer=1, readers=(), bytes=1.0, at_sink=True),
                Tensor(name='z', producer=2, readers=(), bytes=1.0, at_sink=True),
            ),
            seconds=np.array([[1.0, 5.0], [2.0, 0.1], [2.0, 0.1]]), weight_bytes=np.zeros(3),
        )  # fmt: skip

    # there and back costs 1/forth once for both readers, and 1/back for each result
    assert solve(problem(1.0, 1e3)).assignment == ('a', 'b', 'b')
    assert solve(problem(1e3, 1.0)).assignment in (('a', 'b', 'b'), ('a', 'b', 'a'))
    assert solve(problem(1e3, 0.4)).assignment == ('a', 'a', 'a')
    assert solve(problem(0.2, 1e3)).assignment == ('a', 'a', 'a')
    assert solve(problem(1.0, 1e3)).latency_seconds == pytest.approx(1.0 + 1.0 + 0.2 + 2e-3)


def test_ties_go_to_latency_energy_stages_and_order():
    def problem(seconds, watts=(1.0, 1.0, 1.0)):
        names = ('a', 'b', 'c')
        seconds = np.array(seconds, dtype=float)
        return Problem(
            source='a', sink='a', devices=tuple(Device(name=n, active_watts=w) for n, w in zip(names, watts, strict=True)),
            links=tuple(Link(sender=x, reader=y, bytes_per_second=1.0) for x in names for y in names if x != y),
            node_names=tuple(map(str, range(len(seconds)))),
            tensors=tuple(
                Tensor(name=str(i), producer=i, readers=(i + 1,) if i + 1 < len(seconds) else (), bytes=0.0,
                       at_sink=i + 1 == len(seconds))
                for i in range(len(seconds))
            ),
            seconds=seconds, weight_bytes=np.zeros(len(seconds)),
        )  # fmt: skip

    assert solve(problem([[1, 1, 1]] * 3)).assignment == ('a', 'a', 'a')
    assert solve(problem([[1, 1, 1]] * 3, (2.0, 1.0, 1.0))).assignment == ('b', 'b', 'b')
    assert solve(problem([[3, 2, 1]] * 3, (0.0, 0.0, 0.0)), 'energy').assignment == ('c', 'c', 'c')
    assert solve(problem([[2, 1, 1], [1, 1, 2]])).assignment == ('b', 'b')
    assert solve(problem([[1, 9, 9], [9, 1, 1], [1, 9, 9]])).assignment == ('a', 'b', 'a')


def test_memory_that_binds(reference):
    for seed in range(3):
        document = reference.random_document(seed, nodes=14, devices=3, chain=seed == 0)
        for layer in document['layers']:
            layer['weight_bytes'] = 3
        for device in document['devices'].values():
            device['memory_bytes'] = 17
        solution = solve(from_costs_json(document))
        assert solution.feasible
        assert reference.plain_costs(document, solution.assignment) is not None
        document['devices'] = {name: device | {'memory_bytes': 11} for name, device in document['devices'].items()}
        solution = solve(from_costs_json(document))
        assert not solution.feasible and 'memory of all devices' in solution.reason


def test_labels_of_a_long_chain(reference):
    problem = from_costs_json(reference.random_document(3, nodes=40, devices=6, chain=True))
    cost, best = latency_cost(problem), solve(problem, 'latency', 'each_device_once')
    costs = chain.trellis(problem, cost)
    bound = labels.Bound((1.0,), chain.rest(costs), np.inf)
    found, complete = labels.search(problem, [costs], [bound], single_visit=True, most=10**6)
    assert complete and device_once(found)
    assert cost.value(problem, found) == pytest.approx(best.latency_seconds, rel=1e-12)
    few, complete = labels.search(problem, [costs], [bound], single_visit=True, most=5)
    assert not complete
    assert few is None or cost.value(problem, few) >= cost.value(problem, found)


def test_mixing_costs_keeps_what_cannot_be():
    problem = rich_problem(1, 4, 2)
    latency, energy = latency_cost(problem), energy_cost(problem)
    blocked = LinearCost(np.where(np.arange(2) == 1, np.inf, latency.node), latency.hop, latency.hop_per_byte, latency.overhead)
    mixed = blocked.plus(energy, 0.0, 0.0)
    assert np.isinf(mixed.node[:, 1]).all() and (mixed.node[:, 0] == 0).all()


def test_a_path_goes_on_through_the_tensor_that_is_read_last():
    """A layer makes a small tensor for the next layer and a large one for a later: the small one is gone when the path goes on."""
    reads = {'image': (-1, 0, 1e5), 'small': (0, 1, 1e3), 'large': (0, 3, 1e6), 'a': (1, 2, 1e4), 'b': (2, 3, 1e4)}
    tensors = [Tensor(name=name, producer=made, readers=(reader,), bytes=size) for name, (made, reader, size) in reads.items()]
    problem = Problem(
        source='d0', sink='d0', devices=(Device(name='d0'), Device(name='d1')),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=1e7, latency_seconds=0.001) for a, b in (('d0', 'd1'), ('d1', 'd0'))),
        node_names=('n0', 'n1', 'n2', 'n3'), tensors=(*tensors, Tensor(name='y', producer=3, readers=(), bytes=1e3, at_sink=True)),
        seconds=np.array([[0.05, 0.01], [0.01, 0.03], [0.04, 0.01], [0.05, 0.02]]), weight_bytes=np.zeros(4),
    )  # fmt: skip
    found = frontier.search(problem, [latency_cost(problem)])
    best = min(evaluate(problem, plan).latency_seconds for plan in itertools.product(('d0', 'd1'), repeat=4))
    assert found.optimal
    assert latency_cost(problem).value(problem, found.assignment) == pytest.approx(best)

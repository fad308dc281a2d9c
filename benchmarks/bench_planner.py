# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planner's time and quality on random graphs, against networkx's min-cut, scipy's and HiGHS.

Throughput's quick answers are held against OR-tools' CP-SAT (``pip install ortools``; it is no dependency), which begins at the
whole planner's plan; without it these rows are left out, and the report says so.

All in one run on one machine. Times are the least of a few repetitions, which disturbs them least;
the baselines alternate with the planner. The graphs are made here, from a fixed seed.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import latency_cost
from edge_dnn_partition.planning.cost_model.parts import Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.solvers import milp, twodevices
from edge_dnn_partition.planning.solvers.solve import Solution, solve

from .throughput_graphs import GRAPHS, by_cp_sat, throughput_problems

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('networkx',)
Results = list[dict[str, Any]]


def random_problem(nodes: int, devices: int, *, seed: int, chain: bool = False, window: int = 6) -> Problem:
    """Return a random problem: a chain, or a graph whose nodes read the node before and up to two others.

    Devices differ in speed by up to 4 times, nodes by a further 16 (an accelerator is not faster at
    everything); links have 10 Mbit/s to 1 Gbit/s.
    """
    rng = np.random.default_rng([nodes, devices, seed, chain])
    readers: list[set[int]] = [set() for _ in range(nodes + 1)]
    for i in range(nodes):
        readers[i - 1].add(i)
        if not chain:
            for p in rng.integers(max(-1, i - window), i, size=rng.integers(0, 3)).tolist():
                readers[p].add(i)
    names = [f'd{d}' for d in range(devices)]
    speed = 10 ** rng.uniform(0, 0.6, devices)
    work = rng.lognormal(0, 1, nodes)
    seconds = 0.03 * work[:, None] / speed[None, :] * 4 ** rng.uniform(-1, 1, (nodes, devices))
    sizes = 10 ** rng.uniform(4, 6, nodes + 1)
    tensors = [Tensor(name='input', producer=-1, readers=tuple(sorted(readers[-1])), bytes=1.5e5)]
    tensors += [
        Tensor(name=f't{i}', producer=i, readers=tuple(sorted(readers[i])), bytes=float(sizes[i]), at_sink=not readers[i])
        for i in range(nodes)
    ]
    return Problem(
        source='d0',
        sink='d0',
        devices=tuple(
            Device(name=name, active_watts=float(w), radio_watts=1.0, idle_watts=0.5)
            for name, w in zip(names, rng.uniform(2, 30, devices), strict=True)
        ),
        links=tuple(
            Link(
                sender=a,
                reader=b,
                bytes_per_second=float(10 ** rng.uniform(6.1, 8.1)),
                latency_seconds=float(rng.uniform(0.0005, 0.01)),
            )
            for a in names
            for b in names
            if a != b
        ),
        node_names=tuple(f'n{i}' for i in range(nodes)),
        tensors=tuple(tensors),
        seconds=seconds,
        weight_bytes=np.ones(nodes),
    )


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    value = call()
    return time.perf_counter() - begin, value


def _networkx_cut(problem: Problem) -> float:
    """Return the value of networkx's minimum cut (its default, preflow-push) of the same graph."""
    import networkx as nx

    edges = twodevices.cut_graph(problem, latency_cost(problem))
    graph = nx.DiGraph()
    graph.add_nodes_from((0, 1))
    for u, v, c in zip(edges.tails.tolist(), edges.heads.tolist(), edges.capacities.tolist(), strict=True):
        if graph.has_edge(u, v):
            graph[u][v]['capacity'] += c
        else:
            graph.add_edge(u, v, capacity=c)
    return float(nx.minimum_cut_value(graph, 0, 1))


def _offset(problem: Problem) -> float:
    """Return what the cut graph leaves out: each node's seconds where it is faster."""
    return float(latency_cost(problem).node.min(axis=1).sum())


def _bare(problem: Problem) -> Callable[[], Any]:
    """Return scipy's maximum flow of the same graph in integers, nothing else in it."""
    edges = twodevices.cut_graph(problem, latency_cost(problem))
    into, out_of = edges.capacities[edges.heads == 1], edges.capacities[edges.tails == 0]
    scale = 2**29 / float(min(into.sum(), out_of.sum()))
    capacities = np.minimum(np.where(np.isfinite(edges.capacities), edges.capacities * scale, 2.0**29), 2.0**29)
    graph = csr_matrix((capacities.astype(np.int32), (edges.tails, edges.heads)), shape=(edges.vertices,) * 2)
    return lambda: maximum_flow(graph, 0, 1)


def _two_devices(sizes: list[int], repetitions: int, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for nodes in sizes:
        problem = random_problem(nodes, 2, seed=1)
        bare = _bare(problem)
        own, base = [], []
        solution: Solution | None = None
        for _ in range(2 * repetitions):
            seconds, _ = _timed(bare)
            base.append(seconds)
            seconds, solution = _timed(lambda problem=problem: solve(problem))
            own.append(seconds)
        assert solution is not None and solution.objective_value is not None
        peer_seconds, peer = _timed(lambda problem=problem: _networkx_cut(problem))
        expected = peer + _offset(problem)
        yield {
            'case': 'two devices', 'nodes': nodes, 'devices': 2, 'objective': 'latency', 'seconds': min(own),
            'scipy_seconds': min(base), 'times_scipy': min(own) / min(base), 'networkx_seconds': peer_seconds,
            'relative_difference_to_networkx': abs(solution.objective_value - expected) / expected,
            'optimal': solution.optimal,
        }  # fmt: skip
        progress(f'two devices, {nodes} layers: {min(own) * 1e3:.1f} ms, scipy {min(base) * 1e3:.1f} ms')


def _speed(repetitions: int, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for nodes, devices, objective, space in (
        (1000, 8, 'latency', 'any'),
        (48, 12, 'latency', 'any'),
        (48, 12, 'latency', 'each_device_once'),
        (48, 12, 'throughput', 'each_device_once'),
    ):
        worst, proven = 0.0, True
        for seed in range(3):
            problem = random_problem(nodes, devices, seed=seed, chain=True)
            solve(problem, objective, space)  # imports and first-time costs are not the planner's
            least = min(_timed(lambda p=problem, o=objective, s=space: solve(p, o, s))[0] for _ in range(repetitions))
            worst = max(worst, least)
            proven &= solve(problem, objective, space).optimal
        progress(f'chain, {nodes} layers on {devices} devices, {objective}, {space}: {worst * 1e3:.1f} ms')
        yield {
            'case': 'chain', 'nodes': nodes, 'devices': devices, 'objective': objective, 'space': space,
            'seconds': worst, 'optimal': proven, 'problems': 3,
        }  # fmt: skip


def _compare(
    cases: list[tuple[int, int]], seeds: int, limit: float, objective: str, progress: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    for nodes, devices in cases:
        for seed in range(seeds):
            problem = random_problem(nodes, devices, seed=seed)
            seconds, solution = _timed(lambda problem=problem: solve(problem, objective))
            assert solution.objective_value is not None
            row: dict[str, Any] = {
                'case': 'against HiGHS', 'nodes': nodes, 'devices': devices, 'objective': objective, 'seed': seed,
                'seconds': seconds, 'value': solution.objective_value, 'optimal': solution.optimal,
            }  # fmt: skip
            if limit and milp.estimate_variables(problem) < 60_000:
                cost = latency_cost(problem)
                highs_seconds, result = _timed(
                    lambda problem=problem, cost=cost: milp.linear(
                        problem, cost, None, limit=10**9, nodes=10**6, time_limit=limit
                    )
                    if objective == 'latency'
                    else milp.throughput(problem, np.inf, limit=10**9, nodes=10**6, time_limit=limit)
                )
                row |= {'highs_seconds': highs_seconds, 'highs_lower_bound': result.lower_bound}
                if result.assignment is not None:
                    costs = evaluate(problem, result.assignment)
                    value = costs.latency_seconds if objective == 'latency' else costs.bottleneck_seconds
                    row['highs_value'] = value
                    row['gap'] = solution.objective_value / value - 1
                    row['highs_proven'] = value - result.lower_bound <= 1e-6 * value
            gap = f'{row["gap"]:+.2%} of HiGHS in {row["highs_seconds"]:.1f} s' if 'gap' in row else 'HiGHS found none'
            progress(f'{objective}, {nodes} layers on {devices} devices: {seconds:.2f} s, {gap}')
            yield row


def _against_cp_sat(count: int, limit: float, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Hold quick plans for throughput, and those of a whole search, against CP-SAT's."""
    for k, (family, problem) in enumerate(throughput_problems(count)):
        seconds, quick = _timed(lambda problem=problem: solve(problem, 'throughput', quick=True, few_stages=False))
        whole_seconds, whole = _timed(lambda problem=problem: solve(problem, 'throughput'))
        found = by_cp_sat(problem, problem.indices(whole.assignment), seconds=limit)
        best = found.bottleneck_seconds
        row = {
            'case': 'against CP-SAT', 'family': family, 'nodes': problem.nodes, 'devices': len(problem.devices),
            'objective': 'throughput', 'seconds': seconds, 'whole_seconds': whole_seconds, 'value': quick.bottleneck_seconds,
            'cp_sat_value': best, 'cp_sat_lower_bound': found.lower_bound, 'cp_sat_proven': found.proven,
            'quick_gap': quick.bottleneck_seconds / best - 1, 'whole_gap': whole.bottleneck_seconds / best - 1,
        }  # fmt: skip
        progress(f'{k + 1}/{count} {family}, {problem.nodes} layers on {len(problem.devices)} devices: quick '
                 f'{row["quick_gap"]:+.2%} in {seconds:.2f} s, whole {row["whole_gap"]:+.2%}')  # fmt: skip
        yield row


def _large_fleets(repetitions: int, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for seed in range(3):
        # each repetition its own problem: what a problem has worked out of its links belongs to planning
        problems = [random_problem(20, 300, seed=seed) for _ in range(repetitions)]
        runs = [_timed(lambda problem=problem: solve(problem)) for problem in problems]
        seconds = min(run[0] for run in runs)
        progress(f'latency, graph of 20 layers, 300 devices all linked: {seconds * 1e3:.0f} ms')
        yield {'case': 'large fleet', 'nodes': 20, 'devices': 300, 'objective': 'latency', 'seed': seed, 'seconds': seconds,
               'value': runs[0][1].objective_value, 'optimal': runs[0][1].optimal}  # fmt: skip


def _targets(results: Results) -> list[Target]:
    targets = []
    big = next((r for r in results if r['case'] == 'two devices' and r['nodes'] == 800), None)
    if big:
        ratio, difference = big['times_scipy'], big['relative_difference_to_networkx']
        targets.append(Target('800 layers, two devices, over scipy maximum_flow', '<= 10', ratio, 'x', ratio <= 10))
        name = '800 layers, two devices, difference of the objective to networkx'
        targets.append(Target(name, '<= 1e-9', difference, '', difference <= 1e-9))
    for nodes, devices, objective, space, most in (
        (1000, 8, 'latency', 'any', 0.020),
        (48, 12, 'latency', 'any', 0.050),
        (48, 12, 'throughput', 'each_device_once', 0.4),
    ):
        for r in results:
            if (r['nodes'], r['devices'], r['objective'], r.get('space')) == (nodes, devices, objective, space):
                name = f'chain of {nodes} on {devices} devices, {objective}, {space}, all proven'
                met = r['seconds'] < most and r['optimal']
                targets.append(Target(name, f'< {most * 1e3:.0f}', r['seconds'] * 1e3, 'ms', met))
    for objective in ('latency', 'throughput'):
        gaps = [r['gap'] for r in results if r['case'] == 'against HiGHS' and r['objective'] == objective and 'gap' in r]
        if gaps:
            mean, most = float(np.mean(gaps)) * 100, float(np.max(gaps)) * 100
            name = f'{objective} on graphs, gap to HiGHS over {len(gaps)} problems'
            targets.append(Target(f'{name}, mean', '<= 1', mean, '%', mean <= 1))
            targets.append(Target(f'{name}, largest', '<= 10', most, '%', most <= 10))
    rows = [r for r in results if r['case'] == 'against CP-SAT']
    if rows:
        gaps = [100 * r['quick_gap'] for r in rows]
        name = f'throughput, quick, over CP-SAT, {len(rows)} graphs'
        mean, most = float(np.mean(gaps)), max(gaps)
        targets.append(Target(f'{name}, mean', '<= 1', mean, '%', mean <= 1))
        targets.append(Target(f'{name}, largest', '<= 5', most, '%', most <= 5))
    large = [1e3 * r['seconds'] for r in results if r['case'] == 'large fleet']
    if large:
        targets.append(Target('graph of 20 layers, 300 devices all linked, latency', '<= 250', max(large), 'ms', max(large) <= 250))
    return targets


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` leaves out the large graphs and most problems."""
    repetitions = 3 if quick else 7
    results: Results = []
    results += _two_devices([100, 800] if quick else [100, 300, 800, 3000], repetitions, progress)
    results += _speed(repetitions, progress)
    small = [(20, 4)] if quick else [(20, 4), (50, 4), (100, 4), (30, 8)]
    results += _compare(small, 1 if quick else 3, 4.0 if quick else 8.0, 'latency', progress)
    results += _compare(small, 1 if quick else 2, 4.0 if quick else 10.0, 'throughput', progress)
    if not quick:
        large = [(100, 16), (300, 8), (800, 4), (800, 16), (100, 64), (3000, 4)]
        results += _compare(large, 1, 0.0, 'latency', progress)
        results += _compare([(100, 16), (300, 8), (800, 4)], 1, 0.0, 'throughput', progress)
    results += _large_fleets(repetitions, progress)
    cp_sat = importlib.util.find_spec('ortools') is not None
    if cp_sat:
        results += _against_cp_sat(4 if quick else GRAPHS, 2.0 if quick else 10.0, progress)
    targets = _targets(results)
    missed = [t.name for t in targets if not t.met]
    proven = [r for r in results if r['case'] == 'against HiGHS' and r['objective'] == 'latency']
    share = sum(bool(r['optimal']) for r in proven) / max(len(proven), 1)
    conclusion = (
        f'{len(targets) - len(missed)} of {len(targets)} targets reached'
        + (f'; missed: {"; ".join(missed)}' if missed else '')
        + f'. Of the graphs on more than two devices {share:.0%} were proven optimal for latency. '
        + 'A gap below 0 means that HiGHS stopped at its time limit with a worse plan.'
        + ('' if cp_sat else " Throughput's quick plans were not held against CP-SAT: pip install ortools first.")
    )
    return BenchResult(results, targets, lambda figure: _plot(figure, results), conclusion)


def _plot(figure: Figure, results: Results) -> None:
    left, right = figure.subplots(1, 2)
    two = [r for r in results if r['case'] == 'two devices']
    nodes = [r['nodes'] for r in two]
    for key, label in (('seconds', 'planner'), ('scipy_seconds', 'scipy maximum_flow alone'), ('networkx_seconds', 'networkx')):
        left.plot(nodes, [r[key] * 1e3 for r in two], marker='o', label=label)
    left.set(xscale='log', yscale='log', xlabel='layers', ylabel='ms', title='two devices: exact plans')
    left.legend()
    for objective, colour in (('latency', 'tab:purple'), ('throughput', 'tab:brown')):
        rows = [r for r in results if r.get('gap') is not None and r['objective'] == objective]
        right.scatter([r['seconds'] * 1e3 for r in rows], [r['gap'] * 100 for r in rows], color=colour, label=objective)
    right.axhline(0, color='grey', linewidth=0.8)
    right.set(xscale='log', xlabel='planning time, ms', ylabel='gap to HiGHS, %', title='more devices: quality')
    right.legend()

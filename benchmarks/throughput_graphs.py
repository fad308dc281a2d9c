# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Random graphs shaped like networks, on fleets whose links share channels, and CP-SAT's answer to their least bottleneck.

Synthetic, from fixed seeds: chains with skips, blocks of parallel branches, attention blocks, and graphs at random. CP-SAT
(OR-tools) is what the planner is held against; the planner itself does not use it (docs/planning.md says why).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

GRAPHS: Final = 118
FAMILIES: Final = ('skips', 'branches', 'attention', 'random')
_SCALE: Final = 1_000_000
"""CP-SAT counts in whole numbers: this many are the bottleneck of the plan that is known."""


def throughput_problems(count: int = GRAPHS) -> Iterator[tuple[str, Problem]]:
    """Yield graphs of 20 to 100 layers on 2 to 8 devices, with their families."""
    for k in range(count):
        rng = np.random.default_rng([0, k])
        family = FAMILIES[k % len(FAMILIES)]
        yield family, graph_problem(family, int(rng.integers(20, 101)), 2 + (k // len(FAMILIES)) % 7, rng)


def graph_problem(family: str, nodes: int, devices: int, rng: np.random.Generator) -> Problem:
    """Return a graph of a family on random devices: half of the fleets share one radio, in the others pairs have cables."""
    inputs = _INPUTS[family](nodes, rng)
    readers: list[list[int]] = [[] for _ in range(nodes)]
    for i, producers in enumerate(inputs):
        for p in producers:
            readers[p].append(i)
    first = tuple(i for i, producers in enumerate(inputs) if not producers)
    names = [f'd{d}' for d in range(devices)]
    work = rng.lognormal(0, 0.8, nodes)
    speed = 10 ** rng.uniform(0, 0.8, devices)
    seconds = 0.03 * work[:, None] / speed[None, :] * 2 ** rng.uniform(-1, 1, (nodes, devices))
    sizes = 10 ** rng.uniform(4, 6, nodes)
    on_air = [bool(x) for x in rng.random(devices) < rng.choice([0.3, 0.8])]
    rates = 10 ** rng.uniform(6.1, 8.1, (devices, devices))
    links = tuple(
        Link(sender=a, reader=b, bytes_per_second=float(rates[i, j]), latency_seconds=float(rng.uniform(0.0005, 0.01)),
             channel='radio' if on_air[i] and on_air[j] else None)
        for i, a in enumerate(names) for j, b in enumerate(names) if i != j
    )  # fmt: skip
    tensors = [Tensor(name='input', producer=INPUT, readers=first, bytes=1.5e5)]
    tensors += [
        Tensor(name=f't{i}', producer=i, readers=tuple(readers[i]), bytes=float(sizes[i]), at_sink=not readers[i])
        for i in range(nodes)
    ]
    return Problem(
        source='d0', sink='d0', devices=tuple(Device(name=name) for name in names), links=links,
        node_names=tuple(f'n{i}' for i in range(nodes)), tensors=tuple(tensors), seconds=seconds, weight_bytes=np.ones(nodes),
    )  # fmt: skip


def _skips(nodes: int, rng: np.random.Generator) -> list[list[int]]:
    """A residual network: each node reads the one before; some also read what a block began with."""
    inputs: list[list[int]] = [[]]
    for i in range(1, nodes):
        back = i - int(rng.integers(2, 5))
        inputs.append(sorted({i - 1, back}) if back >= 0 and rng.random() < 0.35 else [i - 1])
    return inputs


def _branches(nodes: int, rng: np.random.Generator) -> list[list[int]]:
    """Inception: blocks of two to four branches of one to three nodes, joined again."""
    inputs: list[list[int]] = [[]]
    while len(inputs) < nodes:
        fork, ends = len(inputs) - 1, []
        for _ in range(int(rng.integers(2, 5))):
            last = fork
            for _ in range(int(rng.integers(1, 4))):
                inputs.append([last])
                last = len(inputs) - 1
            ends.append(last)
        inputs.append(sorted(ends))
    return inputs[:nodes]


def _attention(nodes: int, rng: np.random.Generator) -> list[list[int]]:
    """Transformer blocks: norm, query, key, value, attention, sum, norm, two dense layers, sum; rarely a layer more."""
    inputs: list[list[int]] = [[]]
    while len(inputs) < nodes:
        base, n = len(inputs) - 1, len(inputs)
        inputs += [[base], [n], [n], [n], [n + 1, n + 2, n + 3], [base, n + 4], [n + 5], [n + 6], [n + 7], [n + 5, n + 8]]
        if rng.random() < 0.3:
            inputs.append([n + 9])
    return inputs[:nodes]


def _random(nodes: int, rng: np.random.Generator) -> list[list[int]]:
    """Each node reads the one before, or one of the last six, and up to two others of these."""
    inputs: list[list[int]] = [[]]
    for i in range(1, nodes):
        near = rng.integers(max(0, i - 6), i, size=int(rng.integers(0, 3))).tolist()
        inputs.append(sorted({i - 1, *near} if rng.random() < 0.8 else {*near} or {i - 1}))
    return inputs


_INPUTS: Final = {'skips': _skips, 'branches': _branches, 'attention': _attention, 'random': _random}


@dataclass(frozen=True)
class Reference:
    """What CP-SAT found: a bottleneck, and a lower bound of every plan's, seconds."""

    bottleneck_seconds: float
    lower_bound: float

    @property
    def proven(self) -> bool:
        """Whether the two meet, to what counting in whole numbers allows."""
        return self.bottleneck_seconds <= self.lower_bound * (1 + 1e-4)


def by_cp_sat(problem: Problem, known: Ints, *, seconds: float) -> Reference:
    """Return CP-SAT's least bottleneck, beginning at a plan that is known.

    ``x[i, d]``: a node's place; ``there[t, d]``: a tensor's reader is on the device; ``sent[t, a, b]``: a transfer.
    """
    from ortools.sat.python import cp_model

    begin = evaluate(problem, known).bottleneck_seconds
    scale = _SCALE / begin
    model = cp_model.CpModel()
    nodes, devices = problem.seconds.shape
    x = [[model.new_bool_var('') for _ in range(devices)] for _ in range(nodes)]
    loads: dict[tuple[str, int], list[tuple[Any, int]]] = {}
    for i in range(nodes):
        model.add_exactly_one(x[i])
        for d in range(devices):
            model.add_hint(x[i][d], int(known[i] == d))
            loads.setdefault(('device', d), []).append((x[i][d], round(problem.seconds[i, d] * scale)))
    for tensor in problem.tensors:
        for b in range(devices):
            there = [x[r][b] for r in tensor.readers]
            if tensor.at_sink and b == problem.sink_index:
                there = [model.new_constant(1)]
            elif len(there) > 1:
                any_there = model.new_bool_var('')
                for reader in there:
                    model.add_implication(reader, any_there)
                there = [any_there]
            for a in range(devices) if there else ():
                if a == b or (tensor.producer == INPUT and a != problem.source_index):
                    continue
                sent = there[0]
                if tensor.producer != INPUT:
                    sent = model.new_bool_var('')
                    model.add_bool_or([sent, x[tensor.producer][a].negated(), there[0].negated()])
                seconds_on_air = tensor.bytes / problem.rate[a, b]
                loads.setdefault(('channel', int(problem.channel[a, b])), []).append((sent, round(seconds_on_air * scale)))
    largest = model.new_int_var(0, 2 * _SCALE, '')
    for terms in loads.values():
        model.add(sum(weight * variable for variable, weight in terms) <= largest)
    model.minimize(largest)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.solve(model)
    found: Ints = np.array([[solver.boolean_value(v) for v in row] for row in x]).argmax(axis=1)
    best = min(begin, evaluate(problem, found).bottleneck_seconds)
    return Reference(best, min(best, solver.best_objective_bound / scale))

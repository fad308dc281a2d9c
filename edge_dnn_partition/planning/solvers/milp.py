# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem as a mixed-integer program for HiGHS (``scipy.optimize.milp``).

``x[i, d]`` places node ``i`` on device ``d``. For a tensor from ``a`` and each reader, ``z[a, b]`` is a
transport from the producer's ``x`` to the reader's (the local polytope, whose relaxation is exact
on trees); ``y[a, b]``, the transfer, is at least each reader's ``z``.

HiGHS runs without its presolve: that of the release in scipy 1.17 runs for ever on some of these programs, and its limits on
time and nodes are not looked at there.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .judge import Answer, Question

VARIABLES: Final = 9_000
"""Programs with more variables are not tried within a plan."""
NODES: Final = 200
_SCALE: Final = 1e4
_PROOF: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Result:
    """What HiGHS found: a plan or ``None``, and a lower bound of every plan's value."""

    assignment: Ints | None
    lower_bound: float
    infeasible: bool = False

    def proves(self, problem: Problem, cost: LinearCost, plan: Ints | None) -> bool:
        """Return whether the bound proves a plan optimal, or that there is none."""
        if plan is None:
            return self.infeasible
        value = cost.value(problem, plan)
        return value - self.lower_bound <= _PROOF * abs(value)


def answer(question: Question) -> Answer | None:
    """Return the best plan if a program, where it is small enough, proves it; else offer what it found."""
    problem, cost, judge = question.problem, question.costs[0], question.judge
    result = linear(problem, cost, judge.best)
    if result is None:
        return None
    judge.offer(result.assignment)
    return Answer(judge.best, True) if result.proves(problem, cost, judge.best) else None


class Program:
    """A program under construction."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.cost: list[float] = []
        self.upper: list[float] = []
        self.integral: list[int] = []
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._entries: list[float] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self.able = np.isfinite(problem.seconds)
        self.x: dict[tuple[int, int], int] = {}
        for i in range(problem.nodes):
            for d in np.flatnonzero(self.able[i]).tolist():
                self.x[i, d] = self.variable(upper=1.0, integral=True)
            self.row([(self.x[i, d], 1.0) for d in np.flatnonzero(self.able[i]).tolist()], 1.0, 1.0)
        self.y: dict[tuple[int, int, int], int] = {}

    def variable(self, *, upper: float = np.inf, integral: bool = False) -> int:
        """Add a variable at or above 0."""
        self.cost.append(0.0)
        self.upper.append(upper)
        self.integral.append(int(integral))
        return len(self.cost) - 1

    def row(self, terms: list[tuple[int, float]], low: float, high: float) -> None:
        """Add a constraint."""
        for column, entry in terms:
            self._rows.append(len(self.low))
            self._columns.append(column)
            self._entries.append(entry)
        self.low.append(low)
        self.high.append(high)

    def transfers(self) -> None:
        """Add the transfers of every tensor."""
        problem = self.problem
        for t, tensor in enumerate(problem.tensors):
            homes = {problem.source_index: None} if tensor.producer == INPUT else self._places(tensor.producer)
            for reader in tensor.readers:
                self._transport(t, homes, self._places(reader))
            if tensor.at_sink:
                self._transport(t, homes, {problem.sink_index: None})

    def _places(self, node: int) -> dict[int, int | None]:
        """Return the devices that a node can run on, with its variable for each."""
        return {d: self.x[node, d] for d in np.flatnonzero(self.able[node]).tolist()}

    def _transport(self, t: int, homes: Mapping[int, int | None], places: Mapping[int, int | None]) -> None:
        """Add that a tensor goes from its producer's device to a reader's; without a variable an end is always there."""
        linked = self.problem.rate > 0
        if len(homes) == 1 or len(places) == 1:
            for a, b in itertools.product(homes, places):
                moving = places[b] if len(homes) == 1 else homes[a]  # one end is fixed: the other one's place says all
                if a == b:
                    continue
                if linked[a, b]:
                    unless = [] if moving is None else [(moving, -1.0)]
                    self.row([(self._y(t, a, b), 1.0), *unless], float(moving is None), np.inf)
                elif moving is None:
                    self.row([], 1.0, 1.0)  # what cannot be
                else:
                    self.upper[moving] = 0.0
            return
        outgoing = {a: [(x, -1.0)] for a, x in homes.items() if x is not None}
        incoming = {b: [(x, -1.0)] for b, x in places.items() if x is not None}
        for a, b in itertools.product(homes, places):
            if a != b and not linked[a, b]:
                continue
            z = self.variable()
            outgoing[a].append((z, 1.0))
            incoming[b].append((z, 1.0))
            if a != b:
                self.row([(self._y(t, a, b), 1.0), (z, -1.0)], 0.0, np.inf)
        for terms in (*outgoing.values(), *incoming.values()):
            self.row(terms, 0.0, 0.0)

    def _y(self, t: int, a: int, b: int) -> int:
        if (t, a, b) not in self.y:
            self.y[t, a, b] = self.variable()
        return self.y[t, a, b]

    def memory(self) -> None:
        """Add the devices' memory limits."""
        for d, limit in enumerate(self.problem.column('memory_bytes')):
            if np.isfinite(limit):
                scale = max(limit, 1.0)
                terms = [(x, self.problem.weight_bytes[i] / scale) for (i, e), x in self.x.items() if e == d]
                self.row(terms, -np.inf, limit / scale)

    def terms(self, cost: LinearCost) -> list[tuple[int, float]]:
        """Return the variables that a linear cost is of, with its factors."""
        terms = [(x, float(cost.node[i, d])) for (i, d), x in self.x.items()]
        terms += list(zip(self.y.values(), cost.prices(self.problem, *self.sent).tolist(), strict=True))
        if cost.overhead is not None:
            terms += [(both, -float(cost.overhead[i, d])) for both, i, d in self.overheads]
        return terms

    @property
    def sent(self) -> Ints:
        """The tensor, the sender and the reader of each transfer, ``(3, transfers)``."""
        return np.array(list(self.y), dtype=np.int64).reshape(-1, 3).T

    @cached_property
    def overheads(self) -> list[tuple[int, int, int]]:
        """A variable for each node and device: whether it and the next node are both there."""
        found, saved = [], self.problem.seam_seconds
        for i, d in [] if saved is None else np.argwhere(saved != 0).tolist():
            if (i, d) in self.x and (i + 1, d) in self.x:
                both, ends = self.variable(upper=1.0), [self.x[i, d], self.x[i + 1, d]]
                for x in ends:
                    self.row([(both, 1.0), (x, -1.0)], -np.inf, 0.0)
                self.row([(both, 1.0), (ends[0], -1.0), (ends[1], -1.0)], -1.0, np.inf)
                found.append((both, i, d))
        return found

    def solve(self, weight: float, *, nodes: int, time_limit: float | None) -> Result:
        """Run HiGHS; limits are by branch-and-bound nodes, so that equal programs have equal answers.

        :param weight: what the objective was multiplied with.
        """
        import scipy.optimize  # of two dozen megabytes, which chains and pairs of devices do without
        from scipy.sparse import csr_matrix

        matrix = csr_matrix((self._entries, (self._rows, self._columns)), shape=(len(self.low), len(self.cost)))
        options: dict[str, Any] = {'node_limit': nodes, 'mip_rel_gap': 0.0, 'presolve': False}
        if time_limit is not None:
            options['time_limit'] = time_limit
        with _quiet():
            result = scipy.optimize.milp(
                self.cost,
                integrality=np.array(self.integral),
                bounds=scipy.optimize.Bounds(np.zeros(len(self.cost)), np.array(self.upper)),
                constraints=scipy.optimize.LinearConstraint(matrix, np.array(self.low), np.array(self.high)),
                options=options,  # type: ignore[arg-type]  # built from the table above
            )
        bound = getattr(result, 'mip_dual_bound', None)
        return Result(
            None if result.x is None else self._plan(np.asarray(result.x)),
            -np.inf if bound is None else float(bound) / weight, infeasible=result.status == 2,
        )

    def _plan(self, solution: Floats) -> Ints:
        """Return the plan in a solution."""
        placed = np.zeros(self.able.shape)
        for (i, d), x in self.x.items():
            placed[i, d] = solution[x]
        return np.asarray(placed.argmax(axis=1), dtype=np.int64)


_quiet_lock = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what HiGHS writes to the process's standard output, whatever its options say.

    It writes through C's buffer, which is emptied while the output still leads nowhere.
    """
    with _quiet_lock:
        try:
            sys.stdout.flush()
            kept = os.dup(1)
        except (OSError, ValueError, AttributeError):  # no standard output at all
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        flush = getattr(ctypes.CDLL(None), 'fflush', None) if os.name == 'posix' else None
        try:
            if flush:
                flush(None)
            os.dup2(null, 1)
            yield
        finally:
            if flush:
                flush(None)
            os.dup2(kept, 1)
            os.close(kept)
            os.close(null)


def estimate_variables(problem: Problem) -> int:
    """Return about how many variables the program has."""
    able = np.isfinite(problem.seconds).sum(axis=1)
    total = int(able.sum())
    for tensor in problem.tensors:
        out = 1 if tensor.producer == INPUT else int(able[tensor.producer])
        for reader in tensor.readers:
            total += 2 * out * int(able[reader])
    return total


def linear(
    problem: Problem, cost: LinearCost, known: Ints | None, *, limit: int = VARIABLES, nodes: int = NODES,
    time_limit: float | None = None, within: tuple[LinearCost, float] | None = None,
) -> Result | None:
    """Solve for a linear cost and memory limits; ``None`` if the program is too large.

    :param within: another cost, and what it may be at most.
    """
    if estimate_variables(problem) > limit:
        return None
    program = Program(problem)
    program.transfers()
    program.memory()
    size = cost.value(problem, known) if known is not None else 0.0
    if not np.isfinite(size) or size <= 0:
        size = max(float(np.where(np.isfinite(cost.node), cost.node, 0.0).max(axis=1).sum()), 1e-30)
    weight = _SCALE / size
    for variable, factor in program.terms(cost):
        program.cost[variable] = factor * weight
    if within is not None:
        spent, most = within
        program.row([(variable, factor / most) for variable, factor in program.terms(spent)], -np.inf, 1.0)
    return program.solve(weight, nodes=nodes, time_limit=time_limit)


def throughput(
    problem: Problem, known: float, *, limit: int = VARIABLES, nodes: int = NODES, time_limit: float | None = None,
    below: float = np.inf,
) -> Result | None:
    """Solve for the least bottleneck; ``None`` if the program is too large.

    :param known: a bottleneck that is known, or infinite.
    :param below: only plans of at most this bottleneck are sought.
    """
    if estimate_variables(problem) > limit:
        return None
    program = Program(problem)
    program.transfers()
    program.memory()
    weight = _SCALE / known if np.isfinite(known) and known > 0 else 1.0
    largest = program.variable(upper=below * weight)  # times the weight, as all that it is compared with
    program.cost[largest] = 1.0
    devices: dict[int, list[tuple[int, float]]] = {}
    channels: dict[int, list[tuple[int, float]]] = {}
    for (i, d), x in program.x.items():
        devices.setdefault(d, []).append((x, float(problem.seconds[i, d])))
    for both, i, d in program.overheads:
        assert problem.seam_seconds is not None
        devices.setdefault(d, []).append((both, -float(problem.seam_seconds[i, d])))
    sent = program.sent
    air = problem.wire_bytes(*sent) / problem.rate[sent[1], sent[2]]
    encoding, decoding = problem.coding_seconds(*sent)
    for k, ((_, a, b), y) in enumerate(program.y.items()):
        channels.setdefault(int(problem.channel[a, b]), []).append((y, float(air[k])))
        if encoding[k]:
            devices.setdefault(a, []).append((y, float(encoding[k])))
        if decoding[k]:
            devices.setdefault(b, []).append((y, float(decoding[k])))
    for terms in (*devices.values(), *channels.values()):
        program.row([(v, c * weight) for v, c in terms] + [(largest, -1.0)], -np.inf, 0.0)
    return program.solve(weight, nodes=nodes, time_limit=time_limit)

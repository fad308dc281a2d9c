# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem as a mixed-integer program for HiGHS (``scipy.optimize.milp``).

``x[i, d]`` places node ``i`` on device ``d``. For a tensor from ``a`` and each reader, ``z[a, b]`` is a
transport from the producer's ``x`` to the reader's (the local polytope, whose relaxation is exact
on trees); ``y[a, b]``, the transfer, is at least each reader's ``z``.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Bools, Floats, Ints, Problem

from .reduction import Reduction

VARIABLES: Final = 9_000
"""Programs with more variables are not tried within a plan."""
NODES: Final = 200
_SCALE: Final = 1e4
_PROOF: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Solved:
    """A program's best solution that was found, or ``None``, and a lower bound of every solution's value."""

    solution: Floats | None
    lower_bound: float
    infeasible: bool = False


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


class Program:
    """A program under construction."""

    def __init__(self, problem: Problem, *, able: Bools | None = None) -> None:
        self.problem = problem
        self.cost: list[float] = []
        self.upper: list[float] = []
        self.integral: list[int] = []
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._entries: list[float] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self.able = np.isfinite(problem.seconds) if able is None else able
        self.x: dict[tuple[int, int], int] = {}
        for i in range(problem.nodes):
            for d in np.flatnonzero(self.able[i]).tolist():
                self.x[i, d] = self.variable(upper=1.0, integral=True)
            self.row([(self.x[i, d], 1.0) for d in np.flatnonzero(self.able[i]).tolist()], 1.0, 1.0)
        self.y: dict[tuple[int, int, int], int] = {}
        self._overheads: list[tuple[int, int, int]] | None = None

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

    def places(self, node: int) -> list[int]:
        """Return the devices that a node can run on."""
        return np.flatnonzero(self.able[node]).tolist()

    def transfers(self) -> None:
        """Add the transfers of every tensor."""
        problem, linked = self.problem, self.problem.rate > 0
        for t, tensor in enumerate(problem.tensors):
            if tensor.producer == INPUT:
                self._fixed_producer(t, problem.source_index)
                continue
            homes = self.places(tensor.producer)
            for reader in tensor.readers:
                self._transport(t, tensor.producer, reader, homes)
            if tensor.at_sink:
                for a in homes:
                    if a == problem.sink_index:
                        continue
                    if not linked[a, problem.sink_index]:
                        self.upper[self.x[tensor.producer, a]] = 0.0
                    else:
                        self.row([(self._y(t, a, problem.sink_index), 1.0), (self.x[tensor.producer, a], -1.0)], 0.0, np.inf)

    def _y(self, t: int, a: int, b: int) -> int:
        if (t, a, b) not in self.y:
            self.y[t, a, b] = self.variable()
        return self.y[t, a, b]

    def _fixed_producer(self, t: int, source: int) -> None:
        problem, tensor = self.problem, self.problem.tensors[t]
        for reader in tensor.readers:
            for b in self.places(reader):
                if b == source:
                    continue
                if problem.rate[source, b] <= 0:
                    self.upper[self.x[reader, b]] = 0.0
                else:
                    self.row([(self._y(t, source, b), 1.0), (self.x[reader, b], -1.0)], 0.0, np.inf)
        if tensor.at_sink and source != problem.sink_index:
            if problem.rate[source, problem.sink_index] <= 0:
                self.row([], 1.0, 1.0)
            else:
                self.row([(self._y(t, source, problem.sink_index), 1.0)], 1.0, np.inf)

    def _transport(self, t: int, producer: int, reader: int, homes: list[int]) -> None:
        places = self.places(reader)
        if len(homes) == 1 or len(places) == 1:
            # one end is fixed: the other one's place says all
            for a in homes:
                for b in places:
                    moving = self.x[reader, b] if len(homes) == 1 else self.x[producer, a]
                    if a == b:
                        continue
                    if self.problem.rate[a, b] <= 0:
                        self.upper[moving] = 0.0
                    else:
                        self.row([(self._y(t, a, b), 1.0), (moving, -1.0)], 0.0, np.inf)
            return
        outgoing: dict[int, list[tuple[int, float]]] = {a: [(self.x[producer, a], -1.0)] for a in homes}
        incoming: dict[int, list[tuple[int, float]]] = {b: [(self.x[reader, b], -1.0)] for b in places}
        for a in homes:
            for b in incoming:  # noqa: PLC0206
                if a != b and self.problem.rate[a, b] <= 0:
                    continue
                z = self.variable()
                outgoing[a].append((z, 1.0))
                incoming[b].append((z, 1.0))
                if a != b:
                    self.row([(self._y(t, a, b), 1.0), (z, -1.0)], 0.0, np.inf)
        for terms in (*outgoing.values(), *incoming.values()):
            self.row(terms, 0.0, 0.0)

    def memory(self) -> None:
        """Add the devices' memory limits."""
        for d, limit in enumerate(self.problem.column('memory_bytes')):
            if np.isfinite(limit):
                scale = max(limit, 1.0)
                terms = [(x, self.problem.weight_bytes[i] / scale) for (i, e), x in self.x.items() if e == d]
                self.row(terms, -np.inf, limit / scale)

    def at_most(self, cost: LinearCost, limit: float) -> None:
        """Add that a linear cost, above 0, is at most so much."""
        terms = [(x, float(cost.node[i, d]) / limit) for (i, d), x in self.x.items()]
        terms += [(y, float(cost.transfer(self.problem, t)[a, b]) / limit) for (t, a, b), y in self.y.items()]
        if cost.overhead is not None:
            terms += [(both, -float(cost.overhead[i, d]) / limit) for both, i, d in self.overheads()]
        self.row(terms, -np.inf, 1.0)

    def linear(self, cost: LinearCost, weight: float) -> None:
        """Set the objective to a linear cost."""
        for (i, d), x in self.x.items():
            self.cost[x] = float(cost.node[i, d]) * weight
        for (t, a, b), y in self.y.items():
            self.cost[y] = float(cost.transfer(self.problem, t)[a, b]) * weight
        for both, i, d in self.overheads():
            assert cost.overhead is not None
            self.cost[both] = -float(cost.overhead[i, d]) * weight

    def overheads(self) -> list[tuple[int, int, int]]:
        """Return a variable for each node and device: whether it and the next node are both there."""
        if self._overheads is None:
            self._overheads = []
            saved = self.problem.seam_seconds
            for i in range(self.problem.nodes - 1 if saved is not None else 0):
                for d in self.places(i):
                    if saved is None or saved[i, d] == 0 or (i + 1, d) not in self.x:
                        continue
                    both = self.variable(upper=1.0)
                    ends = [self.x[i, d], self.x[i + 1, d]]
                    for x in ends:
                        self.row([(both, 1.0), (x, -1.0)], -np.inf, 0.0)
                    self.row([(both, 1.0), (ends[0], -1.0), (ends[1], -1.0)], -1.0, np.inf)
                    self._overheads.append((both, i, d))
        return self._overheads

    def solve(self, *, nodes: int = NODES, time_limit: float | None = None) -> Solved:
        """Run HiGHS; limits are by branch-and-bound nodes, so that equal programs have equal answers."""
        shape = (len(self.low), len(self.cost))
        small = Reduction(
            np.array(self.cost), np.zeros(len(self.cost)), np.array(self.upper), np.array(self.integral, dtype=np.bool_),
            csr_matrix((self._entries, (self._rows, self._columns)), shape=shape), np.array(self.low), np.array(self.high),
        )  # fmt: skip
        if not small.feasible:
            return Solved(None, np.inf, infeasible=True)
        if not len(small.cost):
            return Solved(small.restore(small.cost), small.constant)
        options: dict[str, Any] = {'node_limit': nodes, 'mip_rel_gap': 0.0, 'presolve': False}
        if time_limit is not None:
            options['time_limit'] = time_limit
        with _quiet():
            result = milp(
                small.cost,
                integrality=small.integral.astype(int),
                bounds=Bounds(small.lower, small.upper),
                constraints=LinearConstraint(small.matrix, small.low, small.high),
                options=options,  # type: ignore[arg-type]  # built from the table above
            )
        bound = getattr(result, 'mip_dual_bound', None)
        return Solved(
            None if result.x is None else small.restore(np.asarray(result.x)),
            -np.inf if bound is None else float(bound) + small.constant, infeasible=result.status == 2,
        )

    def plan(self, solution: Floats | None) -> Ints | None:
        """Return the plan in a solution."""
        if solution is None:
            return None
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
    program.linear(cost, weight)
    if within is not None:
        program.at_most(*within)
    return _read(program, program.solve(nodes=nodes, time_limit=time_limit), weight)


def _read(program: Program, solved: Solved, weight: float) -> Result:
    return Result(program.plan(solved.solution), solved.lower_bound / weight, infeasible=solved.infeasible)


def throughput(
    problem: Problem, known: float, *, limit: int = VARIABLES, nodes: int = NODES, time_limit: float | None = None,
    able: Bools | None = None, below: float = np.inf,
) -> Result | None:
    """Solve for the least bottleneck; ``None`` if the program is too large.

    :param known: a bottleneck that is known, or infinite.
    :param able: ``(nodes, devices)``: where each node may be put; ``None`` for wherever it can run.
    :param below: only plans of at most this bottleneck are sought.
    """
    if able is None and estimate_variables(problem) > limit:
        return None
    program = Program(problem, able=able)
    program.transfers()
    program.memory()
    weight = _SCALE / known if np.isfinite(known) and known > 0 else 1.0
    largest = program.variable(upper=below * weight)  # times the weight, as all that it is compared with
    program.cost[largest] = 1.0
    devices: dict[int, list[tuple[int, float]]] = {}
    channels: dict[int, list[tuple[int, float]]] = {}
    for (i, d), x in program.x.items():
        devices.setdefault(d, []).append((x, float(problem.seconds[i, d])))
    for both, i, d in program.overheads():
        assert problem.seam_seconds is not None
        devices.setdefault(d, []).append((both, -float(problem.seam_seconds[i, d])))
    sent = np.array(list(program.y), dtype=np.int64).reshape(-1, 3).T
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
    return _read(program, program.solve(nodes=nodes, time_limit=time_limit), weight)

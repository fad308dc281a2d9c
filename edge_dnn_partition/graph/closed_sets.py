# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Down-closed sets of layers with few bytes on their frontiers, one inside the next: what an order should pass through.

A topological order is a chain of closed sets. A list scheduler looks one layer ahead, so where branches are long (taps of a
decoder, dense blocks, several resolutions) the chain that it makes carries more than some other. Here minimum cuts find closed
sets with few bytes at each share of the work: bytes are capacities, work is paid for by a multiplier (Lagrange; the sets for
rising multipliers are nested, Picard and Queyranne 1980), and a region around the share, taken from a first order, keeps the
answer there. A dynamic programme then chooses the best chain of them.

All arithmetic is on integers or single IEEE operations: every device of a fleet must come to the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

_Bools = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]

#: The work is divided into so many windows; each gets one closed set at most.
_WINDOWS: Final = 40
#: What is wanted of the frontier is asked at half as many shares, each within a twentieth of the work.
_REACH: Final = 2
_UNITS: Final = 1 << 20
#: How far around a share layers are free, in units of the work, and how far apart such shares are.
_REGIONS: Final = tuple((int(free * _UNITS), int(apart * _UNITS)) for free, apart in (
    (0.0125, 0.0125), (0.025, 0.025), (0.05, 0.025), (0.1, 0.05), (0.2, 0.1), (0.4, 0.1), (1.0, 0.5)))  # fmt: skip
_STEPS: Final = 6
_ROUNDS: Final = 2
#: Chains and sets of one window that the choice looks at.
_CHAINS: Final = 48
_SETS: Final = 24
_MISSING: Final = 3.0
_MINOR: Final = 0.02
#: A window counts in full if what it offers is within this of the best nearby.
_NEAR: Final = 1.05
#: A chain must be better than the first order's by this to be worth leaving it.
_GAIN: Final = 0.02


class _Set(NamedTuple):
    """A closed set: its layers as bits, its work and the bytes of its frontier."""

    bits: int
    work: int
    bytes: int


class Dataflow:
    """Layers and the tensors between them, as arrays.

    :param reads: per layer, the tensors it reads; those no layer writes are the model's inputs.
    :param sizes: bytes per tensor.
    :param outputs: tensors that stay alive to the end.
    :param work: arithmetic per layer, in any unit.
    """

    def __init__(self, reads: Sequence[Sequence[str]], writes: Sequence[Sequence[str]], *, sizes: Mapping[str, int],
                 outputs: Sequence[str], work: Sequence[float]) -> None:  # fmt: skip
        self.layers = count = len(reads)
        total = sum(work)
        self.work: _Ints = np.array([round(amount / total * _UNITS) if total else 0 for amount in work], dtype=np.int64)
        self.total_work = int(self.work.sum())
        producer = {name: index for index, names in enumerate(writes) for name in names}
        names = list(dict.fromkeys(name for index in range(count) for name in (*reads[index], *writes[index])))
        number = {name: index for index, name in enumerate(names)}
        self._sizes: _Ints = np.array([sizes.get(name, 0) for name in names], dtype=np.int64)
        self._producer: _Ints = np.array([producer.get(name, -1) for name in names], dtype=np.int64)
        self._kept: _Bools = np.isin(names, list(outputs)) if names else np.zeros(0, dtype=np.bool_)
        pairs = [(number[name], index) for index in range(count) for name in dict.fromkeys(reads[index])]
        self._read: _Ints = np.array([tensor for tensor, _ in pairs], dtype=np.int64)
        self._reader: _Ints = np.array([layer for _, layer in pairs], dtype=np.int64)
        self._make_edges()

    def _make_edges(self) -> None:
        """Make the network: layers, then tensors (on the source's side once all their readers are), source, sink."""
        self._source, self._sink = self.layers + len(self._sizes), self.layers + len(self._sizes) + 1
        tensors = np.arange(len(self._sizes))
        maker = np.where(self._producer >= 0, self._producer, self._source)
        paid_until = np.where(self._kept, self._sink, self.layers + tensors)
        waits = ~self._kept[self._read]
        made = self._producer[self._read] >= 0
        self._tails = np.concatenate((maker, self.layers + self._read[waits], self._reader[made]))
        self._heads = np.concatenate((paid_until, self._reader[waits], self._producer[self._read[made]]))
        self._bytes = np.concatenate((self._sizes, np.full(len(self._tails) - len(self._sizes), -1)))  # -1: infinite

    def reads_from(self, layer: int, other: int) -> bool:
        """Tell whether a layer reads a tensor of another."""
        return bool((self._producer[self._read[self._reader == layer]] == other).any())

    def measured(self, done: _Bools) -> _Set:
        """Return a closed set with its work and bytes."""
        unread = np.zeros(len(self._sizes), dtype=np.bool_)
        unread[self._read[~done[self._reader]]] = True
        there = (self._producer < 0) | done[self._producer]
        bits = int.from_bytes(np.packbits(done, bitorder='little').tobytes(), 'little')
        return _Set(bits, int(self.work[done].sum()), int(self._sizes[there & (unread | self._kept)].sum()))

    def members(self, bits: int) -> _Bools:
        """Return which layers a set holds."""
        packed = np.frombuffer(bits.to_bytes((self.layers + 7) // 8, 'little'), np.uint8)
        return np.unpackbits(packed, bitorder='little')[: self.layers].astype(np.bool_)

    def least(self, below: _Set, above: _Set) -> _Set:
        """Return the closed set between two that lies furthest below the line through them (bytes over work)."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        inside, outside = self.members(below.bits), ~self.members(above.bits)
        free = np.flatnonzero(~(inside | outside))
        run, rise = above.work - below.work, above.bytes - below.bytes
        to: _Ints = np.arange(self._sink + 1)
        to[: self.layers][inside], to[: self.layers][outside] = self._source, self._sink
        reward = np.full(len(free), self._source if rise >= 0 else self._sink)
        tails = np.concatenate((to[self._tails], reward if rise >= 0 else free))
        heads = np.concatenate((to[self._heads], free if rise >= 0 else reward))
        costs = np.concatenate((np.where(self._bytes < 0, -1, self._bytes * run), abs(rise) * self.work[free]))
        keep = (tails != heads) & (heads != self._source) & (tails != self._sink) & (costs != 0)
        tails, heads, costs = tails[keep], heads[keep], costs[keep]
        if not len(tails):
            return below
        used, place = np.unique(np.concatenate(([self._source, self._sink], tails, heads)), return_inverse=True)
        source, sink, size = int(place[0]), int(place[1]), len(used)
        unit = int(costs[costs > 0].sum()) // (1 << 28) + 1
        capacities = np.where(costs < 0, 1 << 29, costs // unit).astype(np.int32)
        edges = csr_matrix((capacities, (place[2 : 2 + len(tails)], place[2 + len(tails) :])), shape=(size, size))
        flow: Any = maximum_flow(edges, source, sink).flow  # type: ignore[arg-type]  # the stubs know csr_array only
        left = edges - flow
        left.data = np.maximum(left.data, 0)
        left.eliminate_zeros()
        reached = used[breadth_first_order(left, source, return_predecessors=False)]
        done = inside.copy()
        done[reached[reached < self.layers]] = True
        return self.measured(done)


def levels(flow: Dataflow, first: Sequence[int], order_of: Callable[[Sequence[int]], list[int]]) -> list[int] | None:
    """Return per layer the number of the closed set that first holds it, or None if the first order is as good.

    :param first: a topological order of the layers.
    :param order_of: makes an order of such levels, lower ones first.
    """
    if not flow.total_work or _is_chain(flow, first):
        return None
    along = _along(flow, first)
    order, pool = list(first), set(along)
    found: list[int] = []
    asked: set[tuple[int, int]] = set()
    for _ in range(_ROUNDS):
        pool.update(_cuts_near(flow, order, asked))
        cost, chosen = _chain(flow, pool, pool)
        if _chain(flow, pool, along)[0] <= cost + _GAIN:
            return None
        found = [len(chosen)] * flow.layers
        for number in range(len(chosen) - 1, -1, -1):
            for layer in np.flatnonzero(flow.members(chosen[number].bits)):
                found[layer] = number
        order = order_of(found)
        pool.update(_along(flow, order))
    return found


def _is_chain(flow: Dataflow, order: Sequence[int]) -> bool:
    """Tell whether each layer reads the one before it, so that there is one order only."""
    return all(flow.reads_from(layer, before) for before, layer in itertools.pairwise(order))


def _along(flow: Dataflow, order: Sequence[int]) -> list[_Set]:
    done = np.zeros(flow.layers, dtype=np.bool_)
    found = []
    for layer in order[:-1]:
        done[layer] = True
        found.append(flow.measured(done))
    return found


def _cuts_near(flow: Dataflow, order: Sequence[int], asked: set[tuple[int, int]]) -> Iterator[_Set]:
    """Yield closed sets with few bytes near each share of the work, from narrow and wide regions of an order.

    :param asked: pairs of sets between which a minimum cut has been looked for, or is now.
    """
    place = np.array(order, dtype=np.int64)
    ends = np.cumsum(flow.work[place])
    starts = ends - flow.work[place]
    for free, apart in _REGIONS:
        for share in range(apart, _UNITS, apart):
            inside, within = np.zeros(flow.layers, dtype=np.bool_), np.zeros(flow.layers, dtype=np.bool_)
            inside[place[ends <= share - free]] = True
            within[place[starts < share + free]] = True
            below, above = flow.measured(inside), flow.measured(within)
            for _ in range(_STEPS):
                if above.work <= below.work or (below.bits, above.bits) in asked:
                    break
                asked.add((below.bits, above.bits))
                found = flow.least(below, above)
                if found.bits in (below.bits, above.bits):
                    break
                yield found
                if found.work < share:
                    below = found
                else:
                    above = found


def _chain(flow: Dataflow, pool: Iterable[_Set], allowed: Iterable[_Set]) -> tuple[float, list[_Set]]:
    """Return the best chain of sets, each inside the next, and what it lacks of the pool's best in each window."""
    windows = _windows(flow, pool)
    least = [min((one.bytes for one in window), default=0) for window in windows]
    weights = [_MINOR] * _WINDOWS
    for share in range(0, _WINDOWS, 2):
        near = [number for number in range(share + 1 - _REACH, share + 1 + _REACH) if 0 <= number < _WINDOWS and windows[number]]
        best = min((least[number] for number in near), default=0)
        for number in near:
            if least[number] <= _NEAR * best:
                weights[number] = 1.0
    states: list[tuple[float, int, tuple[_Set, ...]]] = [(0.0, 0, ())]
    for number, window in enumerate(_windows(flow, allowed)):
        if not windows[number]:
            continue
        reached: dict[int, tuple[float, int, tuple[_Set, ...]]] = {}
        for one in sorted(window, key=lambda one: (one.bytes, one.bits))[:_SETS]:
            excess = weights[number] * (one.bytes / max(least[number], 1) - 1.0)
            for cost, bits, sets in states:
                if not bits & ~one.bits and (one.bits not in reached or cost + excess < reached[one.bits][0]):
                    reached[one.bits] = (cost + excess, one.bits, (*sets, one))
        for cost, bits, sets in states:
            skipped = cost + weights[number] * _MISSING
            if bits not in reached or skipped < reached[bits][0]:
                reached[bits] = (skipped, bits, sets)
        states = sorted(reached.values(), key=lambda state: state[:2])[:_CHAINS]
    cost, _, sets = states[0]
    return cost, list(sets)


def _windows(flow: Dataflow, sets: Iterable[_Set]) -> list[list[_Set]]:
    found: list[list[_Set]] = [[] for _ in range(_WINDOWS)]
    for one in sets:
        if 0 < one.work < flow.total_work:
            found[one.work * _WINDOWS // flow.total_work].append(one)
    return found

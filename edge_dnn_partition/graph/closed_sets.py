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
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

_Bools = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]

#: The work is divided into so many windows; each gets one closed set at most.
_WINDOWS: Final = 40
_UNITS: Final = 1 << 20
#: What leaves less work than this before or after it is no cut.
_END: Final = _UNITS // 10_000
#: How far around a share layers are free at first, and how far apart such shares are; both in units of the work.
_REGIONS: Final = tuple(_UNITS // part for part in (80, 40, 20, 10, 5, 1))
_APART: Final = _UNITS // 40
_STEPS: Final = 16
_ROUNDS: Final = 2
#: Chains and sets of one window that the choice looks at.
_CHAINS: Final = 64
_SETS: Final = 16
_MISSING: Final = 3.0
_MINOR: Final = 0.02
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
    known: dict[tuple[int, int], _Set] = {}
    for _ in range(_ROUNDS):
        pool.update(_cuts_near(flow, order, known))
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


def _cuts_near(flow: Dataflow, order: Sequence[int], known: dict[tuple[int, int], _Set]) -> Iterator[_Set]:
    """Yield closed sets with few bytes near each share of the work, from narrow and wide regions of an order.

    :param known: the least sets between two that have been looked for; what is found is added.
    """
    place = np.array(order, dtype=np.int64)
    nothing, all_layers = flow.measured(np.zeros(flow.layers, dtype=np.bool_)), flow.measured(np.ones(flow.layers, dtype=np.bool_))
    for free in _REGIONS:
        for share in range(_APART, _UNITS, _APART):
            below, above = _around(flow, place, nothing, all_layers, share, free)
            for _ in range(_STEPS):
                if above.work <= below.work:
                    break
                between = below.bits, above.bits
                if between not in known:
                    known[between] = flow.least(below, above)
                found = known[between]
                if found.bits not in between:
                    below, above = (found, above) if found.work < share else (below, found)
                    yield found
                    continue
                # no set lies below the line between the two: ask nearer to the share
                closer = _around(flow, place, below, above, share, (above.work - below.work) // 4)
                if closer == (below, above):
                    break
                below, above = closer
                yield from closer


def _around(flow: Dataflow, place: _Ints, below: _Set, above: _Set, share: int, free: int) -> tuple[_Set, _Set]:
    """Return two closed sets between two others, of which an order makes the one before a share of the work, the other after."""
    inside, within = flow.members(below.bits), flow.members(above.bits)
    between = place[within[place] & ~inside[place]]
    ends = below.work + np.cumsum(flow.work[between])
    inside[between[ends <= share - free]] = True
    within[between[ends - flow.work[between] >= share + free]] = False
    return flow.measured(inside), flow.measured(within)


class _Path(NamedTuple):
    """A chain of closed sets so far: what it lacks, also near shares that are past, and per share the fewest bytes (0: none)."""

    score: float
    settled: float
    bits: int
    served: tuple[int, ...]
    sets: tuple[_Set, ...]


def _chain(flow: Dataflow, pool: Iterable[_Set], allowed: Iterable[_Set]) -> tuple[float, list[_Set]]:
    """Return the best chain of sets, each inside the next, and what it lacks of the pool's best near each share."""
    total, shares = flow.total_work, range(_WINDOWS // 2)
    least = [0] * len(shares)
    for one in itertools.chain(*_windows(flow, pool)):
        for share in _served(one, total):
            least[share] = min(least[share] or one.bytes, max(one.bytes, 1))
    windows = _windows(flow, allowed)
    fewest = [min((one.bytes for one in window), default=0) for window in windows]

    def lacking(served: Sequence[int], first: int, last: int, missing: float) -> float:
        return sum((min(served[share] / least[share] - 1.0, _MISSING) if served[share] else missing)
                   for share in range(first, last) if least[share])  # fmt: skip

    paths = [_Path(0.0, 0.0, 0, (0,) * len(shares), ())]
    for number, window in enumerate(windows):
        closed, closing = (number - 1) // 2 if number else 0, number // 2  # near shares before these are no further sets
        reached: dict[tuple[int, tuple[int, ...]], _Path] = {}
        choices = [(one, _served(one, total), _MINOR * min(one.bytes / max(fewest[number], 1) - 1.0, _MISSING))
                   for one in sorted(window, key=lambda one: (one.bytes, one.bits))[:_SETS]]  # fmt: skip
        for path in paths:
            options = [(path.bits, path.served, path.sets, _MINOR * _MISSING if window else 0.0)]
            for one, near, minor in choices:
                if not path.bits & ~one.bits:
                    served = list(path.served)
                    for share in near:
                        served[share] = min(served[share] or one.bytes, max(one.bytes, 1))
                    options.append((one.bits, tuple(served), (*path.sets, one), minor))
            for bits, found, sets, minor in options:
                settled = path.settled + minor + lacking(found, closed, closing, _MISSING)
                state = _Path(settled + lacking(found, closing, min(len(shares), closing + 3), 0.0),
                              settled, bits, found, sets)  # fmt: skip
                key = bits, found[closing:]
                if key not in reached or state[:4] < reached[key][:4]:
                    reached[key] = state
        paths = sorted(reached.values(), key=lambda path: path[:4])[:_CHAINS]
    best = min(paths, key=lambda path: lacking(path.served, 0, len(shares), _MISSING))
    return lacking(best.served, 0, len(shares), _MISSING), list(best.sets)


def _served(one: _Set, total: int) -> range:
    """Return the shares near which a set is: a twentieth of the work to either side of the middles of as many parts."""
    place = one.work * (_WINDOWS // 2) / total
    return range(max(math.ceil(place - 1.5), 0), min(math.floor(place + 0.5), _WINDOWS // 2 - 1) + 1)


def _windows(flow: Dataflow, sets: Iterable[_Set]) -> list[list[_Set]]:
    found: list[list[_Set]] = [[] for _ in range(_WINDOWS)]
    for one in sets:
        if _END < one.work < flow.total_work - _END:
            found[one.work * _WINDOWS // flow.total_work].append(one)
    return found

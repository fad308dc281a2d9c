# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tabu search for the least bottleneck, the loads of all plans one move away at once.

What is made least is a norm of the devices' and the channels' loads, first one of a low order, which is smooth and sees all
loads, then of higher ones, which see the largest alone. The last node moved may not go back for a while (Glover, "Tabu search,
part I", ORSA Journal on Computing 1, 1989). Where that ends two nodes move at once, since large nodes that fill a device may only
change places. Out of a local optimum leads a descent on loads that are weighed at random, after which the true ones count again
(Codenotti et al., "Perturbation: an efficient technique for the solution of very large instances of the Euclidean TSP", INFORMS
Journal on Computing 8, 1996); or a part of another good plan (Moscato, "On evolution, search, optimization, genetic algorithms
and martial arts", 1989); or a plan at random. Equal seeds, equal plans; more kicks are never worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Bools, Floats, Ints, Problem

_NO_LINK: Final = 1e3
"""What a transfer without a link takes, times all nodes' seconds: such plans are left as soon as others are there."""
_CELLS: Final = 60_000
"""Loads that are worked out at once: of many nodes only those are tried whose leaving relieves most."""
_DESCENT: Final = (2, 3, 4)
_CROSSED: Final = (3, 4)
_TAIL: Final = (4,)
_KICK: Final = 3
"""Orders of the norms, as powers of two."""
_STEPS, _REST = 40, 8
_KICK_STEPS, _KICK_REST = 20, 5
"""Moves of a descent at most, and how many may bring nothing."""
_TENURE: Final = 8
_NOISE: Final = 0.3
"""Standard deviation of the logarithms of the weights."""
_WAYS: Final = ('noise', 'noise', 'cross', 'anew')
"""How plans are left, in turn."""
_FIRST, _SECOND, _PAIRS, _TWICE = 60, 150, 8, 6
"""Moves that two at once are made of, how many such pairs are looked at, and so often in a row."""
_NEAR: Final = 1.06
"""Pairs are tried on plans whose bottleneck is at most so many times that of the plan that was left."""
_ANEW: Final = 12_000
"""Plans at random that are begun with, times the square of the nodes: only of small graphs are there many in little time."""
_MOST_ANEW: Final = 30
_POOL, _LAST, _ROUND = 4, 2, 16
"""Plans that are followed, at first and at last; after so many kicks the worst one is left."""
_SAME: Final = 1e-9


class Neighbourhood:
    """The loads of plans of one problem, devices first, then channels, and those after each single move.

    :param problem: with few devices: the tables are ``(tensors, devices, devices)``.
    """

    def __init__(self, problem: Problem) -> None:
        self.nodes, self.devices = problem.seconds.shape
        self.able: Bools = np.isfinite(problem.seconds)
        self.seconds = np.where(self.able, problem.seconds, 0.0)
        self.seam = problem.seam_seconds
        self.resources = self.devices + max(int(problem.channel.max(initial=-1)) + 1, 1)
        self._producer, self._source = problem.producers, problem.source_index
        self._tensor, self._reader = problem.readings
        self._own = np.flatnonzero(problem.producers >= 0)
        self._maker = problem.producers[self._own]
        self._outside: Ints = np.zeros((len(problem.tensors), self.devices), dtype=np.int64)
        self._outside[problem.at_sink, problem.sink_index] = 1
        self.weights, self.memory = problem.weight_bytes, problem.column('memory_bytes')
        self.limited = bool(np.isfinite(self.memory).any())
        self._tables = _tables(problem, self.devices)
        self._backward = [np.ascontiguousarray(table.swapaxes(1, 2)) for table, _ in self._tables]

    def fits(self, plan: Ints) -> bool:
        """Return whether the nodes can run where a plan has them, and fit there."""
        used = np.bincount(plan, self.weights, minlength=self.devices)
        return bool(self.able[np.arange(self.nodes), plan].all() and (used <= self.memory).all())

    def _state(self, plan: Ints) -> tuple[Ints, Ints]:
        """Return each tensor's home, and how many need it on each device ``(tensors, devices)``."""
        home = np.where(self._producer >= 0, plan[self._producer], self._source)
        size = self._outside.size
        readers = np.bincount(self._tensor * self.devices + plan[self._reader], minlength=size)
        return home, readers.reshape(self._outside.shape) + self._outside

    def loads(self, plan: Ints) -> Floats:
        """Return the seconds of each device and each channel, ``(resources,)``."""
        home, need = self._state(plan)
        return self._loads(plan, home, need)

    def _loads(self, plan: Ints, home: Ints, need: Ints) -> Floats:
        seconds = self.seconds[np.arange(self.nodes), plan]
        total: Floats = np.bincount(plan, seconds, minlength=self.resources).astype(np.float64)
        if self.seam is not None:
            stays = np.flatnonzero(plan[1:] == plan[:-1])
            total -= np.bincount(plan[stays], self.seam[stays, plan[stays]], minlength=self.resources)
        tensor, reader = np.nonzero(need)
        sender = home[tensor]
        for table, resource in self._tables:
            total += np.bincount(resource[sender, reader], table[tensor, sender, reader], minlength=self.resources)
        return total

    def moves(self, plan: Ints, weights: Floats, order: int) -> tuple[Floats, Ints, Floats]:
        """Return the loads of a plan, nodes, and the norm after moving each of them to each device.

        :param weights: of the resources, ``(resources,)``.
        :param order: of the norm, as a power of two; the norm is of loads relative to the largest, and not brought down again.
        """
        loads, chosen, after, may = self._after(plan, weights, order)
        norm = _power(after * (weights / max(float((loads * weights).max()), 1e-300)), order).sum(axis=2)
        norm[~may] = np.inf
        return loads, chosen, norm

    def pairs(self, plan: Ints) -> list[Ints]:
        """Return the plans that two moves at once seem to make best, one of which relieves the largest load.

        What two moves change is taken for the sum of what each does, which is wrong where they share a tensor.
        """
        loads, chosen, after, may = self._after(plan, np.ones(self.resources), _TAIL[0])
        change = (after - loads).reshape(-1, self.resources)
        moves = np.flatnonzero(may)
        first = moves[change[moves, loads.argmax()] < 0]
        first = first[np.argsort((loads + change[first]).max(axis=1), kind='stable')[:_FIRST]]
        second = moves[np.argsort(change[moves].max(axis=1), kind='stable')[:_SECOND]]
        largest = ((loads + change[first])[:, None, :] + change[second]).max(axis=2)
        largest[(first // self.devices)[:, None] == second // self.devices] = np.inf
        found = []
        for at in np.argsort(largest, axis=None, kind='stable')[:_PAIRS].tolist():
            moved = plan.copy()
            for move in (first[at // len(second)], second[at % len(second)]):
                moved[chosen[move // self.devices]] = move % self.devices
            if self.fits(moved):
                found.append(moved)
        return found

    def _after(self, plan: Ints, weights: Floats, order: int) -> tuple[Floats, Ints, Floats, Bools]:
        """Return the loads of a plan, nodes, the loads after moving each of them to each device, and whether it may go there."""
        home, need = self._state(plan)
        loads = self._loads(plan, home, need)
        left = self._leaving(plan, home, need)
        chosen = np.arange(self.nodes)
        most = max(8, _CELLS // (self.devices * self.resources))
        if self.nodes > most:
            weighed = weights / max(float((loads * weights).max()), 1e-300)
            slope = _power(loads * weighed, order - 1) * weighed
            chosen = np.sort(np.argsort(left @ slope, kind='stable')[:most])
        after = self._arriving(plan, home, need, chosen)
        after += (loads + left[chosen])[:, None, :]
        may = self.able[chosen]
        may[np.arange(len(chosen)), plan[chosen]] = False
        if self.limited:
            used = np.bincount(plan, self.weights, minlength=self.devices)
            may &= used[None, :] + self.weights[chosen, None] <= self.memory[None, :]
        return loads, chosen, after, may

    def _leaving(self, plan: Ints, home: Ints, need: Ints) -> Floats:
        """Return what the loads lose (below 0) when each node is taken away, ``(nodes, resources)``."""
        width = self.resources
        left = np.zeros((self.nodes, width))
        every = np.arange(self.nodes)
        left[every, plan] -= self.seconds[every, plan]
        if self.seam is not None:
            stays = np.flatnonzero(plan[1:] == plan[:-1])
            saved = self.seam[stays, plan[stays]]
            left[stays, plan[stays]] += saved
            left[stays + 1, plan[stays]] += saved
        here, at = plan[self._reader], home[self._tensor]
        last = np.flatnonzero(need[self._tensor, here] == 1)
        tensor, reader, here, at = self._tensor[last], self._reader[last] * width, here[last], at[last]
        own, to = np.nonzero(need[self._own])
        sender = home[self._own[own]]
        place = np.concatenate((reader, self._maker[own] * width))
        tensors, senders, readers = (np.concatenate(p) for p in ((tensor, self._own[own]), (at, sender), (here, to)))
        for table, resource in self._tables:
            lost = np.bincount(place + resource[senders, readers], table[tensors, senders, readers], minlength=left.size)
            left -= lost.reshape(left.shape)
        return left

    def _arriving(self, plan: Ints, home: Ints, need: Ints, chosen: Ints) -> Floats:
        """Return what the loads gain when each of some nodes comes to each device, ``(chosen, devices, resources)``."""
        width, devices = self.resources, self.devices
        row = np.full(self.nodes, -1)
        row[chosen] = np.arange(len(chosen))
        reads = np.flatnonzero(row[self._reader] >= 0) if len(chosen) < self.nodes else np.arange(len(self._reader))
        pair, to = np.nonzero(need[self._tensor[reads]] == 0)
        pair = reads[pair]
        at, in_tensor = home[self._tensor[pair]], self._tensor[pair]
        into = (row[self._reader[pair]] * devices + to) * width
        made = np.flatnonzero(row[self._maker] >= 0) if len(chosen) < self.nodes else np.arange(len(self._own))
        own, needs = np.nonzero(need[self._own[made]])
        own = made[own]
        out_of = (row[self._maker[own], None] * devices + np.arange(devices)[None, :]) * width
        total = np.zeros(len(chosen) * devices * width)
        for (table, resource), backward in zip(self._tables, self._backward, strict=True):
            place = np.concatenate((into + resource[at, to], (out_of + resource.T[needs]).ravel()))
            more = np.concatenate((table[in_tensor, at, to], backward[self._own[own], needs].ravel()))
            total += np.bincount(place, more, minlength=len(total))
        gained = total.reshape(len(chosen), devices, width)
        own_seconds = self.seconds[chosen]
        if self.seam is not None:
            own_seconds = own_seconds.copy()
            before, behind = np.flatnonzero(chosen > 0), np.flatnonzero(chosen < self.nodes - 1)
            own_seconds[before, plan[chosen[before] - 1]] -= self.seam[chosen[before] - 1, plan[chosen[before] - 1]]
            own_seconds[behind, plan[chosen[behind] + 1]] -= self.seam[chosen[behind], plan[chosen[behind] + 1]]
        gained[:, np.arange(devices), np.arange(devices)] += own_seconds
        return gained


def _tables(problem: Problem, devices: int) -> list[tuple[Floats, Ints]]:
    """Return what transfers take, ``(tensors, devices, devices)``, with the resource of each pair: on the air, then to code."""
    count = len(problem.tensors)
    tensor, sender, reader = (index.ravel() for index in np.indices((count, devices, devices)))
    linked = problem.rate[sender, reader] > 0
    never = _NO_LINK * float(np.where(np.isfinite(problem.seconds), problem.seconds, 0.0).max(axis=1).sum())
    rate = np.where(linked, problem.rate[sender, reader], 1.0)
    air = np.where(linked, problem.wire_bytes(tensor, sender, reader) / rate, never)
    found = [(air, devices + np.maximum(problem.channel, 0))]
    for end, seconds in zip(np.indices((devices, devices)), problem.coding_seconds(tensor, sender, reader), strict=True):
        if seconds.any():
            found.append((np.where(linked, seconds, 0.0), end))
    away = sender != reader
    return [(np.where(away, table, 0.0).reshape(count, devices, devices), resource) for table, resource in found]


def _power(values: Floats, order: int) -> Floats:
    for _ in range(order):
        values = values * values
    return values


class Search:
    """Plans of ever smaller bottleneck.

    :param starts: plans to begin with, of which the best are followed.
    :param seed: of the course after that.
    """

    def __init__(self, problem: Problem, starts: Iterable[Ints], *, seed: int = 0) -> None:
        self._around = Neighbourhood(problem)
        self._even = np.ones(self._around.resources)
        self._random = np.random.default_rng(seed)
        found = [self._descend(plan, _DESCENT) for plan in starts if self._around.fits(plan)]
        more = min(_ANEW // self._around.nodes**2, _MOST_ANEW) if len(found) > 1 else 0  # who goes on from one plan has little time
        anew = filter(self._around.fits, [self._anew() for _ in range(more)])
        found += [self._twice(*self._descend(plan, _DESCENT)) for plan in anew]
        self._pool = [self._twice(*item) for item in sorted(found, key=lambda item: item[0])[:_POOL]]
        self._kicks = 0

    @property
    def best(self) -> Ints | None:
        """The best plan so far, which may lack a link; None if there was none to begin with."""
        return min(self._pool, key=lambda item: item[0])[1] if self._pool else None

    def improve(self, kicks: int) -> None:
        """Leave the best plans so many times, and come back with better ones."""
        for _ in range(kicks if self._pool else 0):
            if self._kicks % _ROUND == 0 and self._kicks and len(self._pool) > _LAST:
                self._pool.pop(self._worst())
            turn, at = divmod(self._kicks, len(self._pool))
            self._kicks += 1
            way = _WAYS[turn % len(_WAYS)]
            back = self._leave(at, way)
            if way == 'anew':
                at = self._worst()
            others = (plan for i, (_, plan) in enumerate(self._pool) if i != at)
            if back[0] <= self._pool[at][0] and not any(np.array_equal(back[1], plan) for plan in others):
                self._pool[at] = back

    def _worst(self) -> int:
        return max(range(len(self._pool)), key=lambda i: self._pool[i][0])

    def _anew(self) -> Ints:
        """Return a plan at random, which may not fit."""
        able = self._around.able
        chosen: Ints = np.where(able, self._random.random(able.shape), -1.0).argmax(axis=1)
        return chosen

    def _leave(self, at: int, way: str) -> tuple[float, Ints]:
        """Return the largest load of the plan that leaving one in some way leads to, and the plan."""
        value, plan = self._pool[at]
        if way == 'anew':
            begin = self._anew()
        elif way == 'cross' and len(self._pool) > 1:
            other = (at + 1 + int(self._random.integers(len(self._pool) - 1))) % len(self._pool)
            start, stop = np.sort(self._random.integers(0, len(plan) + 1, 2)).tolist()
            begin = np.concatenate((plan[:start], self._pool[other][1][start:stop], plan[stop:]))
        else:
            noise = np.exp(self._random.normal(0.0, _NOISE, len(self._even)))
            begin = self._tabu(plan, noise, _KICK, _KICK_STEPS, _KICK_REST)[1]
        if not self._around.fits(begin):
            return value, plan
        back = self._descend(begin, {'noise': _TAIL, 'cross': _CROSSED, 'anew': _DESCENT}[way])
        return self._twice(*back) if way == 'anew' or back[0] <= _NEAR * value else back

    def _twice(self, value: float, plan: Ints) -> tuple[float, Ints]:
        """Make two moves at once as long as the bottleneck is shorter by them."""
        for _ in range(_TWICE):
            tried = [(float(self._around.loads(moved).max()), moved) for moved in self._around.pairs(plan)]
            least = min(tried, key=lambda item: item[0], default=(np.inf, plan))
            if least[0] >= value * (1 - _SAME):
                break
            value, plan = least
        return value, plan

    def _descend(self, plan: Ints, orders: Sequence[int]) -> tuple[float, Ints]:
        value = np.inf
        for order in orders:
            value, plan = self._tabu(plan, self._even, order, _STEPS, _REST)
        return value, plan

    def _tabu(self, plan: Ints, weights: Floats, order: int, steps: int, rest: int) -> tuple[float, Ints]:
        """Return the largest load of the best plan on the way, and the plan."""
        around, plan = self._around, plan.copy()
        banned = np.full((around.nodes, around.devices), -1)
        tenures = self._random.integers(_TENURE, 2 * _TENURE, steps)
        best, least, reached, found_at = plan.copy(), np.inf, np.inf, 0
        for step in range(steps):
            loads, chosen, norm = around.moves(plan, weights, order)
            weighed = loads * weights
            largest = float(weighed.max())
            value = float(_power(weighed / max(largest, 1e-300), order).sum()) ** (0.5**order) * largest
            # while the noise counts, the norm decides; else the bottleneck itself
            rank = largest if weights is self._even else value
            if rank < least * (1 - _SAME) or (rank <= least * (1 + _SAME) and value < reached * (1 - _SAME)):
                best, least, reached, found_at = plan.copy(), rank, value, step
            if step - found_at > rest:
                break
            better = norm < (reached / max(largest, 1e-300)) ** (2**order) * (1 - _SAME)
            norm = np.where((banned[chosen] < step) | better, norm, np.inf)
            at = int(norm.argmin())
            if not np.isfinite(norm.flat[at]):
                break
            row, device = divmod(at, around.devices)
            node = int(chosen[row])
            banned[node, plan[node]] = step + tenures[step]
            plan[node] = device
        return float(around.loads(best).max()), best

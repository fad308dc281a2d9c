# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tabu search for the least bottleneck, from several plans at once, the loads of all plans one move away from each at once.

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
_NOISE: Final = (0.3, 0.6)
"""Standard deviations of the logarithms of the weights, in turn: large graphs are better left by little, small ones by much."""
_WAYS: Final = ('noise', 'cross', 'cross', 'anew')
"""How plans are left, in turn."""
_FIRST, _SECOND, _PAIRS, _TWICE = 60, 150, 8, 6
"""Moves that two at once are made of, how many such pairs are looked at, and so often in a row."""
_NEAR: Final = 1.06
"""Pairs are tried on plans whose bottleneck is at most so many times that of the plan that was left."""
_ANEW: Final = 48_000
"""Plans at random that are begun with, times the square of the nodes: only of small graphs are there many in little time."""
_MOST_ANEW: Final = 60
_POOL, _LAST, _ROUND = 8, 3, 16
"""Plans that are followed, at first and at last; after so many kicks the worst one is left."""
_AT_ONCE: Final = 8
"""Plans that are searched from at once, as far as ``_CELLS`` allow: of one, numpy's calls take longer than their work."""
_SAME: Final = 1e-9


class Neighbourhood:
    """The loads of plans of one problem, devices first, then channels, and those after each single move.

    :param problem: with few devices: the tables are ``(tensors, devices, devices)``.
    """

    def __init__(self, problem: Problem) -> None:
        self.nodes, self.devices = problem.seconds.shape
        self.able: Bools = np.isfinite(problem.seconds)
        self.seconds = np.where(self.able, problem.seconds, 0.0)
        self.overhead = problem.seam_seconds
        self.resources = self.devices + max(int(problem.channel.max(initial=-1)) + 1, 1)
        self._producer, self._source = problem.producers, problem.source_index
        self._tensor, self._reader = problem.readings
        self._own = np.flatnonzero(problem.producers >= 0)
        self._maker = problem.producers[self._own]
        self._outside: Ints = np.zeros((len(problem.tensors), self.devices), dtype=np.int64)
        self._outside[problem.at_sink, problem.sink_index] = 1
        self.weights, self.memory = problem.weight_bytes, problem.column('memory_bytes')
        self._ones = np.ones(self.resources)
        self.limited = bool(np.isfinite(self.memory).any())
        self._tables = _tables(problem, self.devices)
        self._backward = [np.ascontiguousarray(table.swapaxes(1, 2)) for table, _ in self._tables]

    def fits(self, plans: Ints) -> Bools:
        """Return whether the nodes can run where plans have them, and fit there, ``(plans,)``."""
        fits: Bools = np.all(self.able[np.arange(self.nodes), plans], axis=1)
        if self.limited:
            fits &= (self._used(plans) <= self.memory).all(axis=1)
        return fits

    def _used(self, plans: Ints) -> Floats:
        """Return what the weights take on each device, ``(plans, devices)``."""
        return self._count(plans, np.broadcast_to(self.weights, plans.shape), len(plans), self.devices)

    @staticmethod
    def _count(at: Ints, amounts: Floats, plans: int, width: int) -> Floats:
        """Return sums of amounts ``(plans, any)`` by their places, ``(plans, width)``."""
        place = at + (np.arange(plans) * width)[:, None]
        total: Floats = np.bincount(place.ravel(), amounts.ravel(), minlength=plans * width).astype(np.float64)
        return total.reshape(plans, width)

    def _state(self, plans: Ints) -> tuple[Ints, Ints]:
        """Return each tensor's home ``(plans, tensors)``, and how many need it on each device ``(plans, tensors, devices)``."""
        home = np.where(self._producer >= 0, plans[:, self._producer], self._source)
        size, many = self._outside.size, len(plans)
        place = (self._tensor * self.devices + plans[:, self._reader]) + (np.arange(many) * size)[:, None]
        readers = np.bincount(place.ravel(), minlength=many * size)
        return home, readers.reshape(many, *self._outside.shape) + self._outside

    def loads(self, plans: Ints) -> Floats:
        """Return the seconds of each device and each channel, ``(plans, resources)``."""
        return self._loads(plans, *self._state(plans))

    def _loads(self, plans: Ints, home: Ints, need: Ints) -> Floats:
        many, width = len(plans), self.resources
        total = self._count(plans, self.seconds[np.arange(self.nodes), plans], many, width).ravel()
        if self.overhead is not None:
            plan, stays = np.nonzero(plans[:, 1:] == plans[:, :-1])
            on = plans[plan, stays]
            total -= np.bincount(plan * width + on, self.overhead[stays, on], minlength=len(total))
        plan, tensor, reader = np.nonzero(need)
        sender = home[plan, tensor]
        for table, resource in self._tables:
            place = plan * width + resource[sender, reader]
            total += np.bincount(place, table[tensor, sender, reader], minlength=len(total))
        return total.reshape(many, width)

    def moves(self, plans: Ints, weights: Floats, order: int) -> tuple[Floats, Ints, Floats]:
        """Return the loads of plans, nodes of each, and the norm after moving each of them to each device.

        :param weights: of the resources, ``(plans, resources)``.
        :param order: of the norm, as a power of two; the norm is of loads relative to the largest, and not brought down again.
        """
        loads, chosen, after, may = self._after(plans, weights, order)
        after *= (weights / np.maximum((loads * weights).max(axis=1), 1e-300)[:, None])[:, None, None, :]
        for _ in range(order):
            np.multiply(after, after, out=after)
        norm = after @ self._ones  # many short sums: several times as quick as sum(axis=3)
        norm[~may] = np.inf
        return loads, chosen, norm

    def pairs(self, plan: Ints) -> Ints:
        """Return the plans that two moves at once seem to make best, one of which relieves the largest load, ``(plans, nodes)``.

        What two moves change is taken for the sum of what each does, which is wrong where they share a tensor.
        """
        loads, chosen, after, may = (
            whole[0] for whole in self._after(plan[None], np.ones((1, self.resources)), _TAIL[0])
        )
        change = (after - loads).reshape(-1, self.resources)
        moves = np.flatnonzero(may)
        first = moves[change[moves, loads.argmax()] < 0]
        first = first[np.argsort((loads + change[first]).max(axis=1), kind='stable')[:_FIRST]]
        second = moves[np.argsort(change[moves].max(axis=1), kind='stable')[:_SECOND]]
        largest = ((loads + change[first])[:, None, :] + change[second]).max(axis=2)
        largest[(first // self.devices)[:, None] == second // self.devices] = np.inf
        best = np.argsort(largest, axis=None, kind='stable')[:_PAIRS]
        moved = np.repeat(plan[None], len(best), axis=0)
        for move in (first[best // max(len(second), 1)], second[best % max(len(second), 1)]):
            moved[np.arange(len(best)), chosen[move // self.devices]] = move % self.devices
        return moved[self.fits(moved)]

    def _after(self, plans: Ints, weights: Floats, order: int) -> tuple[Floats, Ints, Floats, Bools]:
        """Return the loads of plans, nodes of each, the loads after moving each of them to each device, and whether it may go."""
        home, need = self._state(plans)
        loads = self._loads(plans, home, need)
        left = self._leaving(plans, home, need)
        most = max(8, _CELLS // (self.devices * self.resources))
        at = np.arange(len(plans))[:, None]
        if self.nodes > most:
            weighed = weights / np.maximum((loads * weights).max(axis=1), 1e-300)[:, None]
            slope = _power(loads * weighed, order - 1) * weighed
            gain = (left * slope[:, None, :]).sum(axis=2)
            chosen = np.sort(np.argsort(gain, axis=1, kind='stable')[:, :most], axis=1)
            left = left[at, chosen]
        else:
            chosen = np.broadcast_to(np.arange(self.nodes), plans.shape)
        after = self._arriving(plans, home, need, chosen)
        after += (loads[:, None, :] + left)[:, :, None, :]
        may = self.able[chosen]
        np.put_along_axis(may, np.take_along_axis(plans, chosen, axis=1)[:, :, None], values=False, axis=2)
        if self.limited:
            may &= self._used(plans)[:, None, :] + self.weights[chosen][:, :, None] <= self.memory
        return loads, chosen, after, may

    def _leaving(self, plans: Ints, home: Ints, need: Ints) -> Floats:
        """Return what the loads lose (below 0) when each node is taken away, ``(plans, nodes, resources)``."""
        width, nodes, many = self.resources, self.nodes, len(plans)
        left = np.zeros((many, nodes, width))
        every, at = np.arange(nodes), np.arange(many)[:, None]
        left[at, every, plans] -= self.seconds[every, plans]
        if self.overhead is not None:
            plan, stays = np.nonzero(plans[:, 1:] == plans[:, :-1])
            on = plans[plan, stays]
            saved = self.overhead[stays, on]
            left[plan, stays, on] += saved
            left[plan, stays + 1, on] += saved
        here = plans[:, self._reader]
        plan, edge = np.nonzero(need[at, self._tensor, here] == 1)
        tensor, reader = self._tensor[edge], (plan * nodes + self._reader[edge]) * width
        owner, own, to = np.nonzero(need[:, self._own])
        own_tensor = self._own[own]
        place = np.concatenate((reader, (owner * nodes + self._maker[own]) * width))
        tensors = np.concatenate((tensor, own_tensor))
        senders = np.concatenate((home[plan, tensor], home[owner, own_tensor]))
        readers = np.concatenate((here[plan, edge], to))
        for table, resource in self._tables:
            lost = np.bincount(place + resource[senders, readers], table[tensors, senders, readers], minlength=left.size)
            left -= lost.reshape(left.shape)
        return left

    def _arriving(self, plans: Ints, home: Ints, need: Ints, chosen: Ints) -> Floats:
        """Return what the loads gain when each of some nodes comes to each device, ``(plans, chosen, devices, resources)``."""
        width, devices, (many, some) = self.resources, self.devices, chosen.shape
        at = np.arange(many)[:, None]
        row = np.full(plans.shape, -1)
        row[at, chosen] = np.arange(some)
        lacks = need[:, self._tensor] == 0
        makes = need[:, self._own] > 0
        if some < self.nodes:
            lacks &= (row[:, self._reader] >= 0)[:, :, None]
            makes &= (row[:, self._maker] >= 0)[:, :, None]
        plan, pair, to = np.nonzero(lacks)
        in_tensor = self._tensor[pair]
        sender = home[plan, in_tensor]
        into = ((plan * some + row[plan, self._reader[pair]]) * devices + to) * width
        owner, own, needs = np.nonzero(makes)
        out_of = ((owner * some + row[owner, self._maker[own]])[:, None] * devices + np.arange(devices)) * width
        total = np.zeros(many * some * devices * width)
        for (table, resource), backward in zip(self._tables, self._backward, strict=True):
            place = np.concatenate((into + resource[sender, to], (out_of + resource.T[needs]).ravel()))
            more = np.concatenate((table[in_tensor, sender, to], backward[self._own[own], needs].ravel()))
            total += np.bincount(place, more, minlength=len(total))
        gained = total.reshape(many, some, devices, width)
        own_seconds = self.seconds[chosen]
        if self.overhead is not None:
            plan, before = np.nonzero(chosen > 0)
            node = chosen[plan, before]
            own_seconds[plan, before, plans[plan, node - 1]] -= self.overhead[node - 1, plans[plan, node - 1]]
            plan, behind = np.nonzero(chosen < self.nodes - 1)
            node = chosen[plan, behind]
            own_seconds[plan, behind, plans[plan, node + 1]] -= self.overhead[node, plans[plan, node + 1]]
        gained[:, :, np.arange(devices), np.arange(devices)] += own_seconds
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


class TabuSearch:
    """Plans of ever smaller bottleneck.

    :param starts: plans to begin with, of which the best are followed.
    :param seed: of the course after that.
    """

    def __init__(self, problem: Problem, starts: Iterable[Ints], *, seed: int = 0) -> None:
        self._around = around = Neighbourhood(problem)
        self._random = np.random.default_rng(seed)
        self._at_once = int(np.clip(_CELLS // (around.nodes * around.devices * around.resources), 1, _AT_ONCE))
        begun = [plan[None] for plan in starts]
        found = self._descend(np.concatenate(begun), _DESCENT) if begun else []
        more = min(_ANEW // around.nodes**2, _MOST_ANEW) if len(found) > 1 else 0  # who goes on from one plan has little time
        if more:
            found += [self._twice(*item) for item in self._descend(self._anew(more), _DESCENT)]
        self._pool = [self._twice(*item) for item in sorted(found, key=lambda item: item[0])[:_POOL]]
        self._begun, self._turns, self._kicks, self._asked = len(self._pool), 0, 0, 0

    @property
    def best(self) -> Ints | None:
        """The best plan so far, which may lack a link; None if there was none to begin with."""
        return min(self._pool, key=lambda item: item[0])[1] if self._pool else None

    def improve(self, kicks: int) -> None:
        """Leave the best plans so many times more, several at once, and come back with better ones."""
        self._asked += kicks
        while self._pool and self._kicks < self._asked:
            while len(self._pool) > max(_LAST, self._begun - self._kicks // _ROUND):
                self._pool.pop(self._worst())
            way = _WAYS[self._turns % len(_WAYS)]
            self._turns += 1
            self._kicks += self._at_once
            left = [at % len(self._pool) for at in range(self._at_once)]
            begun = self._leave(left, way)
            fits = self._around.fits(begun)
            back = self._descend(begun[fits], {'noise': _TAIL, 'cross': _CROSSED, 'anew': _DESCENT}[way])
            for at, (value, plan) in zip(np.array(left)[fits].tolist(), back, strict=True):
                if way == 'anew':
                    at = self._worst()  # noqa: PLW2901 (a plan at random comes in the place of the worst)
                if way == 'anew' or value <= _NEAR * self._pool[at][0]:
                    value, plan = self._twice(value, plan)  # noqa: PLW2901 (the same, improved)
                others = (other for i, (_, other) in enumerate(self._pool) if i != at)
                if value <= self._pool[at][0] and not any(np.array_equal(plan, other) for other in others):
                    self._pool[at] = value, plan

    def _worst(self) -> int:
        return max(range(len(self._pool)), key=lambda i: self._pool[i][0])

    def _anew(self, count: int) -> Ints:
        """Return plans at random, of which some may not fit."""
        able = self._around.able
        chosen: Ints = np.where(able, self._random.random((count, *able.shape)), -1.0).argmax(axis=2)
        return chosen

    def _leave(self, left: Sequence[int], way: str) -> Ints:
        """Return plans that leaving some of the pool leads to."""
        if way == 'anew':
            return self._anew(len(left))
        plans = np.array([self._pool[at][1] for at in left])
        if way == 'cross' and len(self._pool) > 1:
            for plan, at in zip(plans, left, strict=True):
                other = (at + 1 + int(self._random.integers(len(self._pool) - 1))) % len(self._pool)
                start, stop = np.sort(self._random.integers(0, len(plan) + 1, 2)).tolist()
                plan[start:stop] = self._pool[other][1][start:stop]
            return plans
        deviation = np.resize(_NOISE, (len(left), 1))
        noise = np.exp(deviation * self._random.standard_normal((len(left), self._around.resources)))
        return self._tabu(plans, noise, _KICK, _KICK_STEPS, _KICK_REST)

    def _twice(self, value: float, plan: Ints) -> tuple[float, Ints]:
        """Make two moves at once as long as the bottleneck is shorter by them."""
        for _ in range(_TWICE):
            moved = self._around.pairs(plan)
            if not len(moved):
                break
            values = self._around.loads(moved).max(axis=1)
            if values.min() >= value * (1 - _SAME):
                break
            value, plan = float(values.min()), moved[values.argmin()]
        return value, plan

    def _descend(self, plans: Ints, orders: Sequence[int]) -> list[tuple[float, Ints]]:
        """Return the largest loads of the plans that descents from those that fit lead to, and these plans."""
        plans, found = plans[self._around.fits(plans)], []
        for some in (plans[at : at + self._at_once] for at in range(0, len(plans), self._at_once)):
            for order in orders:
                some = self._tabu(some, np.ones((len(some), self._around.resources)), order, _STEPS, _REST, even=True)  # noqa: PLW2901
            found += list(zip(self._around.loads(some).max(axis=1).tolist(), some, strict=True))
        return found

    def _tabu(self, plans: Ints, weights: Floats, order: int, steps: int, rest: int, *, even: bool = False) -> Ints:
        """Return the best plan on the way from each of some.

        :param even: the bottleneck itself decides which is best; else the norm does, as the loads are weighed.
        """
        around, going, now = self._around, np.arange(len(plans)), plans.copy()
        banned = np.full((len(plans), around.nodes, around.devices), -1)
        tenures = self._random.integers(_TENURE, 2 * _TENURE, (steps, len(plans)))
        best, found_at = plans.copy(), np.zeros(len(plans), dtype=np.int64)
        least, reached = np.full((2, len(plans)), np.inf)
        for step in range(steps):
            loads, chosen, norm = around.moves(now[going], weights[going], order)
            weighed = loads * weights[going]
            largest = np.maximum(weighed.max(axis=1), 1e-300)
            value = _power(weighed / largest[:, None], order).sum(axis=1) ** (0.5**order) * largest
            rank = largest if even else value
            better = (rank < least[going] * (1 - _SAME)) | (
                (rank <= least[going] * (1 + _SAME)) & (value < reached[going] * (1 - _SAME))
            )
            at = going[better]
            best[at], least[at], reached[at], found_at[at] = now[at], rank[better], value[better], step
            # what is banned may be done where it leads to what was not reached so far
            aspired = norm < ((reached[going] / largest) ** (2**order) * (1 - _SAME))[:, None, None]
            norm = np.where((banned[going[:, None], chosen] < step) | aspired, norm, np.inf).reshape(len(going), -1)
            move = norm.argmin(axis=1)
            goes = (step - found_at[going] <= rest) & np.isfinite(norm[np.arange(len(going)), move])
            row, device = move[goes] // around.devices, move[goes] % around.devices
            going, node = going[goes], chosen[goes, row]
            if not len(going):
                break
            banned[going, node, now[going, node]] = step + tenures[step, going]
            now[going, node] = device
        return best

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The few plans that a learning policy chooses among: the exact planner's answers, and what each is predicted to take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import latency_cost, transfers
from edge_dnn_partition.planning.cost_model.problem import Floats, Problem
from edge_dnn_partition.planning.solvers.solve import solve

from .policy import Assignment

LIMIT: Final = 8
_FEW_DEVICES: Final = 12
"""In a larger fleet only the devices of the best plan are varied."""


class Candidates:
    """Candidate plans in numbered slots. Deterministic; not thread safe.

    :param limit: how many plans there are at most.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.plans: list[Assignment] = []
        self._turn = 0
        self._best_at: dict[Assignment, int] = {}

    def index(self, plan: Assignment | None) -> int | None:
        """Return the slot of a plan, None if it is no candidate."""
        return self.plans.index(plan) if plan in self.plans else None

    def seed(self, problem: Problem) -> None:
        """Fill the slots with the planner's answers to the present conditions and to what they may become."""
        for plan in answers_around(problem):
            if len(self.plans) < self.limit:
                self.offer(plan)

    def offer(self, plan: Assignment, keep: Collection[Assignment] = ()) -> int | None:
        """Make a plan a candidate; where there is no room the one gives way that has been offered least lately.

        :param keep: plans that do not give way.
        :return: the slot that now holds another plan; None if nothing changed.
        """
        self._turn += 1
        self._best_at[plan] = self._turn
        if plan in self.plans:
            return None
        if len(self.plans) < self.limit:
            self.plans.append(plan)
            return len(self.plans) - 1
        free = [slot for slot, held in enumerate(self.plans) if held not in keep]
        if not free:
            return None
        slot = min(free, key=lambda slot: self._best_at.get(self.plans[slot], 0))
        self._best_at.pop(self.plans[slot], None)
        self.plans[slot] = plan
        return slot


def answers_around(problem: Problem) -> Iterator[Assignment]:
    """Yield the planner's answers to a problem and to what it may become, without repetition.

    Links at a fifth, a half and twice their rate, all and those of one device; devices one after the other at less of their
    speed or gone.
    """
    found: set[Assignment] = set()
    for condition in _around(problem):
        answer = solve(condition, 'latency', quick=True, few_stages=True).assignment
        if answer is not None and (plan := tuple(answer)) not in found:
            found.add(plan)
            yield plan


def _around(problem: Problem) -> Iterator[Problem]:
    yield problem
    names: Sequence[str] = problem.names
    if len(names) > _FEW_DEVICES:
        best = solve(problem, 'latency', quick=True, few_stages=True).assignment or ()
        names = tuple(dict.fromkeys((problem.source, *best)))
    for rate in (0.2, 0.5, 2.0):
        for touching in (set(problem.names), *({name} for name in names if len(problem.names) > 2)):
            links = tuple(
                replace(link, bytes_per_second=link.bytes_per_second * rate) if touching & {link.sender, link.reader} else link
                for link in problem.links
            )
            yield replace(problem, links=links)
    for name in names:
        for factor in (1.5, 2.0, 4.0, np.inf):
            if name != problem.source or np.isfinite(factor):
                seconds = problem.seconds.copy()
                seconds[:, problem.position[name]] *= factor
                yield replace(problem, seconds=seconds)


class Predictor:
    """What several plans are predicted to take at once; which transfers each has is kept from call to call."""

    def __init__(self) -> None:
        self._key: object = None
        self._plans: list[int] = []

    def log_seconds(self, problem: Problem, plans: Sequence[Assignment]) -> Floats:
        """Return the logarithm of what each plan takes under a problem, ``(plans,)``; infinite where it cannot run."""
        key = (tuple(plans), problem.names, problem.nodes, len(problem.tensors))
        if key != self._key:
            self._key, self._plans = key, [n for n, plan in enumerate(plans) if set(plan) <= set(problem.names)]
            self._chosen = np.array([problem.indices(plans[n]) for n in self._plans], np.int64).reshape(-1, problem.nodes)
            self._stays = np.nonzero(self._chosen[:, 1:] == self._chosen[:, :-1])
            sent = [transfers(problem, row) for row in self._chosen]
            self._owner = np.repeat(np.arange(len(sent)), [len(tensor) for tensor, _, _ in sent])
            self._sent = tuple(np.concatenate([np.zeros(0, np.int64), *(s[i] for s in sent)]) for i in range(3))
        cost, count = latency_cost(problem), len(self._plans)
        seconds = cost.node[np.arange(problem.nodes)[None, :], self._chosen].sum(axis=1)
        if cost.overhead is not None:
            saved = cost.overhead[self._stays[1], self._chosen[self._stays]]
            seconds = seconds - np.bincount(self._stays[0], saved, minlength=count)
        seconds = seconds + np.bincount(self._owner, cost.prices(problem, *self._sent), minlength=count)
        found = np.full(len(plans), np.inf)
        found[self._plans] = np.log(np.maximum(seconds, 1e-12))
        return np.where(np.isnan(found), np.inf, found)

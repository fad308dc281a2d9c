# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The few plans that a learning policy chooses among: the exact planner's answers over the conditions seen.

A plan is kept while no other is at least as good in every condition seen (the Pareto set over conditions).
Where more are left than there is room for, the one goes whose loss costs least in the worst condition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Floats, Problem
from edge_dnn_partition.planning.solvers.solve import solve

from .components import Assignment, Predictor

LIMIT: Final = 8
_CONDITIONS: Final = 24


class Candidates:
    """Candidate plans in numbered slots. Deterministic; not thread safe.

    :param limit: how many plans there are at most.
    """

    def __init__(self, predictor: Predictor, limit: int = LIMIT) -> None:
        self.predictor = predictor
        self.limit = limit
        self.plans: list[Assignment] = []
        self._seen: deque[Problem] = deque(maxlen=_CONDITIONS)

    def __len__(self) -> int:
        return len(self.plans)

    def index(self, plan: Assignment | None) -> int | None:
        """Return the slot of a plan, None if it is no candidate."""
        return self.plans.index(plan) if plan in self.plans else None

    def see(self, problem: Problem) -> None:
        """Remember conditions that candidates are judged under; the oldest of 24 are forgotten."""
        self._seen.append(problem)

    def offer(self, plan: Assignment, keep: Sequence[Assignment] = ()) -> int | None:
        """Make a plan a candidate if there is room, or one that is less use gives way.

        :param keep: plans that do not give way (those in force or prepared).
        :return: the slot that now holds another plan; None if nothing changed.
        """
        if plan in self.plans:
            return None
        if len(self.plans) < self.limit:
            self.plans.append(plan)
            return len(self.plans) - 1
        slot = self._least_use([*self.plans, plan], {*keep, plan})
        if slot is None:
            return None
        self.plans[slot] = plan
        return slot

    def _least_use(self, plans: Sequence[Assignment], keep: set[Assignment]) -> int | None:
        """Return which plan can go at the least loss in the worst condition; the last of equals."""
        free = [slot for slot, plan in enumerate(plans) if plan not in keep]
        if not free:
            return None
        table = self._table(plans)
        loss = []
        for slot in free:
            others = np.delete(table, slot, axis=1).min(axis=1, initial=np.inf)
            both = np.isfinite(others) & np.isfinite(table[:, slot])
            gone = np.isinf(others) & np.isfinite(table[:, slot])
            worst = float(np.max((others - table[:, slot])[both], initial=0.0))
            # Ties, which dominated plans are, go by how near they come to the best at all.
            gap = np.where(both, np.maximum(table[:, slot] - others, 0.0), 9.0)
            loss.append((float(gone.any()), max(worst, 0.0), -float(gap.min(initial=9.0)), -slot))
        return free[loss.index(min(loss))]

    def _table(self, plans: Sequence[Assignment]) -> Floats:
        """Return the logarithm of each plan's value in each condition seen, ``(conditions, plans)``."""
        rows = [self.predictor.components(problem, plans).log_values() for problem in self._seen]
        return np.array(rows).reshape(len(rows), len(plans))

    def seed(self, problem: Problem) -> None:
        """Fill the slots with the planner's answers under a grid of conditions around the present ones.

        Links at a fifth, a half, once and twice their rate, devices one after the other at half and a
        quarter of their speed or gone, so that there are answers for what may come. Of more answers than there is
        room for, those stay that are of most use in these conditions.
        """
        answers: dict[Assignment, None] = {}
        for condition in _around(problem):
            solution = solve(condition, self.predictor.goal, quick=True, few_stages=True)
            if solution.assignment is not None:
                self.see(condition)
                answers[tuple(solution.assignment)] = None
        plans = list(answers)
        while len(plans) > self.limit:
            slot = self._least_use(plans, {plans[0]})
            plans.pop(len(plans) - 1 if slot is None else slot)
        self.plans = plans


def _around(problem: Problem) -> Iterator[Problem]:
    """Yield the problem, then its variations."""
    yield problem
    for rate in (0.2, 0.5, 2.0):
        links = tuple(replace(link, bytes_per_second=link.bytes_per_second * rate) for link in problem.links)
        yield replace(problem, links=links)
        for index, _ in enumerate(problem.names):
            touching = {problem.names[index]}
            links = tuple(
                replace(link, bytes_per_second=link.bytes_per_second * rate) if touching & {link.sender, link.reader} else link
                for link in problem.links
            )
            if len(problem.names) > 2:
                yield replace(problem, links=links)
    for index, name in enumerate(problem.names):
        for factor in (1.5, 2.0, 4.0, np.inf):
            if name == problem.source and not np.isfinite(factor):
                continue
            seconds = problem.seconds.copy()
            seconds[:, index] *= factor
            yield replace(problem, seconds=seconds)

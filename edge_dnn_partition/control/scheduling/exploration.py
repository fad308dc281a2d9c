# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which links and devices are worth probing: those that a better plan would need, if they are better than estimated.

The best plan is looked for with every one at the most that can be hoped of it (optimism in the face of uncertainty; Lai and
Robbins, Advances in Applied Mathematics 6, 1985). What it gains over the plan in force, were that so, times the chance, is what
knowing more of those is worth that it uses. Without those the next best is looked for, so that one that
stays slow does not hide one that has recovered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import transfers
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers.solve import solve

from .background import Background, DutyCycleLimiter

FULL_GAIN: Final = 0.2
"""A gain from which on a link is worth the whole probing budget."""
_ROUNDS: Final = 3
_LEAST_SHARE: Final = 0.1

_MOST_SHARE: Final = 0.03
"""Of the time that looking for what to probe may take."""
_PERIOD_SECONDS: Final = 0.5
_REPEAT_SECONDS: Final = 2.0
"""Workers drop their probes when a scheduler is silent for much longer."""

Pair = tuple[str, str]
"""A link by sender and reader, or a device, named twice."""


@dataclass(frozen=True)
class Hope:
    """What may be above its estimate: a link's bytes per second, how many times as fast a device is; the chance, 0 to 1."""

    amount: float
    chance: float = 1.0


def worth_probing(
    problem: Problem, plan: Sequence[str], current: Problem, hopes: Mapping[Pair, Hope], goal: Goal, least_gain: float
) -> dict[Pair, float]:
    """Return what is worth probing, and the share of the probing budget that it is worth, 0 to 1.

    What the plan in force uses is no reason to probe by itself: it would be quicker, but it would be no other plan.

    :param problem: under the present estimates.
    :param plan: the one in force, as the device of each node.
    :param current: ``problem`` under the encodings that this plan has.
    :param hopes: of links and devices that may be better than estimated.
    :param least_gain: a plan that is better by less would not be moved to.
    """
    left, found, present = dict(hopes), {}, tuple(plan)
    reference = evaluate(problem, [problem.source] * problem.nodes)
    for _ in range(_ROUNDS):
        if not left:
            break
        hoped = _with(problem, left)
        best = solve(hoped, goal, quick=True).assignment
        if best is None:
            break
        used = _used(hoped, best) & left.keys()
        if not used:
            break
        costs = evaluate(hoped, best)
        by = reference if np.isfinite(reference.latency_seconds) else costs
        gain = goal.gain(evaluate(_with(current, left), present), costs, by)
        if tuple(best) != present and gain < least_gain:
            break
        for pair in used:
            share = min(1.0, gain / FULL_GAIN) * left.pop(pair).chance
            if tuple(best) != present:
                found[pair] = max(share, _LEAST_SHARE)
    return found


def _with(problem: Problem, hopes: Mapping[Pair, Hope]) -> Problem:
    links = tuple(
        replace(link, bytes_per_second=max(link.bytes_per_second, hope.amount))
        if (hope := hopes.get((link.sender, link.reader))) is not None else link
        for link in problem.links
    )  # fmt: skip
    faster = [hopes[name, name].amount if (name, name) in hopes else 1.0 for name in problem.names]
    return replace(problem, links=links, seconds=problem.seconds / faster).like(problem)


def _used(problem: Problem, plan: Sequence[str]) -> set[Pair]:
    _, senders, readers = transfers(problem, problem.indices(plan))
    pairs = {(problem.names[a], problem.names[b]) for a, b in zip(senders, readers, strict=True)}
    return pairs | {(name, name) for name in plan}


class Explorer:
    """Looks for what to probe on another thread. Not thread safe.

    :param publish: takes the share of the probing budget by link or device, and what is hoped of each.
    """

    def __init__(
        self, view: FleetView, publish: Callable[[Mapping[Pair, float], Mapping[Pair, Hope]], None], background: Background
    ) -> None:
        self._view, self._publish, self._background = view, publish, background
        self._limiter = DutyCycleLimiter(_MOST_SHARE, _MOST_SHARE * _PERIOD_SECONDS)
        self._work: Future[dict[Pair, float]] | None = None
        self._hopes: dict[Pair, Hope] = {}
        self._next_at = self._published_at = -math.inf
        self.worth: dict[Pair, float] = {}
        """The links and devices that are probed, and the share of what may be spent on each."""

    def consider(
        self, problem: Problem, problem_for: Callable[[tuple[str, ...]], Problem], plan: tuple[str, ...] | None, goal: Goal,
        least_gain: float, now: float,
    ) -> None:  # fmt: skip
        """Look for what a better plan would need, and publish what was found.

        :param problem_for: gives the problem under a plan's own encodings.
        :param plan: the one in force, as the device of each node; None: there is none to compare with.
        """
        if self._work is not None and not self._work.done():
            return
        self._publish_found(now)
        there = set(problem.names)
        hopes = {pair: Hope(*hope) for pair, hope in self._view.hopes(now).items() if there.issuperset(pair)}
        appeared = not hopes.keys() <= self._hopes.keys()
        if (now < self._next_at and not appeared) or not self._limiter.due(now):
            return
        self._next_at, self._hopes = now + _PERIOD_SECONDS, hopes
        if not hopes or plan is None or not there.issuperset(plan):
            self._say({}, now)
            return

        def look() -> dict[Pair, float]:
            begun, began = self._background.now(), self._background.processor_seconds()
            try:
                return worth_probing(problem, plan, problem_for(plan), hopes, goal, least_gain)
            finally:
                self._limiter.spent(begun, self._background.processor_seconds() - began)

        self._work = self._background.run(look, 'exploration')
        if self._work.done():
            self._publish_found(now)

    def _publish_found(self, now: float) -> None:
        if self._work is not None:
            work, self._work = self._work, None
            self._say(work.result(), now)

    def _say(self, worth: dict[Pair, float], now: float) -> None:
        if worth == self.worth and now - self._published_at < _REPEAT_SECONDS:
            return
        self.worth, self._published_at = worth, now
        self._publish(worth, self._hopes)

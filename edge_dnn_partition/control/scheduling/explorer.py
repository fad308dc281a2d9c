# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tells the workers which links and devices are worth probing (`control.decision.exploration`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from edge_dnn_partition.control.decision.exploration import Hope, Pair, worth_probing
from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal

from .background import Background, DutyCycleLimiter

_MOST_SHARE: Final = 0.03
"""Of the time that looking for what to probe may take."""
_PERIOD_SECONDS: Final = 0.5
_REPEAT_SECONDS: Final = 2.0
"""Workers drop their probes when a scheduler is silent for much longer."""


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

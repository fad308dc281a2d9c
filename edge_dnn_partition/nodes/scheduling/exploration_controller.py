# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tells the workers which links and devices are worth probing (`control.decision.exploration`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from edge_dnn_partition.control.decision.exploration import Hope, Pair, worth_probing
from edge_dnn_partition.control.scheduling.duty_cycle_limiter import DutyCycleLimiter
from edge_dnn_partition.control.state.snapshot import FleetView
from edge_dnn_partition.msg import Exploration
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.rclpy_gaps import run_in_background
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal

_MOST_SHARE: Final = 0.03
_PERIOD_SECONDS: Final = 0.5
_SAY_SECONDS: Final = 2.0
"""Workers take a scheduler for gone that says nothing for much longer."""


class ExplorationController:
    """Used in the thread that spins; the planning is done on another, and takes no more than a small share of the time."""

    def __init__(self, node: FleetNode, view: FleetView) -> None:
        self._node, self._view = node, view
        self._publisher = node.advertise(Exploration, node.topics.exploration, qos.EXPLORATION)
        self._duty_cycle_limiter = DutyCycleLimiter(_MOST_SHARE, _MOST_SHARE * _PERIOD_SECONDS)
        self._work: Future[dict[Pair, float]] | None = None
        self._hopes: dict[Pair, Hope] = {}
        self._next_at = self._said_at = -math.inf
        self.worth: dict[Pair, float] = {}
        """The links and devices that are looked at, and the share of what may be spent on each."""

    def consider(
        self, problem: Problem, under: Callable[[tuple[str, ...]], Problem], plan: tuple[str, ...] | None, goal: Goal, now: float
    ) -> None:
        """Look for what a better plan would need; say what was found the last time.

        :param under: gives the problem under a plan's own encodings.
        :param plan: the one in force, as the device of each node; None: there is none that could be compared with.
        """
        if self._work is not None:
            if not self._work.done():
                return
            work, self._work = self._work, None
            self._say(work.result(), now)
        there = set(problem.names)
        hopes = {pair: Hope(*hope) for pair, hope in self._view.hopes(now).items() if there.issuperset(pair)}
        fell = not hopes.keys() <= self._hopes.keys()
        if (now < self._next_at and not fell) or not self._duty_cycle_limiter.due(now):
            return
        self._next_at, self._hopes = now + _PERIOD_SECONDS, hopes
        if not hopes or plan is None or not there.issuperset(plan):
            self._say({}, now)
            return
        least_gain = self._node.params.number('least_gain')

        def look() -> dict[Pair, float]:
            begun, began = time.monotonic(), time.thread_time()
            try:
                return worth_probing(problem, plan, under(plan), hopes, goal, least_gain)
            finally:
                self._duty_cycle_limiter.spent(begun, time.thread_time() - began)

        self._work = run_in_background(look, 'exploration')

    def _say(self, worth: dict[Pair, float], now: float) -> None:
        if worth == self.worth and now - self._said_at < _SAY_SECONDS:
            return
        self.worth, self._said_at = worth, now
        message = Exploration(shares=list(worth.values()), bytes_per_second=[self._hopes[p].amount for p in worth])
        message.senders, message.receivers = [a for a, _ in worth], [b for _, b in worth]
        self._publisher.publish(message)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Lets the scheduler decide out of turn where what the plan in force uses has changed by much; the rest can wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping

from edge_dnn_partition.control.scheduling.urgency import Urgency
from edge_dnn_partition.control.state.snapshot import FleetView
from edge_dnn_partition.planning.plans.plan import Plan


class UrgencyMonitor:
    """Used in the thread that spins.

    :param plan: returns the plan in force.
    :param decide: takes a decision now; is to call `decided`.
    :param looked_at: returns what is probed since a better plan would need it: links by sender and reader, devices named twice.
    """

    def __init__(
        self, view: FleetView, plan: Callable[[], Plan | None], decide: Callable[[], None],
        looked_at: Callable[[], Collection[tuple[str, str]]],
    ) -> None:  # fmt: skip
        self._view, self._plan, self._decide, self._looked_at = view, plan, decide, looked_at
        self._urgency = Urgency()

    def heard(self, device: str, now: float) -> None:
        """Take in that something has been heard of a device; decide if that is urgent."""
        plan = self._plan()
        if plan is None:
            return
        if device not in self._view.used_by(plan.devices) and all(device != sender for sender, _ in self._looked_at()):
            return
        if self._urgency.is_due(now, self._signs_at(now)):
            self._decide()
            done = time.monotonic()
            self._urgency.took(done, done - now)

    def decided(self, now: float) -> None:
        """Take in that a decision is taken, in turn or out of it."""
        self._urgency.decided(now, self._signs_at(now)())

    def _signs_at(self, now: float) -> Callable[[], Mapping[Hashable, float]]:
        plan = self._plan()
        return lambda: {} if plan is None else self._view.signs(now, plan.devices, self._looked_at())

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's side of plans: which one new frames get, and which frames must be sent again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from edge_dnn_partition.planning.plans.plan import Plan

from .ledger import Frame
from .plan_book import PlanBook

_FRAMES: Final = 5
MOST_OVERTAKEN: Final = 3
"""So often a frame is sent again because a plan has come that is quicker."""


@dataclass(frozen=True)
class Patience:
    """When a frame or a worker is given up, in seconds.

    :param factor: a frame is sent again after so many times its plan's latency, as predicted, or half as many times what the
        last frames took, if that is longer: frames wait for one another where the prediction is too short ...
    :param least_seconds: ... but not before.
    :param heartbeat_seconds: after so long without a sign of life a worker counts as gone.
    """

    factor: float = 6.0
    least_seconds: float = 3.0
    heartbeat_seconds: float = 1.0


@dataclass
class SourcePlans(PlanBook):
    """Which plan each frame under way has, and who had it. Time is passed in; not thread safe."""

    _plans: dict[int, Plan] = field(default_factory=dict)
    _workers: dict[str, tuple[int, float]] = field(default_factory=dict)
    _sent_to: dict[int, dict[str, int]] = field(default_factory=dict)
    _took: dict[int, deque[float]] = field(default_factory=dict)
    """Of each plan that is in use, what its last frames took."""

    def heartbeat(self, device: str, incarnation: int, now: float) -> bool:
        """Take a worker's sign of life in; return True if it has started anew."""
        known = self._workers.get(device)
        self._workers[device] = (incarnation, now)
        return known is not None and known[0] != incarnation

    def sent(self, frame_id: int, plan: Plan) -> None:
        """Note that a frame goes out under a plan now."""
        self._plans[plan.version] = plan
        self._sent_to[frame_id] = {device: self._workers.get(device, (0, 0.0))[0] for device in plan.devices}

    def took(self, version: int, seconds: float) -> None:
        """Take in how long a frame of a plan took."""
        if version in self._plans:
            self._took.setdefault(version, deque(maxlen=_FRAMES)).append(seconds)

    def done(self, frame_id: int) -> None:
        """Forget a frame that has its result."""
        self._sent_to.pop(frame_id, None)

    def tidy(self, using: set[int]) -> None:
        """Forget plans that no frame under way uses."""
        self._plans = {version: plan for version, plan in self._plans.items() if version in using or plan is self.active}
        self._took = {version: seconds for version, seconds in self._took.items() if version in self._plans}

    def plan_of(self, frame: Frame) -> Plan | None:
        """Return the plan that a frame was sent under; None if that was in an earlier run."""
        return self._plans.get(frame.plan_version)

    def gone(self, device: str, now: float, patience: Patience) -> bool:
        """True if a worker gives no sign of life, or never has."""
        known = self._workers.get(device)
        return known is None or now - known[1] > patience.heartbeat_seconds

    def overtaken(self, frame: Frame, now: float, factor: float) -> bool:
        """True if a frame of an earlier plan is late, and so better sent again under the plan in force.

        A link that has collapsed holds it up for longer than the whole model takes elsewhere, and all later results with it,
        since they are delivered in order.

        :param factor: it is late after so many times what is usual under its plan; 0: never. Nor is it where the plan in force
            is to save energy.
        """
        plan, active = self.plan_of(frame), self.active
        if not factor or plan is None or active is None or active is plan or active.objective == 'energy':
            return False
        if frame.attempt - frame.first_attempt >= MOST_OVERTAKEN or plan.latency_seconds <= 0:
            return False
        usual = max(plan.latency_seconds, median(self._took.get(plan.version, (0.0,))))
        return now - frame.sent_at > max(factor * usual, active.latency_seconds)

    def overdue(self, frame: Frame, now: float, patience: Patience) -> bool:
        """True if a frame must be sent again under the plan in force: it was where it is lost, or takes too long.

        A frame of an earlier run is overdue at once.
        """
        plan = self.plan_of(frame)
        if plan is None:
            return True
        for device, incarnation in self._sent_to.get(frame.frame_id, {}).items():
            known = self._workers.get(device)
            if known is not None and incarnation and known[0] != incarnation:
                return True  # it has started anew and knows nothing of this frame
            if known is not None and self.gone(device, now, patience) and self.active is not plan:
                return True
        seconds = patience.least_seconds
        if plan.latency_seconds > 0:
            seconds = max(seconds, patience.factor * plan.latency_seconds)
        if took := self._took.get(plan.version):
            seconds = max(seconds, patience.factor / 2 * median(took))
        doubled = 2 ** min(frame.attempt - frame.first_attempt, 4)
        return bool(now - frame.sent_at > seconds * doubled)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Shadow frames: keeps the plan prepared that the policy wants to learn of, and asks for frames under it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any, Final

from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.planning.plans.plan import Plan

from .policy_runner import PolicyRunner, PolicyWorker
from .switch import Activate, Drop, Outlet, PlanSwitch, StagePhase

Assignment = tuple[str, ...]

_RETRY_SECONDS: Final = 30.0
"""A plan that could not be prepared is not tried again for so long."""
_OK: Final = 0
"""The status of a frame that has its result, as in FrameReport."""


class ShadowFrames:
    """Not thread safe.

    :param outlet: to workers and frame source.
    :param compose: makes the plan of an assignment, under a version of its own.
    :param scheduler: its incarnation.
    """

    def __init__(
        self, runner: PolicyRunner, outlet: Outlet, compose: Callable[[Assignment, float], Plan], scheduler: int
    ) -> None:
        self._runner, self._outlet, self._compose = runner, outlet, compose
        self._worker: PolicyWorker | None = None
        self._switch = PlanSwitch(scheduler)
        self._assignment: Assignment | None = None
        """Of the plan that is prepared or being prepared."""
        self._wanted: Future[Sequence[Assignment]] | None = None
        self._grants: list[Future[Assignment | None]] = []
        self._failed_until: dict[Assignment, float] = {}

    def maintain(self, ready: Collection[str], now: float) -> None:
        """Prepare what the policy wants; at each decision, unless a switch is under way.

        :param ready: devices that can take part.
        """
        self._follow_policy()
        self._apply(self._switch.tick(now), now)
        for device in set(self._devices()) - set(ready):
            self.on_loss(device)
        self._run_granted()
        if self._worker is None:
            return
        if self._wanted is None:
            self._wanted = self._worker.prefetch_candidates()
        elif self._wanted.done():
            wanted, self._wanted = _result(self._wanted) or (), None
            self._prepare([w for w in wanted if set(w) <= set(ready) and self._failed_until.get(w, -math.inf) <= now], now)

    def on_frame(self) -> None:
        """Count a frame that has its result: it may earn a shadow frame."""
        self._follow_policy()
        if self._worker is not None:
            warm = () if self._switch.active is None or self._assignment is None else (self._assignment,)
            self._grants.append(self._worker.shadow(warm))
            self._run_granted()

    def on_stage(self, message: Any, now: float) -> None:
        """Record what a worker says of a plan, if it is this one (StageState)."""
        warm = self._switch.active
        if message.state == StagePhase.RELEASED and warm is not None and warm.version == message.plan_version:
            self.close()
        self._apply(self._switch.on_stage(message), now)

    def on_loss(self, device: str) -> None:
        """Drop the plan if it needs a worker that is gone, or has restarted and has nothing prepared."""
        if device in self._devices():
            self.close()

    def on_report(self, message: Any, now: float) -> None:
        """Tell the policy what a shadow frame cost (FrameReport)."""
        warm = self._switch.active
        if warm is not None and warm.version == message.plan_version and message.status == _OK and self._assignment:
            self._runner.on_shadow_frame(message, self._assignment, warm, now)

    def close(self) -> None:
        """Let the workers release what is prepared."""
        for plan in (self._switch.proposal, self._switch.active):
            if plan is not None:
                self._publish(plan, PlanStatus.DROPPED)
        self._switch.proposal = self._switch.active = None
        self._assignment = None

    def _publish(self, plan: Plan, status: PlanStatus) -> None:
        self._outlet.publish_plan(plan, status, shadow=True)

    def _follow_policy(self) -> None:
        """Start over with a new policy: its plans may be cut elsewhere."""
        if self._worker is not self._runner.worker:
            self._worker = self._runner.worker
            self._wanted, self._grants = None, []
            self.close()

    def _run_granted(self) -> None:
        done = [grant for grant in self._grants if grant.done()]
        self._grants = [grant for grant in self._grants if not grant.done()]
        warm = self._switch.active
        if warm is not None and self._assignment in [_result(grant) for grant in done]:
            self._publish(warm, PlanStatus.ACTIVE)

    def _devices(self) -> tuple[str, ...]:
        plan = self._switch.proposal or self._switch.active
        return tuple(plan.devices) if plan is not None else ()

    def _prepare(self, wanted: Sequence[Assignment], now: float) -> None:
        if not wanted or wanted[0] == self._assignment or self._switch.proposal is not None:
            return
        self.close()
        self._assignment = wanted[0]
        self._publish(self._switch.propose(self._compose(wanted[0], now), now), PlanStatus.PROPOSED)

    def _apply(self, outcome: Activate | Drop | None, now: float) -> None:
        if isinstance(outcome, Drop):
            if self._assignment is not None:
                self._failed_until[self._assignment] = now + _RETRY_SECONDS
            self._publish(outcome.plan, PlanStatus.DROPPED)
            self._assignment = None


def _result(future: Future[Any]) -> Any:
    return None if future.exception() else future.result()  # the worker has complained

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's side of shadow frames: keeps the plan prepared that its policy wishes for, and asks for frames under it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any, Final

from edge_dnn_partition.control.scheduling.decider import Decider
from edge_dnn_partition.control.scheduling.switch import Activate, Drop, PlanSwitch
from edge_dnn_partition.msg import FrameReport, Result, StageState
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.plan_messages import plan_message
from edge_dnn_partition.planning.plans.plan import Plan

from .policy_controller import PolicyController

Assignment = tuple[str, ...]

_RETRY_SECONDS: Final = 30.0
"""A plan that could not be prepared is not tried again for so long."""


class ShadowController:
    """Used in the thread that spins.

    :param seat: where the policy sits.
    :param publish: to workers and frame source.
    :param compose: makes the plan of an assignment, under a version of its own.
    :param scheduler: its incarnation.
    """

    def __init__(
        self, controller: PolicyController, publish: Callable[[PlanMessage], None], compose: Callable[[Assignment], Plan],
        scheduler: int,
    ) -> None:
        self._controller, self._publish, self._compose = controller, publish, compose
        self._decider: Decider | None = None
        self._switch = PlanSwitch(scheduler)
        self._assignment: Assignment | None = None
        """Of the plan that is warm or being warmed."""
        self._prefetch_candidates: Future[Sequence[Assignment]] | None = None
        self._grants: list[Future[Assignment | None]] = []
        self._failed_until: dict[Assignment, float] = {}

    def maintain(self, ready: Collection[str], now: float) -> None:
        """Prepare what the policy wishes for; at each decision, unless a switch is under way.

        :param ready: devices that can take part.
        """
        self._same_policy()
        self._apply(self._switch.tick(now), now)
        for device in set(self._devices()) - set(ready):
            self.lost(device)
        self._ask_for_granted()
        if self._decider is None:
            return
        if self._prefetch_candidates is None:
            self._prefetch_candidates = self._decider.prefetch_candidates()
        elif self._prefetch_candidates.done():
            prefetch_candidates, self._prefetch_candidates = self._outcome(self._prefetch_candidates) or (), None
            self._prepare([w for w in prefetch_candidates if set(w) <= set(ready) and self._failed_until.get(w, 0.0) <= now], now)

    def frame_done(self) -> None:
        """Count a frame that has its result: it may earn a shadow frame."""
        self._same_policy()
        if self._decider is not None:
            warm = () if self._switch.active is None or self._assignment is None else (self._assignment,)
            self._grants.append(self._decider.shadow(warm))
            self._ask_for_granted()

    def stage_state(self, message: StageState, now: float) -> None:
        """Take in what a worker says of a plan, if it is this one."""
        if message.state == StageState.READY:
            outcome: Activate | Drop | None = self._switch.ready(message.device, message.plan_version, message.scheduler)
        elif message.state == StageState.FAILED:
            outcome = self._switch.failed(message.device, message.plan_version, message.scheduler, message.reason)
        else:
            warm = self._switch.active
            if warm is not None and warm.version == message.plan_version:
                self._drop()
            return
        self._apply(outcome, now)

    def close(self) -> None:
        """Let the workers release what is prepared for shadow frames."""
        self._drop()

    def lost(self, device: str) -> None:
        """Take in that a worker is gone, or has started anew and has nothing prepared."""
        if device in self._devices():
            self._drop()

    def report(self, message: FrameReport, now: float) -> None:
        """Tell the policy what a shadow frame cost."""
        warm = self._switch.active
        if warm is not None and warm.version == message.plan_version and message.status == Result.OK and self._assignment:
            self._controller.learn_shadow(self._assignment, message, warm, now)

    def _same_policy(self) -> None:
        """Begin anew with a new policy: its plans may be cut elsewhere."""
        if self._decider is not self._controller.decider:
            self._decider = self._controller.decider
            self._prefetch_candidates, self._grants = None, []
            self._drop()

    def _ask_for_granted(self) -> None:
        done = [grant for grant in self._grants if grant.done()]
        self._grants = [grant for grant in self._grants if not grant.done()]
        warm = self._switch.active
        if warm is not None and self._assignment in [self._outcome(grant) for grant in done]:
            self._publish(plan_message(warm, PlanMessage.ACTIVE))

    @staticmethod
    def _outcome(future: Future[Any]) -> Any:
        return None if future.exception() else future.result()  # the decider has complained

    def _devices(self) -> tuple[str, ...]:
        plan = self._switch.proposal or self._switch.active
        return tuple(plan.devices) if plan is not None else ()

    def _prepare(self, prefetch_candidates: Sequence[Assignment], now: float) -> None:
        if not prefetch_candidates or prefetch_candidates[0] == self._assignment or self._switch.proposal is not None:
            return
        self._drop()
        self._assignment = prefetch_candidates[0]
        self._publish(plan_message(self._switch.propose(self._compose(prefetch_candidates[0]), now), PlanMessage.PROPOSED))

    def _apply(self, outcome: Activate | Drop | None, now: float) -> None:
        if isinstance(outcome, Drop):
            if self._assignment is not None:
                self._failed_until[self._assignment] = now + _RETRY_SECONDS
            self._publish(plan_message(outcome.plan, PlanMessage.DROPPED))
            self._assignment = None

    def _drop(self) -> None:
        """Let the workers release what was prepared."""
        for plan in (self._switch.proposal, self._switch.active):
            if plan is not None:
                self._publish(plan_message(plan, PlanMessage.DROPPED))
        self._switch.proposal = self._switch.active = None
        self._assignment = None

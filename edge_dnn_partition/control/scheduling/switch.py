# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How the fleet moves from one plan to the next: propose, wait until all are ready, activate (make before break)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final, Protocol

from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.planning.plans.compose import assignment_of
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.plan import LARGEST_VERSION, Plan, believable, supersedes

Assignment = tuple[str, ...]

_REPEAT_SECONDS: Final = 1.0
"""So long after a plan has come into force a node may still follow the one before."""
_RETRY_SECONDS: Final = 5.0
"""A plan that could not be prepared is not tried again for so long."""


class StagePhase(IntEnum):
    """What a worker says of its stages of a plan; the numbers are those of ``StageState.msg``."""

    PREPARING = 0
    READY = 1
    FAILED = 2
    RELEASED = 3


@dataclass(frozen=True)
class Activate:
    """Every device of the proposal is ready: new frames use it from now on."""

    plan: Plan


@dataclass(frozen=True)
class Drop:
    """The proposal is given up; the old plan goes on."""

    plan: Plan
    reason: str


@dataclass
class PlanSwitch:
    """The scheduler's side of a switch: at most one proposal at a time, each supersedes those before. Time is passed in.

    :param scheduler: its incarnation, which its plans carry.
    :param last_version: the last version given out (kept on disk by the scheduler).
    :param prepare_seconds: after so long without all answers a proposal is given up.
    """

    scheduler: int = 0
    last_version: int = 0
    prepare_seconds: float = 20.0
    active: Plan | None = None
    proposal: Plan | None = None
    _proposed_at: float = 0.0
    _ready: set[str] = field(default_factory=set)

    def next_version(self) -> int:
        """Return the version that the next proposal must carry."""
        return self.last_version % LARGEST_VERSION + 1

    def on_versions(self, version: int, active_version: int = 0, active_scheduler: int = 0) -> Drop | None:
        """Record the last version that a node knows, and which plan it follows.

        A version that was not given out here is of an earlier scheduler, whose record this one lacks: what was proposed or
        activated meanwhile counts for nothing, since it does not supersede that. A version far above is not believed, and
        need not be: plans from here supersede it. So no made-up number keeps the fleet from following.

        :return: Drop if a proposal was under way.
        """
        known = self.active
        clash = known is not None and active_version == known.version and active_scheduler != known.scheduler
        if believable(version, self.last_version):
            self.last_version = version
        elif not clash:
            return None
        plan, self.active, self.proposal = self.proposal, None, None
        return Drop(plan, f'the fleet knows version {version} already') if plan is not None else None

    def reserve(self) -> int:
        """Return a version for a plan that is never to be in force, such as one for shadow frames."""
        self.last_version = self.next_version()
        return self.last_version

    def to_repeat(self, active_version: int) -> Plan | None:
        """Return the plan in force if a node that follows a version (0: none) must receive it again."""
        return self.active if self.active is not None and supersedes(self.active.version, active_version) else None

    def adopt(self, plan: Plan) -> None:
        """Make a plan the one in force that an earlier scheduler activated and that every device of it still has."""
        if supersedes(plan.version, self.last_version):
            self.last_version = plan.version
        self.active = plan

    def propose(self, plan: Plan, now: float) -> Plan:
        """Make a plan the proposal, in place of one that is under way, and return it as this scheduler's.

        :raises ValueError: if the version has been given out before.
        """
        if not supersedes(plan.version, self.last_version):
            raise ValueError(f'version {plan.version} is in use already')
        self.last_version = plan.version
        self.proposal = replace(plan, scheduler=self.scheduler)
        self._proposed_at = now
        self._ready = set()
        return self.proposal

    def _concerned(self, device: str, version: int, scheduler: int) -> Plan | None:
        plan = self.proposal
        if plan is None or (plan.version, plan.scheduler) != (version, scheduler) or device not in plan.devices:
            return None
        return plan

    def on_stage(self, message: Any) -> Activate | Drop | None:
        """Record what a worker says of its stages (StageState); return what follows for the proposal."""
        if message.state == StagePhase.READY:
            return self.ready(message.device, message.plan_version, message.scheduler)
        if message.state == StagePhase.FAILED:
            return self.failed(message.device, message.plan_version, message.scheduler, message.reason)
        return None

    @property
    def unprepared(self) -> tuple[str, ...]:
        """The devices of the proposal that are not ready."""
        return () if self.proposal is None else tuple(name for name in self.proposal.devices if name not in self._ready)

    def ready(self, device: str, version: int, scheduler: int) -> Activate | None:
        """Record a worker's READY; return Activate if it was the last one.

        :param scheduler: whose plan it is.
        """
        plan = self._concerned(device, version, scheduler)
        if plan is None:
            return None
        self._ready.add(device)
        if not set(plan.devices) <= self._ready:
            return None
        self.active, self.proposal = plan, None
        return Activate(plan)

    def failed(self, device: str, version: int, scheduler: int, reason: str) -> Drop | None:
        """Record a worker's FAILED; return Drop if it concerns the proposal."""
        plan = self._concerned(device, version, scheduler)
        if plan is None:
            return None
        self.proposal = None
        return Drop(plan, f'{device}: {reason}')

    def give_up(self, reason: str) -> Drop | None:
        """Give up a proposal that is under way."""
        plan, self.proposal = self.proposal, None
        return None if plan is None else Drop(plan, reason)

    def lost(self, device: str) -> Drop | None:
        """Record the loss of a device; a proposal that needs it is given up."""
        plan = self.proposal
        if plan is None or device not in plan.devices:
            return None
        self.proposal = None
        return Drop(plan, f'{device} is gone')

    def tick(self, now: float) -> Drop | None:
        """Give up a proposal that has not been prepared in time."""
        plan = self.proposal
        if plan is None or now - self._proposed_at < self.prepare_seconds:
            return None
        missing, self.proposal = self.unprepared, None
        return Drop(plan, f'{", ".join(missing)} not ready within {self.prepare_seconds:g} s')


class Outlet(Protocol):
    """Where what a scheduler decides goes: a node publishes it, a simulation hands it over."""

    def publish_plan(self, plan: Plan, status: PlanStatus, *, shadow: bool = False) -> None:
        """Send a plan to workers and frame source.

        :param shadow: it is for shadow frames, and never in force.
        """

    def on_move(self, now: float) -> None:
        """Learn that a plan was proposed, or has come into force."""

    def on_move_end(self, outcome: Activate | Drop) -> None:
        """Learn how a move has ended."""

    def others_publish(self) -> bool:
        """Return whether another scheduler of this fleet publishes plans."""

    def info(self, text: str) -> None:
        """Log a line."""

    def warn(self, kind: str, text: str) -> None:
        """Log a warning, once for each kind while it recurs."""

    def refuse(self, kind: str, text: str) -> None:
        """Log and count what was refused."""


class Mover:
    """Moves the fleet from plan to plan, and goes on from what an earlier scheduler published. Not thread safe.

    :param on_plan: called when another plan comes into force, with its assignment (None: the problem cannot express it, or no
        plan is in force).
    """

    def __init__(
        self, outlet: Outlet, scheduler: int, prepare_seconds: float, on_plan: Callable[[Assignment | None, float], None]
    ) -> None:
        self._outlet, self._on_plan = outlet, on_plan
        self._earlier: Plan | None = None
        """The plan of an earlier scheduler, until it is known whether it goes on."""
        self._published_at = -math.inf
        self._followed: dict[tuple[str, str], tuple[int, int]] = {}
        """Scheduler and version of the plan that each worker follows, and the frame source."""
        self._prepared: dict[str, frozenset[int]] = {}
        """By device, the versions that its worker has prepared."""
        self._proposed: Assignment | None = None
        self._failed_until: dict[object, float] = {}
        self.switch = PlanSwitch(scheduler, prepare_seconds=prepare_seconds)
        """The plan in force, and the one that is proposed."""
        self.resumed_version = 0
        """Of a plan that was in force before this scheduler."""

    def start(self, last_version: int, earlier: Plan | None) -> None:
        """Go on from an earlier scheduler's last version and plan, unless this one has moved the fleet already."""
        self.switch.last_version = max(self.switch.last_version, last_version)
        if self.switch.active is None:
            self._earlier = earlier

    def propose(self, plan: Plan, assignment: Assignment | None, now: float) -> None:
        """Ask the workers to prepare a plan.

        :param assignment: the device of each of the problem's nodes; None if the problem cannot cut there.
        """
        plan = self.switch.propose(plan, now)
        self._proposed = assignment
        self._outlet.publish_plan(plan, PlanStatus.PROPOSED)
        self._outlet.on_move(now)

    def tick(self, alive: Collection[str], now: float) -> None:
        """Give up a proposal that has not been prepared in time, or a device of which is gone."""
        self._apply(self.switch.tick(now), now)
        for device in self.switch.proposal.devices if self.switch.proposal else ():
            if device not in alive:
                self.on_loss(device, now)

    def give_up(self, reason: str, now: float) -> None:
        """Drop a proposal that is under way, which is no failure of it."""
        self._apply(self.switch.give_up(reason), now)
        self.forget_failures()

    def on_loss(self, device: str, now: float) -> None:
        """Give up a proposal that needs a worker that is gone, or has restarted and has nothing prepared."""
        self._apply(self.switch.lost(device), now)

    def on_stage(self, message: Any, now: float) -> None:
        """Record what a worker says of its stages of a plan (StageState)."""
        self._apply(self.switch.on_stage(message), now)

    def failed_lately(self, what: object, now: float) -> bool:
        """Return whether an assignment, or a placement that is none, could not be prepared a short while ago."""
        return self._failed_until.get(what, -math.inf) > now

    def forget_failures(self) -> None:
        """Let plans be proposed that could not be prepared lately."""
        self._failed_until.clear()

    def _apply(self, outcome: Activate | Drop | None, now: float) -> None:
        if outcome is None:
            return
        plan = outcome.plan
        if isinstance(outcome, Activate):
            self._published_at = now
            self._outlet.publish_plan(plan, PlanStatus.ACTIVE)
            self._on_plan(self._proposed, now)
            self._outlet.on_move(now)
            coded = ''.join(f', {t.tensor!r} as {t.encoding}' for t in plan.transfers if t.encoding != RAW)
            self._outlet.info(f'plan {plan.version}: {plan.label()} ({plan.reason}){coded}')
        else:
            self._outlet.publish_plan(replace(plan, reason=outcome.reason), PlanStatus.DROPPED)
            self._failed_until[self._proposed or plan.placement] = now + _RETRY_SECONDS
            reason = f'dropped, the plan in force stays: {outcome.reason}'
            self._outlet.warn(reason, f'plan {plan.version} {reason}')
        self._outlet.on_move_end(outcome)

    # What the fleet follows ------------------------------------------------------------------------------------

    def on_heartbeat(self, message: Any, now: float) -> None:
        """Go on from the versions that the fleet knows, even if this scheduler's own record of them is gone (Heartbeat)."""
        if message.node not in ('worker', 'frame_source'):
            return
        if message.node == 'worker':
            self._prepared[message.device] = frozenset(message.plan_versions)
        self._followed[message.device, message.node] = message.active_scheduler, message.active_version
        plan = self.switch.to_repeat(message.active_version)
        if plan is not None and now - self._published_at > _REPEAT_SECONDS:
            self._published_at = now
            self._outlet.publish_plan(plan, PlanStatus.ACTIVE)
        active = self.switch.active
        self._apply(self.switch.on_versions(message.last_version, message.active_version, message.active_scheduler), now)
        if active is not None and self.switch.active is None:
            others = '; another scheduler of this fleet runs, or ran a moment ago: run one' if self._outlet.others_publish() else ''
            self._outlet.warn(
                'versions',
                f'{message.device} knows version {message.last_version}, so that no node follows plan {active.version}; '
                f'proposing another{others}',
            )
            self._on_plan(None, now)

    def resume(self, ready: Collection[str], boundaries: Sequence[int], now: float, until: float) -> bool:
        """Go on with an earlier scheduler's plan, if every device of it still has it.

        :param boundaries: the layers before which the present problem may cut.
        :param until: how long to wait for workers that may have it.
        :return: False while that is not known; the stream goes on meanwhile.
        """
        plan = self._earlier
        if plan is None:
            return True
        followed = {which for which in self._followed.values() if which[1]}
        if not followed or (plan.scheduler, plan.version) in followed:  # else the record is of an older plan than the one in force
            if all(device in ready and plan.version in self._prepared.get(device, ()) for device in plan.devices):
                self._go_on(plan, boundaries, now)
            elif any(self._prepared.values()) and now < until:
                return False
        self._earlier = None
        return True

    def _go_on(self, plan: Plan, boundaries: Sequence[int], now: float) -> None:
        self.switch.adopt(plan)
        self.resumed_version = plan.version
        self._on_plan(assignment_of(plan.placement, boundaries), now)
        self._outlet.publish_plan(plan, PlanStatus.ACTIVE)
        self._outlet.info(f'resuming plan {plan.version}: {plan.label()}')

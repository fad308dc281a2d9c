# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How the fleet moves from one plan to the next: propose, wait until all are ready, activate (make before break)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edge_dnn_partition.planning.plans.plan import LARGEST_VERSION, Plan, believable, supersedes


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

    def heard(self, version: int, active_version: int = 0, active_scheduler: int = 0) -> Drop | None:
        """Take in the last version that somebody in the fleet knows, and which plan it follows.

        A version that was not given out here is of a scheduler before, whose record this one lacks: what was proposed or activated
        meanwhile counts for nothing, since it does not supersede that. One that is far above is believed of nobody, and need
        not be: plans from here supersede it. So no number that is made up keeps the fleet from following.

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

    def unheard(self, active_version: int) -> Plan | None:
        """Return the plan in force if it is to be said again, to a node that follows one that it supersedes (0: none)."""
        return self.active if self.active is not None and supersedes(self.active.version, active_version) else None

    def adopt(self, plan: Plan) -> None:
        """Take a plan for the one in force that an earlier scheduler activated and that every device of it still has."""
        if supersedes(plan.version, self.last_version):
            self.last_version = plan.version
        self.active = plan

    def propose(self, plan: Plan, now: float) -> Plan:
        """Begin with a proposal, and return it as this scheduler's; one that is under way is replaced.

        :raises ValueError: if the version has been given out before.
        """
        if not supersedes(plan.version, self.last_version):
            raise ValueError(f'version {plan.version} has been given out')
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

    def ready(self, device: str, version: int, scheduler: int) -> Activate | None:
        """Take a worker's READY in; return Activate if it was the last one.

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
        """Take a worker's FAILED in; return Drop if it concerns the proposal."""
        plan = self._concerned(device, version, scheduler)
        if plan is None:
            return None
        self.proposal = None
        return Drop(plan, f'{device}: {reason}')

    def give_up(self, reason: str) -> Drop | None:
        """Give a proposal up that is under way."""
        plan, self.proposal = self.proposal, None
        return None if plan is None else Drop(plan, reason)

    def lost(self, device: str) -> Drop | None:
        """Take the loss of a device in; a proposal that needs it is given up."""
        plan = self.proposal
        if plan is None or device not in plan.devices:
            return None
        self.proposal = None
        return Drop(plan, f'{device} is gone')

    def tick(self, now: float) -> Drop | None:
        """Give a proposal up that nobody answers."""
        plan = self.proposal
        if plan is None or now - self._proposed_at < self.prepare_seconds:
            return None
        missing = [d for d in plan.devices if d not in self._ready]
        self.proposal = None
        return Drop(plan, f'{", ".join(missing)} did not get ready within {self.prepare_seconds:g} s')

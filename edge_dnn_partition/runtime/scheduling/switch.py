# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How the fleet moves from one plan to the next: propose, wait until all are ready, activate (make before break)."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_dnn_partition.planning.plans.plan import Plan


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
    """The scheduler's side of a switch: at most one proposal at a time, versions only rise. Time is passed in.

    :param last_version: the largest version ever given out (kept on disk by the scheduler).
    :param prepare_seconds: after so long without all answers a proposal is given up.
    """

    last_version: int = 0
    prepare_seconds: float = 20.0
    active: Plan | None = None
    proposal: Plan | None = None
    _proposed_at: float = 0.0
    _ready: set[str] = field(default_factory=set)

    def next_version(self) -> int:
        """Return the version that the next proposal must carry."""
        return self.last_version + 1

    def heard(self, version: int) -> Drop | None:
        """Take in a version that somebody in the fleet knows.

        One that was not given out here is of a scheduler before, whose record this one lacks: what was proposed or
        activated meanwhile counts for nothing, since the fleet follows only versions that rise.

        :return: Drop if a proposal was under way.
        """
        if version <= self.last_version:
            return None
        self.last_version = version
        plan, self.active, self.proposal = self.proposal, None, None
        return Drop(plan, f'the fleet knows version {version} already') if plan is not None else None

    def reserve(self) -> int:
        """Return a version for a plan that is never to be in force, such as one for shadow frames."""
        self.last_version += 1
        return self.last_version

    def unheard(self, active_version: int) -> Plan | None:
        """Return the plan in force if it is to be said again, to a node that follows this older one (0: none)."""
        return self.active if self.active is not None and active_version < self.active.version else None

    def adopt(self, plan: Plan) -> None:
        """Take a plan for the one in force that an earlier scheduler activated and that every device of it still has."""
        self.last_version = max(self.last_version, plan.version)
        self.active = plan

    def propose(self, plan: Plan, now: float) -> None:
        """Begin with a proposal; one that is under way is replaced.

        :raises ValueError: if the version has been given out before.
        """
        if plan.version <= self.last_version:
            raise ValueError(f'version {plan.version} has been given out')
        self.last_version = plan.version
        self.proposal = plan
        self._proposed_at = now
        self._ready = set()

    def ready(self, device: str, version: int) -> Activate | None:
        """Take a worker's READY in; return Activate if it was the last one."""
        plan = self.proposal
        if plan is None or plan.version != version or device not in plan.devices:
            return None
        self._ready.add(device)
        if not set(plan.devices) <= self._ready:
            return None
        self.active, self.proposal = plan, None
        return Activate(plan)

    def failed(self, device: str, version: int, reason: str) -> Drop | None:
        """Take a worker's FAILED in; return Drop if it concerns the proposal."""
        plan = self.proposal
        if plan is None or plan.version != version or device not in plan.devices:
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

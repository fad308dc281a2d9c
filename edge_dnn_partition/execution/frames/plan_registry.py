# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The plans that a node knows of, and what a worker does about each message on one."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.plans.plan import LARGEST_VERSION, Plan, believable, supersedes

LINGER_SECONDS: Final = 10.0
"""A worker keeps a plan for so long after it is no longer in force: frames of it may still be on their way."""

PATIENCE_SECONDS: Final = 3.0
"""A node that has started waits so long for a plan from the scheduler before it follows the one on disk."""


class PlanStatus(IntEnum):
    """What a message says of a plan; the numbers are those of ``Plan.msg``."""

    PROPOSED = 0
    ACTIVE = 1
    DROPPED = 2


@dataclass(frozen=True)
class Prepare:
    """Load and warm up this device's stages, then answer READY or FAILED."""

    plan: Plan


@dataclass(frozen=True)
class Release:
    """Let a plan's stages and frames go."""

    version: int


@dataclass
class PlanRegistry:
    """The plan in force as far as one node knows; each supersedes the one before. Time is passed in; not thread safe."""

    active: Plan | None = None
    last_version: int = 0
    """The last version received, proposals included."""
    _recall_at: float = math.inf

    @property
    def active_version(self) -> int:
        """The version of the plan in force; 0: none is known."""
        return 0 if self.active is None else self.active.version

    @property
    def active_scheduler(self) -> int:
        """Who made the plan in force; 0: none is known."""
        return 0 if self.active is None else self.active.scheduler

    def begin(self, now: float, kept_version: int = 0) -> None:
        """The node has started: wait for a plan of the scheduler's for a while.

        :param kept_version: of the plan on disk; it counts as received, so that no other plan gets it.
        """
        self.last_version = max(self.last_version, kept_version)
        self._recall_at = now + PATIENCE_SECONDS

    def recall_due(self, now: float) -> bool:
        """Return True, once, when no scheduler has published a plan for so long that the one on disk is to be followed."""
        if self.active is not None or now < self._recall_at:
            return False
        self._recall_at = math.inf
        return True

    def on_plan(self, plan: Plan, status: PlanStatus) -> bool:
        """Take a message in; return True if it puts another plan in force (which is to be kept on disk).

        :raises PlanError: if no plan has such a version.
        """
        if not 0 < plan.version <= LARGEST_VERSION:
            raise PlanError(f'plan version {plan.version} is out of range: versions go from 1 to {LARGEST_VERSION}')
        if supersedes(plan.version, self.last_version):
            self.last_version = plan.version
        if status is not PlanStatus.ACTIVE or not supersedes(plan.version, self.active_version):
            return False
        self.active = plan
        return True


@dataclass
class WorkerPlans(PlanRegistry):
    """A worker's decisions about plans.

    :param device: the worker's.
    """

    device: str = ''
    _old_since: dict[int, float] = field(default_factory=dict)
    _asked: dict[int, int] = field(default_factory=dict)
    """Whose plans were to be prepared, by version."""

    def task(self, plan: Plan, status: PlanStatus, prepared: Collection[int]) -> Prepare | Release | None:
        """Return what a message about a plan asks for.

        :param prepared: the versions whose stages are loaded here.
        """
        if status is PlanStatus.DROPPED:
            return Release(plan.version)
        known = plan.version in prepared and self._asked.get(plan.version, plan.scheduler) == plan.scheduler
        old = plan.version != self.active_version and not supersedes(plan.version, self.active_version)
        if self.device not in plan.devices or known or old:
            return None
        self._asked = {v: scheduler for v, scheduler in self._asked.items() if v in prepared} | {plan.version: plan.scheduler}
        return Prepare(plan)

    def idle(self, prepared: Collection[int], drained: Callable[[int], bool], now: float) -> tuple[int, ...]:
        """Return the plans to let go: older than the one in force for a while, without frames; the newest of them stays.

        A frame may be on its way here from a device before this one, so that none is here yet.
        """
        old = sorted(
            version for version in prepared
            if version <= LARGEST_VERSION and version != self.active_version and not believable(version, self.active_version)
        )  # fmt: skip
        self._old_since = {version: self._old_since.get(version, now) for version in old}
        return tuple(version for version in old[:-1] if now - self._old_since[version] >= LINGER_SECONDS and drained(version))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How many frames may be under way: what a plan has room for, and what takes it. Time is passed in; not thread safe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_dnn_partition.planning.plans.plan import Plan

from .admission import apart
from .hedge import Hedger
from .ledger import Frame, FrameLedger
from .repetition import SourcePlans
from .settings import Settings


@dataclass
class Room:
    """What the frames under way leave to others.

    :param hedges: runs all on the source.
    :param settings: returns those that hold now.
    :param one_by_one: the model carries state, so that frames run one at a time.
    """

    ledger: FrameLedger
    plans: SourcePlans
    hedger: Hedger
    hedges: Plan
    settings: Callable[[], Settings]
    one_by_one: bool

    def most(self, plan: Plan) -> int:
        """Return how many frames may be under way."""
        return 1 if self.one_by_one else self.settings().max_in_flight or plan.max_in_flight

    def busy(self, plan: Plan) -> int:
        """Return how many frames take room of a plan: those of others do not that it shares nothing with, nor what links hold up
        where it needs none. Where a user bounds them all, all do.
        """
        if self.one_by_one or self.settings().max_in_flight:
            return self.ledger.in_flight
        here = set(plan.devices) == {plan.source}
        known = ((frame, self.plans.plan_of(frame)) for frame in self.ledger.unfinished)
        return sum(
            frame.plan_version == plan.version or other is None or not (here or apart(plan, other)) for frame, other in known
        )

    def may_overtake(self, frame: Frame, plan: Plan, now: float) -> bool:
        """Return whether the plan in force has room for a frame of an earlier one, whose result would be in time.

        A hedge that is under way is the same where that plan runs all on this device.
        """
        max_age = self.settings().max_age
        if max_age > 0 and now - frame.accepted_at + plan.latency_seconds > max_age:
            return False
        if plan.placement == self.hedges.placement and self.hedger.under_way(frame.frame_number):
            return False
        return sum(other.plan_version == plan.version for other in self.ledger.unfinished) < self.most(plan)

    @property
    def suspects(self) -> bool:
        """Whether a frame that may kill workers is under way, so that it runs alone."""
        return any(self.plans.suspect(frame.frame_number) for frame in self.ledger.unfinished)

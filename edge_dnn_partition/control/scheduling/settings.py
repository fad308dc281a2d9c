# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a scheduler is set to, as its parameters of the same names; `replay` and simulations use the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edge_dnn_partition.control.decision.auto import TakeoverSettings
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.state.derating import DeratingSettings
from edge_dnn_partition.planning.plans.encodings import Permitted


@dataclass(frozen=True)
class SchedulerSettings:
    """All of a scheduler's settings; one that changes is a new object.

    :param policy: ``exact``, ``q_learning``, ``auto`` or ``fixed``.
    :param fixed_plan: the plan that ``fixed`` keeps to, as a label; empty: the one in force.
    :param decide: the objective and the hysteresis.
    :param exploration: share of the frames that may run once more under another plan.
    """

    policy: str = 'auto'
    fixed_plan: str = ''
    decide: Settings = field(default_factory=Settings)
    takeover: TakeoverSettings = field(default_factory=lambda: TakeoverSettings(hold_seconds=1.5))
    exploration: float = 0.02
    decision_period: float = 0.25
    heartbeat_timeout: float = 1.0
    prepare_timeout: float = 20.0
    settle_seconds: float = 1.5
    input_bytes: float = 150_000.0
    permitted: Permitted = field(default_factory=Permitted)
    derating: DeratingSettings = field(default_factory=DeratingSettings)

    @property
    def is_fixed(self) -> bool:
        """Whether a plan is pinned."""
        return self.policy == 'fixed'

    @property
    def derating_now(self) -> DeratingSettings:
        """How much batteries and throttling count; a pinned plan is kept whoever should be spared."""
        return replace(self.derating, battery_limit=0.0, throttling=False) if self.is_fixed else self.derating

    def same_policy(self, other: SchedulerSettings) -> bool:
        """Return whether a policy that was made by these settings can go on under others."""
        return self._of_policy == other._of_policy

    @property
    def _of_policy(self) -> tuple[object, ...]:
        return self.policy, self.decide, self.takeover, self.exploration

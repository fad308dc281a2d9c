# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy whose switches are held against what came true; the record of that sets its hysteresis."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate

from .calibration import Calibration
from .components import Assignment
from .decide import feasible
from .policy import Choice, Conditions, Frame, Policy

UNKNOWN: Final = Costs(math.nan, math.nan, math.nan, 0, False)

class RecordedPolicy:
    """Passes everything on to a policy, keeps the record, and tells the policy its hysteresis.

    :param policy: whose choices these are.
    :param record: goes on from policy to policy.
    :param objective: gains are held against frames where a frame tells its cost: for latency and energy. Those of
        moves that Q-learning made are left out: it saw more in them than the planner.
    """

    def __init__(self, policy: Policy, record: Calibration, *, objective: str = 'latency') -> None:
        self.policy, self.record, self.objective = policy, record, objective
        self._conditions: Conditions | None = None
        self._present: Assignment | None = None

    @property
    def learning(self) -> bool:
        """Whether Q-learning decides at present."""
        return bool(getattr(self.policy, 'learning', False))

    def choose(self, conditions: Conditions) -> Choice:
        """Return the policy's choice, under the hysteresis of the record."""
        self._conditions = conditions = replace(conditions, least_gain=self.record.hysteresis)
        return self.policy.choose(conditions)

    def moved(self, now: float, plan: Assignment) -> None:
        """Note what is predicted of a plan that has come into force, and of the one before."""
        if plan != self._present:
            if self._conditions is not None:
                told = self.objective in ('latency', 'energy') and not self.learning
                old = self._costs(self._present) if told else UNKNOWN
                new = self._costs(plan)
                joules = (old.energy_joules, new.energy_joules) if self.objective == 'energy' else None
                self.record.switched(
                    new.latency_seconds, self._conditions.deviation, old_predicted_seconds=old.latency_seconds, joules=joules
                )
            self._present = plan
        self.policy.moved(now, plan)

    def learn(self, frame: Frame) -> None:
        """Hold a frame against the prediction."""
        if not frame.shadow and frame.plan == self._present:
            self.record.frame(frame.cost, frame.joules if self.objective == 'energy' else None)
        self.policy.learn(frame)

    def _costs(self, plan: Assignment | None) -> Costs:
        """Return what a plan is predicted to cost under the encodings that it has; unknown if it cannot run."""
        if plan is None or self._conditions is None or not feasible(self._conditions.problem, plan):
            return UNKNOWN
        return evaluate(self._conditions.problem_of(plan), plan)

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:
        """Return the prepared plan to run the next frame under too, or None."""
        return self.policy.shadow(warm)

    def wishes(self) -> Sequence[Assignment]:
        """Return the plans that are worth being kept prepared."""
        return self.policy.wishes()

    def tend(self, conditions: Conditions) -> None:
        """Tend the policy."""
        self.policy.tend(conditions)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy whose switches are held against what came true; the record of that sets its hysteresis."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from .calibration import Calibration
from .components import Assignment
from .decide import feasible
from .evaluate import evaluate
from .policy import Choice, Conditions, Frame, Policy


class RecordedPolicy:
    """Passes everything on to a policy, keeps the record, and tells the policy its hysteresis.

    :param policy: whose choices these are.
    :param record: goes on from policy to policy.
    :param gains: whether a gain is one of time (objective latency), so that frames can tell whether it came true. Gains of
        moves that Q-learning made are left out: it saw more in them than the planner.
    """

    def __init__(self, policy: Policy, record: Calibration, *, gains: bool = True) -> None:
        self.policy, self.record, self.gains = policy, record, gains
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
            old = math.nan
            if self._conditions is not None:
                problem = self._conditions.problem
                told = self.gains and not self.learning
                if told and self._present is not None and feasible(problem, self._present):
                    old = evaluate(self._conditions.problem_of(self._present), self._present).latency_seconds
                new = evaluate(self._conditions.problem_of(plan), plan).latency_seconds if feasible(problem, plan) else math.nan
                self.record.switched(new, self._conditions.deviation, old_predicted_seconds=old)
            self._present = plan
        self.policy.moved(now, plan)

    def learn(self, frame: Frame) -> None:
        """Hold a frame against the prediction."""
        if not frame.shadow and frame.plan == self._present:
            self.record.frame(frame.cost)
        self.policy.learn(frame)

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:
        """Return the prepared plan to run the next frame under too, or None."""
        return self.policy.shadow(warm)

    def wishes(self) -> Sequence[Assignment]:
        """Return the plans that are worth being kept prepared."""
        return self.policy.wishes()

    def tend(self, conditions: Conditions) -> None:
        """Tend the policy."""
        self.policy.tend(conditions)

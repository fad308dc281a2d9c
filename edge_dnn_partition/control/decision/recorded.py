# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy whose switches are assessed, and which learns from no frame that a step overlapped."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.objectives import Latency, Objective

from .calibration import Calibration
from .policy import Assignment, Choice, Conditions, Frame, Policy, feasible
from .steps import FEW_DEVICES, FRAMES, SETTLE_SECONDS, Steps, resources_of, signs_of

UNKNOWN: Final = Costs(math.nan, math.nan, math.nan, 0, False)
_MOST_HELD: Final = 256
_TRIED_SECONDS: Final = 60.0
"""A plan that was in force within so long was tried lately."""
_FEW: Final = 3
"""The median of so many frames is what is looked at for steps: one that is late is none."""


class RecordedPolicy:
    """Passes everything on to a policy, keeps the record of switches, and adds hysteresis and steps to the conditions.

    A frame is held back until the next decision, since it comes before the estimates that it changes. If an estimate that its
    plan depends on has made a step by then, it ran under two conditions and is dropped.

    :param policy: whose choices these are.
    :param record: goes on from policy to policy.
    :param objective: of the policy; None: latency. Gains are assessed where a frame shows its cost. Those of
        moves that Q-learning made are left out: it saw more in them than the planner.
    """

    def __init__(self, policy: Policy, record: Calibration, objective: Objective | None = None) -> None:
        self.policy, self.record, self._objective = policy, record, objective or Latency()
        self._conditions: Conditions | None = None
        self._present: Assignment | None = None
        self._before: Assignment | None = None
        self._tried: dict[Assignment, float] = {}
        """When each plan was last in force."""
        self._steps = Steps()
        self._over: deque[float] = deque([1.0] * _FEW, maxlen=_FEW)
        """What the last frames cost over their predictions."""
        self._costs: dict[Assignment, Costs] = {}
        """Of plans under the present conditions."""
        self._held: deque[tuple[Frame, Costs, Costs]] = deque(maxlen=_MOST_HELD)
        """Frames since the last decision, with what was predicted for their plan, and for the one before."""

    @property
    def learning(self) -> bool:
        """Whether Q-learning decides at present."""
        return bool(getattr(self.policy, 'learning', False))

    def choose(self, conditions: Conditions) -> Choice:
        """Return the policy's choice, under the hysteresis of the record."""
        signs = {**signs_of(conditions.problem, self._present or ()), FRAMES: median(self._over)}
        if self._steps.observe(conditions.now, signs, appearing=len(conditions.problem.names) <= FEW_DEVICES):
            self._stepped(conditions)
        self._pass_frames_on(conditions)
        if self._present is not None:
            self._tried[self._present] = conditions.now
        self._tried = {plan: at for plan, at in self._tried.items() if conditions.now - at < _TRIED_SECONDS}
        self._conditions = conditions = replace(
            conditions, least_gain=self.record.hysteresis, steps=self._steps, tried=tuple(self._tried)
        )
        self._costs = {}
        return self.policy.choose(conditions)

    def _stepped(self, conditions: Conditions) -> None:
        """Inform the record of a step that concerns the switch being assessed.

        An estimate that changes where only the new plan uses it was wrong, rather than that it has made a step.
        """
        if not self.record.assessing or self._present is None or self._before is None:
            return
        new, old = (resources_of(conditions.problem, plan) for plan in (self._present, self._before))
        if self._steps.last(new & old) == conditions.now:
            self.record.stepped()
        elif self._steps.last(old - new) == conditions.now:
            self.record.stepped(old_only=True)

    def _pass_frames_on(self, conditions: Conditions) -> None:
        """Pass the frames that were held back on to policy and record."""
        while self._held:
            frame, predicted, old_predicted = self._held.popleft()
            stepped_at = self._steps.last(resources_of(conditions.problem, frame.plan))
            if frame.now - frame.cost < stepped_at + SETTLE_SECONDS:
                continue
            if not frame.shadow and frame.plan == self._present:
                joules = frame.joules if self._objective.is_energy else None
                self.record.frame(
                    frame.cost, joules, predicted=self._value(predicted), old_predicted=self._value(old_predicted)
                )
                if 0 < predicted.latency_seconds < math.inf and frame.cost > 0:
                    self._over.append(frame.cost / predicted.latency_seconds)
            self.policy.learn(frame)

    def _value(self, costs: Costs) -> float:
        return costs.energy_joules if self._objective.is_energy else costs.latency_seconds

    def moved(self, now: float, plan: Assignment) -> None:
        """Note what is predicted of a plan that has come into force, and of the one before."""
        if plan != self._present:
            if self._conditions is not None:
                self._pass_frames_on(self._conditions)
                assessed = (self._objective.is_latency or self._objective.is_energy) and not self.learning
                old = self._costs_of(self._present) if assessed else UNKNOWN
                new = self._costs_of(plan)
                joules = (old.energy_joules, new.energy_joules) if self._objective.is_energy else None
                self.record.switched(
                    new.latency_seconds, self._conditions.deviation, old_predicted_seconds=old.latency_seconds, joules=joules
                )
            self._before, self._present = self._present, plan
            self._steps.mark()
        self.policy.moved(now, plan)

    def learn(self, frame: Frame) -> None:
        """Hold a frame back until the next decision, with what is predicted for it now."""
        old = self._costs_of(self._before) if self.record.assessing else UNKNOWN
        self._held.append((frame, self._costs_of(frame.plan), old))

    def _costs_of(self, plan: Assignment | None) -> Costs:
        """Return what a plan is predicted to cost now under the encodings that it has; unknown if it cannot run."""
        if plan is None or self._conditions is None or not feasible(self._conditions.problem, plan):
            return UNKNOWN
        if plan not in self._costs:
            self._costs[plan] = evaluate(self._conditions.problem_for(plan), plan)
        return self._costs[plan]

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:
        """Return the prepared plan to run the next frame under too, or None."""
        return self.policy.shadow(warm)

    def prefetch_candidates(self) -> Sequence[Assignment]:
        """Return the plans that are worth being kept prepared."""
        return self.policy.prefetch_candidates()

    def maintain(self, conditions: Conditions) -> None:
        """Let the policy do what may take long."""
        self.policy.maintain(conditions)

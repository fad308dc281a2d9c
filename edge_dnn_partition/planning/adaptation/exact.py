# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that follows the exact planner, with or without what frames have shown it to miss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_dnn_partition.planning.cost_model.problem import Problem

from .ahead import Ahead
from .components import Assignment, Predictor, corrected
from .decide import decide
from .hysteresis import Hysteresis, Settings
from .policy import Choice, Conditions, Frame, StillPolicy
from .residuals import ResidualFilter


class ExactPolicy(StillPolicy):
    """Decides by :func:`.decide.decide` on estimates that residuals of devices and links correct.

    :param devices: the fleet's devices.
    :param residuals: what corrects the estimates; None: nothing does.
    :param hysteresis: what moves pass through; None: one of the settings.
    """

    def __init__(
        self,
        devices: Sequence[str],
        settings: Settings | None = None,
        residuals: ResidualFilter | None = None,
        *,
        hysteresis: Hysteresis | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.predictor = Predictor(devices, self.settings.objective)
        self.residuals = residuals
        self.hysteresis = hysteresis or Hysteresis(self.settings)
        self._ahead = Ahead(self.settings.goal)
        self._conditions: Conditions | None = None

    def choose(self, conditions: Conditions) -> Choice:
        """Return what :func:`.decide.decide` says of the corrected problem."""
        if self.residuals is not None:
            self.residuals.advance(conditions.now)
            self.residuals.telemetry(self.predictor.levels(conditions.problem))
        problem = self._corrected(conditions.problem)
        self._conditions = conditions
        decision = decide(
            conditions.now, problem, self.hysteresis, deviation=conditions.deviation, least_gain=conditions.least_gain,
            under=lambda plan: self._corrected(conditions.problem_of(plan)), stepped_at=conditions.stepped_at,
            known=self._ahead.known(problem),
        )  # fmt: skip
        return Choice(decision.assignment, decision.reason, decision.costs, decision.values)

    def tend(self, conditions: Conditions) -> None:
        """Look for a better plan than the last decision found, while the conditions hold."""
        self._ahead.improve(self._corrected(conditions.problem))

    def _corrected(self, problem: Problem) -> Problem:
        if self.residuals is None:
            return problem
        return corrected(problem, self.predictor.devices, self.residuals.component_logs)

    def moved(self, now: float, plan: Assignment) -> None:
        """Remember the plan in force and since when."""
        self.hysteresis.moved(now, plan)

    def learn(self, frame: Frame) -> None:
        """Correct the residuals of the devices and links on the frame's way."""
        if self.residuals is not None and self._conditions is not None and frame.cost > 0:
            found = self.predictor.components(self._conditions.problem_of(frame.plan), (frame.plan,))
            self.residuals.advance(frame.now)
            self.residuals.update(found, 0, None, math.log(frame.cost))

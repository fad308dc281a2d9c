# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that lets the exact planner decide while its predictions hold, and learning while they do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_dnn_partition.planning.cost_model.evaluate import evaluate

from .exact import ExactPolicy
from .hysteresis import Settings
from .policy import Assignment, Choice, Conditions, Frame, feasible
from .qlearning import LearningSettings, QLearningPolicy


@dataclass(frozen=True)
class TakeoverSettings:
    """What makes the planner count as wrong, and as right again.

    :param threshold: mean absolute logarithm of measured over predicted cost.
    :param hold_seconds: for so much evidence on end it must be above to take over.
    :param agree_share: below this share of the threshold predictions agree.
    :param return_seconds: for so much evidence on end they must agree to hand back.
    :param watch_seconds: how long after a switch a prediction that holds is evidence for the planner.
    :param shadow_seconds: for how many seconds of evidence a shadow frame stands.
    """

    threshold: float = 0.15
    hold_seconds: float = 1.0
    agree_share: float = 0.6
    return_seconds: float = 12.0
    watch_seconds: float = 6.0
    shadow_seconds: float = 2.0


class Takeover:
    """Who decides: ``learning`` is false while the planner does, which it does at the start.

    The estimates follow the plan in force, so that it is predicted well after a while, whatever the planner misses: that its
    prediction holds counts for the planner only soon after a switch, and for shadow frames, whose plans were not in force.
    """

    def __init__(self, settings: TakeoverSettings | None = None) -> None:
        self.settings = settings or TakeoverSettings()
        self.learning = False
        self.error = 0.0
        self._held = self._agreed = 0.0
        self._switched_at = self._frame_at = -math.inf

    def switched(self, now: float) -> None:
        """Record that a plan has come into force."""
        self._switched_at = self._frame_at = now

    def frame(self, now: float, log_error: float, *, shadow: bool = False) -> bool:
        """Record a frame, and return who decides now (:attr:`learning`).

        :param log_error: logarithm of what the frame cost over what the planner predicts for its plan.
        """
        if not math.isfinite(log_error):
            return self.learning
        settings, weight = self.settings, self.settings.shadow_seconds
        if not shadow:
            weight, self._frame_at = min(max(now - self._frame_at, 0.0), 1.0), now
        self.error += (1 - math.exp(-weight / max(settings.hold_seconds, 1e-9))) * (abs(log_error) - self.error)
        self._held = self._held + weight if self.error > settings.threshold else 0.0
        if self.error >= settings.agree_share * settings.threshold:
            self._agreed = 0.0
        elif shadow or now - self._switched_at <= settings.watch_seconds:
            self._agreed += weight
        if not self.learning and self._held >= settings.hold_seconds:
            self.learning, self._agreed = True, 0.0
        elif self.learning and self._agreed >= settings.return_seconds:
            self.learning, self._held = False, 0.0
        return self.learning


class AutoPolicy(QLearningPolicy):
    """Q-learning that leaves decisions to exact planning, through the same hysteresis, until :class:`Takeover` says otherwise."""

    def __init__(
        self, settings: Settings | None = None, learning: LearningSettings | None = None, takeover: TakeoverSettings | None = None
    ) -> None:
        super().__init__(settings, learning)
        self.exact = ExactPolicy(hysteresis=self.hysteresis)
        self.takeover = Takeover(takeover)

    @property
    def learning(self) -> bool:
        """Whether Q-learning decides at present."""
        return self.takeover.learning

    def pick(self, conditions: Conditions) -> Choice:
        """Return the choice of whoever decides now."""
        return super().pick(conditions) if self.learning else self.exact.choose(conditions)

    def moved(self, now: float, plan: Assignment) -> None:
        """Remember the plan in force and since when."""
        if plan != self.present:
            self.takeover.switched(now)
        super().moved(now, plan)

    def learn(self, frame: Frame) -> None:
        """Compare the planner's prediction with the frame's cost, then learn from it."""
        if self.conditions is not None and frame.cost > 0:
            problem = self.conditions.problem_for(frame.plan)
            if feasible(problem, frame.plan):
                predicted = evaluate(problem, frame.plan).latency_seconds
                self.takeover.frame(frame.now, math.log(frame.cost / predicted), shadow=frame.shadow)
        super().learn(frame)

    def maintain(self, conditions: Conditions) -> None:
        """Refresh the candidates, and improve the planner's next answer."""
        super().maintain(conditions)
        if not self.learning:
            self.exact.maintain(conditions)

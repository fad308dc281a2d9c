# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that lets the exact planner decide while its predictions hold, and learning while they do not."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from .components import Assignment
from .exact import ExactPolicy
from .hysteresis import Hysteresis, Settings
from .policy import Choice, Conditions, Frame
from .qlearning import LearningSettings, QLearningPolicy
from .takeover import Takeover, TakeoverSettings


class AutoPolicy:
    """Exact planning on the estimates as they are, and Q-learning; :class:`.takeover.Takeover` says which decides.

    :param devices: the fleet's devices, also those that may be gone now.
    """

    def __init__(
        self,
        devices: Sequence[str],
        settings: Settings | None = None,
        learning: LearningSettings | None = None,
        takeover: TakeoverSettings | None = None,
    ) -> None:
        hysteresis = Hysteresis(settings)
        self.learner = QLearningPolicy(devices, settings, learning, hysteresis=hysteresis)
        self.exact = ExactPolicy(devices, settings, hysteresis=hysteresis)
        self.takeover = Takeover(takeover)
        self._conditions: Conditions | None = None

    @property
    def learning(self) -> bool:
        """Whether Q-learning decides at present."""
        return self.takeover.learning

    @property
    def present(self) -> Assignment | None:
        """The plan in force."""
        return self.learner.present

    def choose(self, conditions: Conditions) -> Choice:
        """Return the choice of whoever decides now."""
        self._conditions = conditions
        self.learner.watch(conditions)
        return self.learner.pick(conditions) if self.learning else self.exact.choose(conditions)

    def moved(self, now: float, plan: Assignment) -> None:
        """Remember the plan in force and since when."""
        if plan != self.learner.present:
            self.takeover.switched(now)
        self.exact.moved(now, plan)
        self.learner.moved(now, plan)

    def learn(self, frame: Frame) -> None:
        """Hold the planner's prediction against what came true, then learn from it."""
        if self._conditions is not None and frame.cost > 0:
            problem = self.learner.near.of(self._conditions.problem_of(frame.plan))
            predicted = float(self.learner.predictor.components(problem, (frame.plan,)).log_values()[0])
            if math.isfinite(predicted):
                self.takeover.frame(frame.now, math.log(frame.cost) - predicted, shadow=frame.shadow)
        self.learner.learn(frame)

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:
        """Return the prepared plan to run the next frame under too, or None."""
        return self.learner.shadow(warm)

    def wishes(self) -> Sequence[Assignment]:
        """Return the plans that are worth being kept prepared."""
        return self.learner.wishes()

    def tend(self, conditions: Conditions) -> None:
        """Tend the candidates, and the planner's next answer."""
        self.learner.tend(conditions)
        if not self.learning:
            self.exact.tend(conditions)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that learns: Q-learning over candidate plans, on top of the planner's predictions.

It knows of a plan: what the planner predicts, what frames have shown that prediction to miss
(:mod:`.residuals`), and what the choice entails later (:mod:`.qtable`). The last two begin at nothing, so that its first
choices are the planner's among the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Floats, Problem
from edge_dnn_partition.planning.solvers.solve import solve

from .candidates import LIMIT, Candidates
from .components import Assignment, Components, Predictor, corrected
from .decide import FIRST_PLAN, feasible
from .hysteresis import Hysteresis, Settings
from .neighbourhood import Neighbourhood
from .policy import Choice, Conditions, Frame
from .qtable import QSettings, QTable, StateSpace
from .residuals import ResidualFilter, ResidualSettings
from .shadow import ShadowBudget


@dataclass(frozen=True)
class LearningSettings:
    """What feeds the learning policy.

    :param shadow_share: shadow frames for each frame, at most.
    :param explore: a plan is worth a shadow frame while it would be the better one if its prediction were wrong by
        so many standard deviations.
    :param refresh_seconds: how often the exact planner's answer is offered to the candidates.
    """

    shadow_share: float = 0.02
    explore: float = 2.0
    refresh_seconds: float = 2.0
    candidates: int = LIMIT
    residuals: ResidualSettings = field(default_factory=ResidualSettings)
    table: QSettings = field(default_factory=QSettings)
    states: StateSpace = field(default_factory=StateSpace)


class QLearningPolicy:
    """Chooses among candidate plans. Deterministic; not thread safe.

    :param devices: the fleet's devices, also those that may be gone now.
    :param settings: of the hysteresis.
    :param hysteresis: what moves pass through; None: one of the settings.
    """

    def __init__(
        self, devices: Sequence[str], settings: Settings | None = None, learning: LearningSettings | None = None, *,
        hysteresis: Hysteresis | None = None,
    ) -> None:  # fmt: skip
        self.hysteresis = hysteresis or Hysteresis(settings)
        self.goal = self.hysteresis.settings.goal
        self.settings = learning or LearningSettings()
        self.near = Neighbourhood(devices)
        self.budget = ShadowBudget(self.settings.shadow_share)
        self.present: Assignment | None = None
        self._begin()

    def _begin(self) -> None:
        """Begin with the devices that learning is about."""
        self.predictor = Predictor(self.near.devices, self.goal)
        self.candidates = Candidates(self.predictor, self.settings.candidates)
        self.filter = ResidualFilter(self.predictor.count, self.settings.candidates, self.settings.residuals)
        self.table = QTable(self.settings.states.count, self.settings.candidates, self.settings.table)
        self._first: Problem | None = None
        self._problem: Problem | None = None
        self._components: Components | None = None
        self._where = 0
        self._excess: Floats = np.zeros(0)
        self._reference = 0.0
        """The logarithm that ``_excess`` is above."""
        self._before: tuple[int, int, float] | None = None
        self._surprises: list[float] = []
        self._refreshed_at = -math.inf

    def adopt(self, devices: Collection[str]) -> None:
        """Be about these devices of a large fleet, of which something was learned before."""
        if not self.near.whole:
            self.near.take(devices)
            self._begin()

    def _near(self, problem: Problem, *plans: Assignment) -> Problem:
        """Return the part of a problem that learning is about; begin anew if the present plan or these have others.

        :param plans: the most important one first.
        """
        present = () if self.present is None else (self.present,)
        if not self.near.devices or self.near.is_thin(problem) or not all(map(self.near.has, (*present, *plans))):
            before = self.near.devices
            self.near.choose(problem, (*present, *plans))
            if self.near.devices != before:
                self._begin()
        return self.near.of(problem)

    # Deciding -------------------------------------------------------------------------------------------------

    def choose(self, conditions: Conditions) -> Choice:
        """Return the candidate of least Q if it is better than the present plan by enough and for long enough."""
        self.watch(conditions)
        return self.pick(conditions)

    def watch(self, conditions: Conditions) -> None:
        """Take the present conditions in, and learn from what the plan in force has led to."""
        problem = self._near(conditions.problem)
        if self._first is None:
            self._first = problem
        self._problem = problem
        self._where = self.settings.states.conditions(problem, self._first, conditions.temperature_celsius)
        self.filter.advance(conditions.now)
        self.filter.telemetry(self.predictor.levels(problem))
        self._predict()
        slot = self.candidates.index(self.present)
        if self._before is not None and len(self._excess):
            where, plan, at = self._before
            if self._surprises and conditions.now > at:
                mean = sum(self._surprises) / len(self._surprises)
                self.table.learn(where, plan, mean, conditions.now - at, self._where, self._excess)
        self._surprises = []
        self._before = None if slot is None else (self._where, slot, conditions.now)

    def pick(self, conditions: Conditions) -> Choice:
        """Return what :meth:`choose` returns, for conditions that were taken in."""
        problem, now = conditions.problem, conditions.now
        if not self.near.has(self.present) and self.present is not None and feasible(problem, self.present):
            return Choice(None, 'the plan has more devices than learning follows')
        q = self.q_values()
        slot = self.candidates.index(self.present)
        if slot is not None:
            can = bool(np.isfinite(q[slot]))
        else:
            can = self.present is not None and feasible(problem, self.present)
        if not len(q) or not np.isfinite(q).any():
            if can:
                return Choice(None, 'no other plan is known')
            return self._planners(problem)
        best = int(q.argmin())
        plan = self.candidates.plans[best]
        if not can or self.present is None:
            if not feasible(problem, plan):
                return self._planners(problem)
            return Choice(plan, FIRST_PLAN if self.present is None else 'the present plan cannot go on', evaluate(problem, plan))
        mine = self._present_q()
        if plan == self.present or q[best] >= mine:
            self.hysteresis.calm()
            return Choice(None, 'the present plan is the best one')
        if not feasible(problem, plan):
            return Choice(None, 'the better plan cannot run')
        needed = self.hysteresis.least_gain(conditions.deviation, conditions.least_gain)
        stepped = conditions.stepped_at(self.present, plan)
        verdict = self.hysteresis.weigh(now, plan, 1 - math.exp(float(q[best]) - mine), needed, stepped_at=stepped)
        values = (math.exp(mine + self._reference), math.exp(float(q[best]) + self._reference))
        return Choice(plan if verdict.moves else None, f'learned: {verdict.reason}', evaluate(problem, plan), values)

    def q_values(self) -> Floats:
        """Return Q of each candidate under the conditions last seen, ``(candidates,)``; infinite where it cannot run."""
        return self.table.q(self._where, self.candidates.index(self.present), self._excess)

    def _present_q(self) -> float:
        slot = self.candidates.index(self.present)
        if slot is not None:
            return float(self.q_values()[slot])
        assert self.present is not None and self._problem is not None
        logs = self.filter.component_logs
        mine = self.predictor.components(self._problem, (self.present,)).log_values(logs)[0]
        return float(mine) - self._reference + float(self.table.future(self._where).mean())

    def _planners(self, problem: Problem) -> Choice:
        found = solve(problem, self.goal, quick=True, few_stages=True).assignment
        if found is None:
            return Choice(None, 'no device can run the model now')
        return Choice(tuple(found), 'no candidate can run', evaluate(problem, found))

    def _predict(self) -> None:
        assert self._problem is not None
        self._components = self.predictor.components(self._problem, self.candidates.plans)
        raw = self._components.log_values()
        least = float(raw.min(initial=math.inf))
        self._reference = least if math.isfinite(least) else 0.0
        self._excess = self.filter.predict(self._components) - self._reference

    # Learning -------------------------------------------------------------------------------------------------

    def moved(self, now: float, plan: Assignment) -> None:
        """Remember the plan in force and since when."""
        if plan == self.present:
            return
        self.present = plan
        self.hysteresis.moved(now, plan)
        self._surprises = []
        slot = self.candidates.index(plan)
        self._before = None if slot is None else (self._where, slot, now)

    def learn(self, frame: Frame) -> None:
        """Correct the residuals by a frame's cost."""
        if self._problem is None or self._components is None or not frame.cost > 0:
            return
        self.filter.advance(frame.now)
        slot = self.candidates.index(frame.plan)
        found, row = self._components, slot
        if slot is None:
            found, row = self.predictor.components(self._problem, (frame.plan,)), 0
        assert row is not None
        parts = self.predictor.parts(frame.device_seconds) if frame.device_seconds else None
        surprise = self.filter.update(found, row, slot, math.log(frame.cost), alone=frame.shadow, parts=parts)
        if not frame.shadow and frame.plan == self.present:
            self._surprises.append(surprise)

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:
        """Return the prepared plan that a shadow frame tells most of, if one is affordable and worth it."""
        self.budget.frame()
        if not self.budget.available or self._components is None:
            return None
        for plan in self._promising():
            if plan in warm and plan != self.present:
                self.budget.spend()
                return plan
        return None

    def wishes(self) -> Sequence[Assignment]:
        """Return the plan that the next shadow frame should run under, when one is affordable or soon will be.

        Preparing takes time from the frames, so no more than that is wished for.
        """
        return self._promising()[:1] if self.budget.near else ()

    def _promising(self) -> list[Assignment]:
        """Return the candidates that may be better than the present plan, by expected improvement.

        The expectation of how much better each would be (Jones, Schonlau and Welch, J. Global Optimization, 1998), as
        far as that is possible at all within ``explore`` standard deviations.
        """
        if self._components is None or self.present is None or not len(self._excess):
            return []
        slot = self.candidates.index(self.present)
        mine = float(self._excess[slot]) if slot is not None else float(self._excess.min())
        spread = np.maximum(self.filter.deviations(self._components, slot), 1e-6)
        score = (self._excess - mine) / spread
        able = np.flatnonzero(np.isfinite(score) & (score <= self.settings.explore)).tolist()
        gains = [float(spread[i]) * _improvement(float(score[i])) for i in able]
        return [self.candidates.plans[i] for _, i in sorted(zip(gains, able, strict=True), key=lambda g: -g[0]) if i != slot]

    # Upkeep ---------------------------------------------------------------------------------------------------

    def tend(self, conditions: Conditions) -> None:
        """Fill the candidates at first; then offer the planner's present answer now and then."""
        due = conditions.now - self._refreshed_at >= self.settings.refresh_seconds
        if self.near.whole or not due:
            problem = self._near(conditions.problem)
        else:  # the best plan of the whole fleet may have devices that learning is not about
            answer = solve(conditions.problem, self.goal, quick=True, few_stages=True).assignment
            problem = self._near(conditions.problem, *(() if answer is None else (tuple(answer),)))
        if not self.candidates.plans:
            self.candidates.seed(problem)
        elif due:
            self.candidates.see(problem)
            better = corrected(problem, self.predictor.devices, self.filter.component_logs)
            found = solve(better, self.goal, quick=True, few_stages=True).assignment
            if found is not None:
                self.offer(tuple(found))
        else:
            return
        self._refreshed_at = conditions.now
        self._problem = problem
        self._predict()

    def offer(self, plan: Assignment) -> None:
        """Make a plan a candidate if it is of more use than another; what was learned of that one is forgotten."""
        slot = self.candidates.offer(plan, () if self.present is None else (self.present,))
        if slot is not None:
            self.filter.forget_plan(slot)
            self.table.forget_plan(slot)
            self._before = None


def _improvement(score: float) -> float:
    """Return the expectation of ``max(-x, 0)`` for a normal ``x`` with mean ``score`` and variance 1."""
    density = math.exp(-score * score / 2) / math.sqrt(2 * math.pi)
    return density - score * 0.5 * math.erfc(score / math.sqrt(2))

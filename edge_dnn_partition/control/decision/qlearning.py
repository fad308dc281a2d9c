# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that learns: tabular Q-learning over candidate plans, on top of the planner's predictions (:mod:`.qtable`).

The table begins at nothing, so that its first choices are the planner's among the candidates. Of plans that are not in force
it learns by shadow frames, for a share of the frames at most.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_dnn_partition.cache import keep
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Floats, Problem
from edge_dnn_partition.planning.solvers.solve import solve

from .candidates import LIMIT, Candidates, Predictor
from .hysteresis import Hysteresis, Settings
from .policy import FIRST_PLAN, Assignment, Choice, Conditions, Frame, feasible
from .qtable import CONDITIONS, QSettings, QTable, condition_of

FORMAT: Final = 2
_SAVED, _SOON = 4.0, 0.8
"""Shadow frames that may be saved up for when they are of more use; from which credit on the next one's plan is prepared."""


@dataclass(frozen=True)
class LearningSettings:
    """What feeds the learning policy.

    :param shadow_share: shadow frames for each frame, at most.
    :param plan_deviation: by how much a plan's cost is taken to differ from its prediction before it was tried, as a logarithm.
    :param explore: a plan is worth a shadow frame while it would be the better one if its prediction were wrong by
        so many standard deviations.
    :param refresh_seconds: how often the exact planner's answer is offered to the candidates.
    """

    shadow_share: float = 0.02
    plan_deviation: float = 0.15
    explore: float = 2.0
    refresh_seconds: float = 2.0
    table: QSettings = field(default_factory=QSettings)


class ShadowBudget:
    """Grants shadow frames; after ``n`` frames at most ``share * n`` have been granted, and not many on end.

    :param share: of the frames, from 0 to 1.
    :raises PlanError: if ``share`` is not from 0 to 1.
    """

    def __init__(self, share: float = 0.02) -> None:
        if not 0 <= share <= 1:
            raise PlanError(f'shadow_share: {share} must be from 0 to 1')
        self.share = share
        self.credit = 0.0
        """Shadow frames that may run, so far."""

    def frame(self) -> None:
        """Count a frame."""
        self.credit = min(self.credit + self.share, _SAVED)

    @property
    def available(self) -> bool:
        """Whether a shadow frame may run now."""
        return self.credit >= 1 - 1e-9  # as sums of shares are rounded

    def spend(self) -> None:
        """Count a shadow frame.

        :raises PlanError: if none is available.
        """
        if not self.available:
            raise PlanError('the budget of shadow frames is used up')
        self.credit -= 1


class QLearningPolicy:
    """Chooses among candidate plans, for the objective latency. Deterministic; not thread safe.

    :param settings: of the hysteresis.
    """

    def __init__(self, settings: Settings | None = None, learning: LearningSettings | None = None) -> None:
        self.hysteresis = Hysteresis(settings)
        self.settings = learning or LearningSettings()
        self.budget = ShadowBudget(self.settings.shadow_share)
        self.candidates = Candidates()
        self.table = QTable(CONDITIONS, LIMIT, self.settings.table)
        self.present: Assignment | None = None
        self._predictor = Predictor()
        self._first: Problem | None = None
        self.conditions: Conditions | None = None
        """The last ones."""
        self._at = self._refreshed_at = -math.inf
        self._where = 0
        self._logs: Floats = np.zeros(0)
        """The logarithm of what the planner predicts for each candidate."""
        self._before: tuple[int, int, float] | None = None
        self._surprises: list[float] = []

    @property
    def _reference(self) -> float:
        """The least prediction, that of all candidates is held against."""
        least = float(self._logs.min(initial=math.inf))
        return least if math.isfinite(least) else 0.0

    @property
    def _slot(self) -> int | None:
        """The number of the plan in force."""
        return self.candidates.index(self.present)

    @property
    def _beyond(self) -> Floats:
        """What each candidate is taken to cost beyond its prediction, as a logarithm."""
        return self.table.future(self._where)[: len(self._logs)]

    def _spread(self, slot: int) -> Floats:
        """The standard deviation of how each candidate's log cost differs from that of one of them.

        As far as the plan in force is from its prediction others may be.
        """
        spread = max(self.settings.plan_deviation, abs(float(self._beyond[slot]))) * self.table.doubt[: len(self._logs)]
        return np.asarray(np.hypot(spread, spread[slot]), dtype=np.float64)

    # Deciding -------------------------------------------------------------------------------------------------

    def choose(self, conditions: Conditions) -> Choice:
        """Return the candidate of least Q if it is better than the present plan by enough and for long enough."""
        self.watch(conditions)
        return self.pick(conditions)

    def watch(self, conditions: Conditions) -> None:
        """Record the present conditions, and learn from what the plan in force has led to."""
        self.conditions, problem = conditions, conditions.problem
        self._first = self._first or problem
        self._where = condition_of(problem, self._first, conditions.temperature_celsius)
        if math.isfinite(self._at):
            self.table.fade(max(conditions.now - self._at, 0.0))
        self._at = conditions.now
        self._logs = self._predictor.log_seconds(problem, self.candidates.plans)
        if self._before is not None and self._surprises and conditions.now > self._before[2]:
            where, plan, at = self._before
            mean = sum(self._surprises) / len(self._surprises)
            self.table.learn(where, plan, mean, conditions.now - at, self._where, self._logs - self._reference)
        self._begin(conditions.now)

    def _begin(self, now: float) -> None:
        """Begin what the plan in force is held against."""
        slot, self._surprises = self._slot, []
        self._before = None if slot is None else (self._where, slot, now)

    def pick(self, conditions: Conditions) -> Choice:
        """Return what :meth:`choose` returns, for conditions that were recorded."""
        problem, slot = conditions.problem, self._slot
        if not self.candidates.plans and self.present is not None and feasible(problem, self.present):
            return Choice(None, 'no other plan is known')
        if self.present is None or slot is None or not math.isfinite(self._logs[slot]):
            found = solve(problem, 'latency', quick=True, few_stages=True).assignment
            if found is None:
                return Choice(None, 'no device can run the model now')
            if self.candidates.plans:  # what was learned counts from the first choice on
                self.offer(tuple(found))
                found = self.candidates.plans[int((self._logs + self._beyond).argmin())]
            reason = FIRST_PLAN if self.present is None else 'the present plan cannot go on'
            return Choice(tuple(found), reason, evaluate(problem, found))
        q = self.table.q(self._where, slot, self._logs - self._reference)
        best = int(q.argmin())
        plan = self.candidates.plans[best]
        if best == slot or not feasible(problem, plan):
            self.hysteresis.calm()
            return Choice(None, 'the present plan is the best one')
        needed = self.hysteresis.least_gain(conditions.deviation, conditions.least_gain)
        gain, shown = (1 - math.exp(float(costs[best] - costs[slot])) for costs in (q, self._logs))
        stepped = conditions.stepped_at(self.present, plan)
        if shown < needed:  # the estimates alone would not move: what is learned must exceed its doubt, and no step explains it
            needed, stepped = self.hysteresis.least_gain(float(self._spread(slot)[best]), needed), -math.inf
        appeared = conditions.appeared_at(plan)
        verdict = self.hysteresis.weigh(
            conditions.now, plan, gain, needed, stepped_at=stepped, appeared_at=appeared,
            move_seconds=problem.state_seconds(self.present, plan),
        )  # fmt: skip
        values = (math.exp(float(q[slot]) + self._reference), math.exp(float(q[best]) + self._reference))
        return Choice(plan if verdict.moves else None, f'learned: {verdict.reason}', evaluate(problem, plan), values)

    # Learning -------------------------------------------------------------------------------------------------

    def moved(self, now: float, plan: Assignment) -> None:
        """Remember the plan in force and since when."""
        if plan == self.present:
            return
        self.present = plan
        self.hysteresis.moved(now, plan)
        if self.candidates.plans:
            self.offer(plan)
        self._begin(now)

    def learn(self, frame: Frame) -> None:
        """Record by how much a frame's cost differs from its prediction."""
        if self.conditions is None or not frame.cost > 0 or (slot := self.candidates.index(frame.plan)) is None:
            return
        surprise = math.log(frame.cost) - float(self._logs[slot])
        if not math.isfinite(surprise):
            return
        if frame.shadow:
            self.table.record(self._where, slot, surprise)
        elif frame.plan == self.present:
            self._surprises.append(surprise)

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:
        """Return the prepared plan of which a shadow frame teaches most, if one is affordable and worth it."""
        self.budget.frame()
        if self.budget.available:
            for plan in self._promising():
                if plan in warm:
                    self.budget.spend()
                    return plan
        return None

    def prefetch_candidates(self) -> Sequence[Assignment]:
        """Return the plan that the next shadow frame should run under, when one is affordable or soon will be.

        Preparing takes time from the frames, so no more than that is wished for.
        """
        return self._promising()[:1] if self.budget.credit >= _SOON else ()

    def _promising(self) -> list[Assignment]:
        """Return the candidates that may be better than the present plan, by expected improvement.

        The expectation of how much better each would be (Jones, Schonlau and Welch, J. Global Optimization, 1998), as
        far as that is possible at all within ``explore`` standard deviations.
        """
        slot = self._slot
        if slot is None or not math.isfinite(self._logs[slot]):
            return []
        costs, spread = self._logs + self._beyond, self._spread(slot)
        score = (costs - costs[slot]) / spread
        able = [i for i in np.flatnonzero(score <= self.settings.explore).tolist() if i != slot]
        able.sort(key=lambda i: -float(spread[i]) * _improvement(float(score[i])))
        return [self.candidates.plans[i] for i in able]

    # Upkeep ---------------------------------------------------------------------------------------------------

    def maintain(self, conditions: Conditions) -> None:
        """Fill the candidates at first; then offer the planner's present answer now and then."""
        if conditions.now - self._refreshed_at < self.settings.refresh_seconds:
            return
        self._refreshed_at, problem = conditions.now, conditions.problem
        if not self.candidates.plans:
            self.candidates.seed(problem)
            self._logs = self._predictor.log_seconds(problem, self.candidates.plans)
        answer = solve(problem, 'latency', quick=True, few_stages=True).assignment
        for plan in (self.present, None if answer is None else tuple(answer)):
            if plan is not None:
                self.offer(plan)

    def offer(self, plan: Assignment) -> None:
        """Make a plan a candidate; what was learned of the one that gives way is forgotten."""
        slot = self.candidates.offer(plan, () if self.present is None else (self.present,))
        if slot is not None:
            self.table.forget_plan(slot)
            if self._before is not None and self._before[1] == slot:
                self._before = None
            if self.conditions is not None:
                self._logs = self._predictor.log_seconds(self.conditions.problem, self.candidates.plans)


def _improvement(score: float) -> float:
    """Return the expectation of ``max(-x, 0)`` for a normal ``x`` with mean ``score`` and variance 1."""
    density = math.exp(-score * score / 2) / math.sqrt(2 * math.pi)
    return density - score * 0.5 * math.erfc(score / math.sqrt(2))


# What was learned, kept between runs --------------------------------------------------------------------------------


def key_of(model_sha256: str, fleet: str, boundaries: Sequence[int], objective: str) -> str:
    """Return what learned values belong to: they are of no use to another model, fleet, split or objective.

    :param fleet: a text that changes with the fleet, such as its file's content.
    """
    text = json.dumps([FORMAT, model_sha256, fleet, list(boundaries), objective])
    return hashlib.sha256(text.encode()).hexdigest()


def save(path: Path, key: str, policy: QLearningPolicy) -> None:
    """Write what a policy has learned, if that can be written; a reader sees the old file or the new, never a part."""
    plans = [list(plan) for plan in policy.candidates.plans]
    document = {'format': FORMAT, 'key': key, 'plans': plans, 'table': policy.table.to_json()}
    keep(path, json.dumps(document, allow_nan=False).encode())


def load(path: Path, key: str, policy: QLearningPolicy) -> bool:
    """Restore what was saved; return False if there is nothing, or it is of another model, fleet or release.

    :param policy: a fresh policy; it is left as it is unless all of the file is right.
    :raises PlanError: if the file is malformed.
    """
    try:
        document: Any = json.loads(path.read_bytes())
        if (document['format'], document['key']) != (FORMAT, key):
            return False
        plans = [tuple(map(str, plan)) for plan in document['plans'] if isinstance(plan, list) and plan]
        if not 0 < len(plans) == len(document['plans']) <= policy.candidates.limit:
            raise ValueError(path)
        policy.table.restore(document['table'])
    except FileNotFoundError:
        return False
    except PlanError as error:
        raise PlanError(f'{path}: {error}') from None
    except (OSError, ValueError, TypeError, KeyError):
        raise PlanError(f'{path}: the learned table cannot be read; delete the file') from None
    policy.candidates.plans = plans
    return True

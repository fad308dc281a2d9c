# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Policies of other systems, as rivals for the benchmark of policies.

All choose among the same candidate plans as Q-learning, begin with the planner's plan, and see the same estimates and
frames. What tempers them is tuned with the same effort (:mod:`.policy_tuning`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_dnn_partition.control.decision.candidates import Candidates
from edge_dnn_partition.control.decision.policy import Assignment, Choice, Conditions, Frame, StillPolicy
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Floats, Problem
from edge_dnn_partition.planning.solvers.solve import solve

from .plan_components import Components
from .policy_fleet import DEVICES

_SCALE = 0.1
"""Seconds that count as 1, so that a ridge of 1 means something."""


@dataclass(frozen=True)
class BanditSettings:
    """What tempers a linear bandit.

    :param forget: weight of a frame relative to the one after it; 1: nothing is forgotten.
    :param window: frames that count; 0: all of them.
    :param alpha: width of the confidence bound.
    :param ridge: weight of what is believed at the start.
    :param forced: share of the decisions that choose at random, as ANS forces it.
    :param least_gain: by which share a plan must be better to be moved to.
    :param prior: whether it starts at the planner's predictions (each component's factor at 1), or at nothing.
    """

    forget: float = 1.0
    window: int = 0
    alpha: float = 0.1
    ridge: float = 1.0
    forced: float = 0.0
    least_gain: float = 0.0
    prior: bool = True


class LinearBandit(StillPolicy):
    """LinUCB on what the planner predicts of each device and link.

    As in ANS (Zhang et al., Autodidactic Neurosurgeon, WWW 2021), whose delay model is linear in features of the
    partition, with forced sampling. Forgetting by discount is D-LinUCB (Russac, Vernade and Cappé, NeurIPS
    2019), by a window SW-LinUCB (Cheung, Simchi-Levi and Zhu, AISTATS 2019).
    """

    def __init__(self, settings: BanditSettings, *, seed: int = 0) -> None:
        self.settings = settings
        self.predictor = Components(DEVICES)
        self.candidates = Candidates()
        self.present: Assignment | None = None
        self._random = np.random.default_rng([seed, 13])
        self._problem: Problem | None = None
        self._rows: Floats = np.zeros((0, self.features))
        self._prior = np.full(self.features, 1.0 if settings.prior else 0.0)
        self._gram = np.zeros((self.features, self.features))
        self._target = np.zeros(self.features)
        self._seen: deque[tuple[Floats, Floats]] = deque()
        self._refreshed_at = -math.inf

    @property
    def features(self) -> int:
        """How many features a plan has."""
        return self.predictor.count

    def describe(self, problem: Problem, plans: list[Assignment]) -> Floats:
        """Return the features of plans, ``(plans, features)``; infinite where one cannot run."""
        return self.predictor.of(problem, plans) / _SCALE

    def choose(self, conditions: Conditions) -> Choice:
        """Return the plan of least lower confidence bound, or now and then any."""
        problem = self._problem = conditions.problem
        if not self.candidates.plans:
            found = solve(problem).assignment
            return Choice(None if found is None else tuple(found), 'first plan')
        self._rows = self.describe(problem, self.candidates.plans)
        able = np.isfinite(self._rows).all(axis=1)
        if self._random.random() < self.settings.forced:
            pick = int(self._random.choice(np.flatnonzero(able)))
            return Choice(self.candidates.plans[pick], 'forced', evaluate(problem, self.candidates.plans[pick]))
        gram = self._gram + self.settings.ridge * np.eye(self.features)
        inverse = np.linalg.inv(gram)
        theta = inverse @ (self._target + self.settings.ridge * self._prior)
        rows = np.where(able[:, None], self._rows, 0.0)
        width = np.sqrt(np.maximum(np.einsum('kf,fg,kg->k', rows, inverse, rows), 0.0))
        bound = np.where(able, rows @ theta - self.settings.alpha * width, np.inf)
        best = int(bound.argmin())
        slot = self.candidates.index(self.present)
        if slot is not None and bound[slot] - bound[best] < self.settings.least_gain * abs(bound[slot]):
            return Choice(None, 'the present plan is good enough')
        return Choice(self.candidates.plans[best], 'least bound')

    def moved(self, now: float, plan: Assignment) -> None:  # noqa: ARG002
        """Remember the plan in force."""
        self.present = plan

    def learn(self, frame: Frame) -> None:
        """Add a frame, and forget old ones."""
        if self._problem is None:
            return
        slot = self.candidates.index(frame.plan)
        row = self._rows[slot] if slot is not None and slot < len(self._rows) else self.describe(self._problem, [frame.plan])[0]
        if not np.isfinite(row).all():
            return
        rows, costs = self.observed(row, frame)
        self._gram = self.settings.forget * self._gram + rows.T @ rows
        self._target = self.settings.forget * self._target + costs @ rows
        if self.settings.window:
            self._seen.append((rows, costs))
            if len(self._seen) > self.settings.window:
                old, was = self._seen.popleft()
                self._gram = self._gram - old.T @ old
                self._target = self._target - was @ old

    def observed(self, row: Floats, frame: Frame) -> tuple[Floats, Floats]:
        """Return what a frame tells: a row of features and a cost for each device that was timed, and for what is left.

        ANS learns from a frame less what the robot's own part of it took; here every device says what its part took, and
        the bandit is told, as the learner is.
        """
        rest, left = row.copy(), frame.cost / _SCALE
        rows, costs = [], []
        for place, name in enumerate(self.predictor.devices):
            seconds = frame.device_seconds.get(name)
            if seconds is not None and row[place] > 0:
                alone = np.zeros_like(row)
                alone[place], rest[place] = row[place], 0.0
                rows.append(alone)
                costs.append(seconds / _SCALE)
                left -= seconds / _SCALE
        if rest.any() and left > 0:
            rows.append(rest)
            costs.append(left)
        return np.array(rows), np.array(costs)

    def maintain(self, conditions: Conditions) -> None:
        """Keep the candidates as Q-learning does."""
        if not self.candidates.plans:
            self.candidates.seed(conditions.problem)
        elif conditions.now - self._refreshed_at >= 2.0:
            found = solve(conditions.problem).assignment
            if found is not None:
                self.candidates.offer(tuple(found), () if self.present is None else (self.present,))
                self._rows = self.describe(conditions.problem, self.candidates.plans)
        else:
            return
        self._refreshed_at = conditions.now


class ElasticBandit(LinearBandit):
    """The kind of ElasticROS (Liu, Wang and Liu, arXiv 2209.01774): online learning of an action's worth, without a cost model.

    Our reading of its ElasAction: a linear upper confidence bound over a fixed list of ways to split, forced
    sampling, nothing forgotten. Features are how the work is split, what crosses each
    link over its measured rate, and a constant; there is no profile to start from.
    """

    @property
    def features(self) -> int:
        """Work by device, transfer by pair, a constant."""
        return self.predictor.count + 1

    def observed(self, row: Floats, frame: Frame) -> tuple[Floats, Floats]:
        """Return the whole frame: work by device is no time of its own here."""
        return row[None, :], np.array([frame.cost / _SCALE])

    def describe(self, problem: Problem, plans: list[Assignment]) -> Floats:
        """Return the features of plans, ``(plans, features)``."""
        count = len(DEVICES)
        values = self.predictor.of(problem, plans) / _SCALE
        work = np.array([[plan.count(name) / len(plan) for name in DEVICES] for plan in plans]).reshape(len(plans), count)
        return np.concatenate((work, values[:, count:], np.ones((len(plans), 1))), axis=1)

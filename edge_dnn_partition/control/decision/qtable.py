# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The table of Q-learning: what a plan costs beyond its prediction, and what choosing it entails later.

States are (present plan, load, bottleneck link, temperature), at most 200 of them. The value of an action, to
move to plan ``a`` under conditions ``e``, is

    Q((p, e), a) = log(predicted cost of a / least predicted cost) + cost of switching from p to a + W(a, e)

where W is the table's entry of the state that the action leads to (an *afterstate*: Sutton and Barto,
Reinforcement Learning, 2018, section 6.8). W begins at 0: the first choices are the planner's. It learns by
Q-learning (Watkins and Dayan 1992) with the surprise of the prediction as reward,

    W(a, e) += rate * (surprise + discount^seconds * (V(a, e') - mean V) - W(a, e)),   V(p, e) = min_a Q((p, e), a),

relative to the mean of V (as R-learning, Schwartz 1993): what befalls all plans alike, such as a bad hour of the network,
is no action's doing and must not make untried plans look better. An entry counts by its visits, which fade: what was seldom or
long ago tried counts as that plan does under other conditions, and a plan that was not tried as it is predicted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.problem import Floats, Problem

MOST_STATES: Final = 200


_LOAD_EDGES, _LINK_EDGES, _TEMPERATURE_EDGES = (1.5,), (0.4, 0.8), (60.0, 68.0, 76.0)
"""Bins of the largest of the devices' times and the smallest of the links' rates, over what was first seen; of degrees Celsius."""
CONDITIONS: Final = (len(_LOAD_EDGES) + 1) * (len(_LINK_EDGES) + 1) * (len(_TEMPERATURE_EDGES) + 1)
"""How many conditions there are beside the present plan."""


def condition_of(problem: Problem, first: Problem, temperature_celsius: float) -> int:
    """Return the number of the present conditions.

    :param first: the problem when it was first seen.
    :param temperature_celsius: of the warmest device.
    """
    now, then = ({name: float(p.seconds[:, place].sum()) for name, place in p.position.items()} for p in (problem, first))
    load = max((now[name] / then[name] for name in now.keys() & then.keys() if 0 < then[name] < math.inf), default=1.0)
    before = {(link.sender, link.reader): link.bytes_per_second for link in first.links}
    rates = (link.bytes_per_second / before.get((link.sender, link.reader), math.inf) for link in problem.links)
    rate = min((share for share in rates if share > 0), default=1.0)
    number = 0
    for value, edges in ((load, _LOAD_EDGES), (rate, _LINK_EDGES), (temperature_celsius, _TEMPERATURE_EDGES)):
        number = number * (len(edges) + 1) + sum(value >= edge for edge in edges)
    return number


@dataclass(frozen=True)
class QSettings:
    """How the table learns.

    :param discount: what a cost of one second later counts; 0: the future counts nothing.
    :param rate: the least learning rate; an entry's first visits count more.
    :param prior_visits: as if what an entry is taken for had been seen so often before.
    :param memory_seconds: time constant with which visits fade.
    :param clip: the largest reward and the largest entry, as a logarithm.
    :param switch_cost: of moving to another plan, as the logarithm of a decision's cost.
    :param mean_seconds: time constant of the mean of V.
    """

    discount: float = 0.8
    rate: float = 0.1
    prior_visits: float = 0.3
    memory_seconds: float = 400.0
    clip: float = 0.7
    switch_cost: float = 0.02
    mean_seconds: float = 30.0


class QTable:
    """Entries by conditions and plan. Deterministic; time is passed in.

    :raises PlanError: if there were more than 200 states.
    """

    def __init__(self, conditions: int, plans: int, settings: QSettings) -> None:
        if conditions * plans > MOST_STATES:
            raise PlanError(f'{conditions} conditions of {plans} plans are more than {MOST_STATES} states; use fewer bins or plans')
        self.settings = settings
        self.values: Floats = np.zeros((conditions, plans))
        self.visits: Floats = np.zeros((conditions, plans))
        self._mean: float | None = None

    def fade(self, seconds: float) -> None:
        """Let time pass."""
        self.visits *= math.exp(-seconds / self.settings.memory_seconds)

    def future(self, conditions: int) -> Floats:
        """Return W of each plan under some conditions, ``(plans,)``."""
        prior, weighted = self.settings.prior_visits, self.visits * self.values
        plans = weighted.sum(axis=0) / (self.visits.sum(axis=0) + prior)
        return np.asarray((weighted[conditions] + prior * plans) / (self.visits[conditions] + prior), dtype=np.float64)

    @property
    def doubt(self) -> Floats:
        """How unsure each plan's W is, over how unsure it was before the plan was tried, ``(plans,)``."""
        return np.asarray(1 / np.sqrt(1 + self.visits.sum(axis=0)), dtype=np.float64)

    def q(self, conditions: int, present: int, excess: Floats) -> Floats:
        """Return Q of each plan, ``(plans,)``.

        :param present: the plan in force.
        :param excess: the logarithm of each plan's predicted cost over a reference, ``(plans,)``.
        """
        switch = np.full(len(excess), self.settings.switch_cost)
        switch[present] = 0.0
        return np.asarray(excess + switch + self.future(conditions)[: len(excess)], dtype=np.float64)

    def learn(self, conditions: int, plan: int, surprise: float, seconds: float, then: int, excess: Floats) -> None:
        """Record that a plan was in force under some conditions for some seconds, and which conditions followed.

        :param surprise: mean logarithm of the cost over its prediction.
        :param excess: as in :meth:`q`, under the conditions that followed.
        """
        value = float(self.q(then, plan, excess).min())
        if self._mean is None:
            self._mean = value
        self._mean += (1 - math.exp(-seconds / self.settings.mean_seconds)) * (value - self._mean)
        self.record(conditions, plan, surprise, self.settings.discount**seconds * (value - self._mean))

    def record(self, conditions: int, plan: int, surprise: float, later: float = 0.0) -> None:
        """Record a reward.

        :param later: what the state that followed is worth.
        """
        clip = self.settings.clip
        self.visits[conditions, plan] += 1
        rate = max(self.settings.rate, 1 / max(float(self.visits[conditions, plan]), 1.0))
        target = min(max(surprise, -clip), clip) + later
        new = self.values[conditions, plan] + rate * (target - self.values[conditions, plan])
        self.values[conditions, plan] = min(max(float(new), -clip), clip)

    def forget_plan(self, plan: int) -> None:
        """Reset one plan: another has its number now."""
        self.values[:, plan] = self.visits[:, plan] = 0

    def to_json(self) -> dict[str, Any]:
        """Return the entries and how often each was visited."""
        return {'values': self.values.tolist(), 'visits': self.visits.tolist()}

    def restore(self, document: Any) -> None:
        """Restore what :meth:`to_json` returned.

        :raises PlanError: if it is malformed or of another shape.
        """
        try:
            values, visits = (np.array(document[name], dtype=np.float64) for name in ('values', 'visits'))
        except (KeyError, TypeError, ValueError, OverflowError):
            values = visits = np.zeros(0)
        if not (values.shape == visits.shape == self.values.shape and np.isfinite(values + visits).all() and (visits >= 0).all()):
            raise PlanError('the learned table is malformed, or belongs to other states or plans; delete the file')
        self.values = np.clip(values, -self.settings.clip, self.settings.clip)
        self.visits = visits

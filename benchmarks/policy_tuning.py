# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policies that are compared, and how each is tuned: the same number of random draws on the same fleets.

Random search (Bergstra and Bengio, JMLR 2012). The first draw is what the policy comes with: the package's defaults, or
middling values for a rival. The seeds of the tuning's fleets are not among those of the comparison.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.control.decision.auto import AutoPolicy, TakeoverSettings
from edge_dnn_partition.control.decision.calibration import Calibration, CalibrationSettings
from edge_dnn_partition.control.decision.exact import ExactPolicy
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policy import Policy
from edge_dnn_partition.control.decision.qlearning import LearningSettings, QLearningPolicy
from edge_dnn_partition.control.decision.qtable import QSettings
from edge_dnn_partition.control.decision.recorded import RecordedPolicy

from .policy_fleet import EFFECTS, Scenario, SimulatedFleet
from .policy_rivals import BanditSettings, ElasticBandit, LinearBandit
from .policy_run import run

Values = Mapping[str, float]


@dataclass(frozen=True)
class Range:
    """Where a parameter is drawn from.

    :param default: the value of the first draw.
    :param choices: drawn from evenly; else from ``low`` to ``high``, evenly in the logarithm.
    """

    default: float
    low: float = 0.0
    high: float = 0.0
    choices: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator) -> float:
        """Return a value."""
        if self.choices:
            return float(rng.choice(self.choices))
        return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))


@dataclass(frozen=True)
class Kind:
    """A policy to compare: its name, what is tuned, and how it is made of values and a seed."""

    name: str
    ranges: Mapping[str, Range]
    make: Callable[[Values, int], Policy]


def _settings(values: Values) -> Settings:
    return Settings(
        least_gain=values['least_gain'], dwell_seconds=values['dwell_seconds'], confirmations=int(values['confirmations'])
    )


def _learning(values: Values) -> LearningSettings:
    return LearningSettings(
        explore=values['explore'], plan_deviation=values['plan_deviation'],
        table=QSettings(discount=values['discount'], rate=values['rate'], memory_seconds=values['memory_seconds']),
    )


def _recorded(policy: Policy, values: Values) -> RecordedPolicy:
    """Return a policy as the scheduler uses it."""
    return RecordedPolicy(policy, Calibration(CalibrationSettings(prior=values['least_gain'])))


def _q_learning(values: Values, seed: int) -> RecordedPolicy:
    return _recorded(QLearningPolicy(_settings(values), _learning(values)), values)


def _auto(values: Values, seed: int) -> RecordedPolicy:
    takeover = TakeoverSettings(threshold=values['threshold'], hold_seconds=values['hold_seconds'])
    return _recorded(AutoPolicy(_settings(values), _learning(values), takeover), values)


def _bandit(values: Values, seed: int, *, elastic: bool = False) -> LinearBandit:
    settings = BanditSettings(
        forget=1 - values.get('forgotten', 0.0),
        window=int(values.get('window', 0)),
        alpha=values['alpha'],
        ridge=values['ridge'],
        forced=values['forced'],
        least_gain=values['least_gain'],
        prior=not elastic,
    )
    return (ElasticBandit if elastic else LinearBandit)(settings, seed=seed)


_D, _L = Settings(), LearningSettings()
_DECIDE: Final = {
    'least_gain': Range(_D.least_gain, 0.02, 0.12),
    'dwell_seconds': Range(_D.dwell_seconds, choices=(0.5, 1.0, 2.0)),
    'confirmations': Range(_D.confirmations, choices=(1, 2, 3)),
}
_LEARN: Final = {
    **_DECIDE,
    'plan_deviation': Range(_L.plan_deviation, 0.08, 0.5),
    'rate': Range(_L.table.rate, 0.03, 0.3),
    'memory_seconds': Range(_L.table.memory_seconds, 20.0, 600.0),
    'explore': Range(_L.explore, 1.0, 3.0),
    'discount': Range(_L.table.discount, choices=(0.0, 0.5, 0.8, 0.9)),
}
_TAKE: Final = {
    'threshold': Range(TakeoverSettings().threshold, 0.08, 0.25),
    'hold_seconds': Range(TakeoverSettings().hold_seconds, 0.3, 3.0),
}
_BANDIT: Final = {
    'alpha': Range(0.1, 0.01, 1.0),
    'ridge': Range(0.1, 0.003, 3.0),
    'forced': Range(0.01, choices=(0.0, 0.0, 0.01, 0.03)),
    'least_gain': Range(0.02, choices=(0.0, 0.02, 0.04, 0.08)),
}
KINDS: Final = (
    Kind('exact', _DECIDE, lambda values, _: _recorded(ExactPolicy(_settings(values)), values)),
    Kind('Q-learning', _LEARN, _q_learning),
    Kind('auto', {**_LEARN, **_TAKE}, _auto),
    Kind('discounted bandit', {**_BANDIT, 'forgotten': Range(0.02, 0.003, 0.2)}, _bandit),
    Kind('sliding-window bandit', {**_BANDIT, 'window': Range(50, 8, 300)}, _bandit),
    Kind('ElasticROS kind', _BANDIT, lambda values, seed: _bandit(values, seed, elastic=True)),
)


def tuning_fleets(frames: int) -> list[SimulatedFleet]:
    """Return the fleets that policies are tuned on: without hidden effects, with single ones, with all."""
    chosen = ((), ('throttling',), ('plans',), ('loss', 'neighbour'), EFFECTS)
    return [SimulatedFleet(Scenario('tuning', hidden, frames=frames), 1000 + i) for i, hidden in enumerate(chosen)]


def tune(kind: Kind, fleets: list[SimulatedFleet], draws: int) -> tuple[dict[str, float], list[float]]:
    """Return the best of some draws, and each draw's score: mean latency over that of the best draw's fleet, averaged.

    Fleets count alike, however slow they are: a draw's score is the mean logarithm of its mean latency.
    """
    rng = np.random.default_rng([zlib.crc32(kind.name.encode()), 17])
    trials = [{name: r.default for name, r in kind.ranges.items()}]
    trials += [{name: r.draw(rng) for name, r in kind.ranges.items()} for _ in range(draws - 1)]
    scores = [
        float(np.mean([np.log(run(fleet, kind.make(values, fleet.seed)).seconds.mean()) for fleet in fleets])) for values in trials
    ]
    return trials[int(np.argmin(scores))], scores

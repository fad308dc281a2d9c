# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the discount of Q-learning is worth: where choices have effects that come later, heat and costly switches.

Q-learning with its defaults but for the discount, on paired seeds. In ``heat`` nothing changes but the jetson's temperature;
in ``costly switches`` rates and loads change, and the first frame under another plan takes 0.1 s longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.control.decision.calibration import Calibration
from edge_dnn_partition.control.decision.qlearning import LearningSettings, QLearningPolicy
from edge_dnn_partition.control.decision.recorded import RecordedPolicy

from .intervals import mean_and_interval
from .policy_fleet import Scenario, SimulatedFleet
from .policy_oracle import oracle_seconds, plan_pool
from .policy_run import Rules
from .policy_run import run as play

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISCOUNTS: Final = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes two seeds and short courses."""
    frames, seeds = (400, 2) if quick else (3000, 10)
    cases = {
        'heat': (Scenario('heat', ('throttling',), frames=frames, visible_changes=False), Rules()),
        'costly switches': (Scenario('costly switches', ('neighbour',), frames=frames // 2), Rules(switch_seconds=0.1)),
    }
    defaults = LearningSettings()
    results: list[dict[str, Any]] = []
    for label, (scenario, rules) in cases.items():
        fleets = [SimulatedFleet(scenario, seed) for seed in range(seeds)]
        over = np.zeros((len(DISCOUNTS), seeds))
        hot = np.zeros((len(DISCOUNTS), seeds))
        switches = np.zeros((len(DISCOUNTS), seeds))
        for column, fleet in enumerate(fleets):
            traces = []
            for discount in DISCOUNTS:
                settings = replace(defaults, table=replace(defaults.table, discount=discount))
                traces.append(play(fleet, RecordedPolicy(QLearningPolicy(learning=settings), Calibration()), rules))
            oracle = oracle_seconds(fleet, plan_pool(fleet, {plan for t in traces for plan in t.plans}), rules)
            over[:, column] = [t.seconds.mean() / oracle.mean() for t in traces]
            hot[:, column] = [t.hot.mean() for t in traces]
            switches[:, column] = [t.switches for t in traces]
        for row, discount in enumerate(DISCOUNTS):
            mean, low, high = mean_and_interval(over[row].tolist())
            less, less_low, less_high = mean_and_interval((over[0] - over[row]).tolist())
            results.append({
                'case': label, 'discount': discount, 'seeds': seeds, 'over_oracle': mean, 'over_oracle_interval': [low, high],
                'less_than_without': less, 'less_than_without_interval': [less_low, less_high],
                'hot_share': float(hot[row].mean()), 'switches': float(switches[row].mean()),
            })  # fmt: skip
        progress(f'{label}: over the oracle ' + ', '.join(f'{d:g}: {m:.3f}' for d, m in zip(DISCOUNTS, over.mean(1), strict=True)))
    heat = [r for r in results if r['case'] == 'heat']
    mine = min(heat, key=lambda r: abs(r['discount'] - defaults.table.discount))
    gain, (low, _) = mine['less_than_without'] * 100, mine['less_than_without_interval']
    name = f'heat: latency saved by the default discount {mine["discount"]:g} (interval above 0)'
    targets = [Target(name, '> 0', gain, '% of the oracle', low > 0)]
    parts = []
    for label in cases:
        best = min((r for r in results if r['case'] == label), key=lambda r: float(r['over_oracle']))
        low, high = (x * 100 for x in best['less_than_without_interval'])
        parts.append(f'{label}: discount {best["discount"]:g} is best, {low:.1f} to {high:.1f} % of the oracle less than without')
    return BenchResult(results, targets, lambda figure: _plot(figure, results), '. '.join(parts) + '.')


def _plot(figure: Figure, results: list[dict[str, Any]]) -> None:
    axes = figure.subplots(1, 2)
    for axis, label in zip(axes, dict.fromkeys(r['case'] for r in results), strict=False):
        rows = [r for r in results if r['case'] == label]
        mean = np.array([r['over_oracle'] for r in rows])
        bounds = np.array([r['over_oracle_interval'] for r in rows])
        axis.errorbar(range(len(rows)), mean, yerr=np.abs(bounds.T - mean), marker='o')
        axis.set_xticks(range(len(rows)), [f'{r["discount"]:g}' for r in rows])
        axis.set(title=label, xlabel='discount per second', ylabel='mean latency over the oracle')

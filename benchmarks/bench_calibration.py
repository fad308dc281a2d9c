# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether predictions of switches are calibrated, and what a hysteresis from their record is worth against a constant one.

Exact planning in the simulated fleet of ``bench policies``, on paired seeds: with its constant hysteresis, and with a
record of its switches that goes on from course to course, as a scheduler's does on disk. Intervals are nominal 90 % intervals
of what frames take after a switch; those count whose width came from the record (all but the first eight switches).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.control.decision.calibration import Assessment, Calibration, CalibrationSettings
from edge_dnn_partition.control.decision.exact import ExactPolicy
from edge_dnn_partition.control.decision.recorded import RecordedPolicy

from .intervals import mean_and_interval
from .policy_fleet import EFFECTS, Scenario, SimulatedFleet
from .policy_run import run as play

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = list[dict[str, Any]]
_FIRST_SEED: Final = 300
"""Beyond those of the other benchmarks and those that the design was done on."""
_NEVER: Final = CalibrationSettings(least_switches=sys.maxsize)
"""Of a record that never counts."""


def _scenario(scenario: Scenario, seeds: int) -> tuple[dict[str, Any], list[Assessment]]:
    record = Calibration()
    plain, recorded, switches = [], [], np.zeros(2)
    found: list[Assessment] = []
    for seed in range(_FIRST_SEED, _FIRST_SEED + seeds):
        fleet = SimulatedFleet(scenario, seed)
        constant = play(fleet, RecordedPolicy(ExactPolicy(), Calibration(_NEVER)))
        own = play(fleet, RecordedPolicy(ExactPolicy(), record))
        plain.append(float(constant.seconds.mean()))
        recorded.append(float(own.seconds.mean()))
        switches += constant.switches, own.switches
        while record.fresh:
            found.append(record.fresh.popleft())
    counted = found[record.settings.least_switches :]
    ratio, low, high = mean_and_interval([b / a for a, b in zip(plain, recorded, strict=True)])
    return {
        'scenario': scenario.name, 'seeds': seeds, 'level': record.settings.level, 'switches_constant': int(switches[0]),
        'switches': int(switches[1]), 'assessed': len(found), 'intervals': len(counted),
        'coverage': float(np.mean([a.inside for a in counted])) if counted else math.nan,
        'normal_coverage': float(np.mean([abs(a.log_error) <= 1.645 * a.deviation for a in counted])) if counted else math.nan,
        'bias': record.bias, 'paid': record.paid, 'hysteresis': record.hysteresis, 'over_constant': ratio,
        'over_constant_interval': [low, high],
    }, counted  # fmt: skip


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes six seeds and shorter courses."""
    frames, seeds = (600, 6) if quick else (900, 20)
    results: Results = []
    every: dict[str, list[Assessment]] = {}
    scenarios = [Scenario('nothing hidden', (), frames=frames), *(Scenario(e, (e,), frames=frames) for e in EFFECTS)]
    for scenario in [*scenarios, Scenario('all', EFFECTS, frames=frames)]:
        row, every[scenario.name] = _scenario(scenario, seeds)
        results.append(row)
        progress(
            f'{row["scenario"]}: {row["coverage"]:.0%} of {row["intervals"]} intervals hold, hysteresis {row["hysteresis"]:.3f}, '
            f'latency over that with a constant {row["over_constant"]:.3f}'
        )
    targets = []
    shown, hidden = every['nothing hidden'], [a for name, rows in every.items() if name != 'nothing hidden' for a in rows]
    for label, rows in (('nothing hidden', shown), ('hidden effects', hidden)):
        share = float(np.mean([a.inside for a in rows])) if rows else math.nan
        targets.append(Target(f'{label}: nominal 90 % intervals that hold', '0.85 to 0.95', share, '', 0.85 <= share <= 0.95))
    ratio = float(np.mean([row['over_constant'] for row in results]))
    targets.append(Target('mean latency with the record over that with a constant', '<= 1.01', ratio, 'x', ratio <= 1.01))
    conclusion = (
        f'{targets[0].measured:.0%} and {targets[1].measured:.0%} of nominal 90 % intervals hold without and with hidden effects; '
        f'with as many standard deviations as a normal distribution asks for, '
        f'{np.mean([abs(a.log_error) <= 1.645 * a.deviation for a in hidden]) if hidden else math.nan:.0%} would with them. '
        f'Latency with the record is {ratio:.3f} times that with a constant hysteresis.'
    )
    return BenchResult(results, targets, lambda figure: _plot(figure, results, every), conclusion)


def _plot(figure: Figure, results: Results, every: dict[str, list[Assessment]]) -> None:
    left, right = figure.subplots(1, 2)
    names = [row['scenario'] for row in results]
    left.plot(names, [row['coverage'] for row in results], 'o', color='black', label='width from the record')
    left.plot(names, [row['normal_coverage'] for row in results], 'x', color='grey', label='width of a normal distribution')
    left.axhline(0.9, color='grey', linewidth=0.8, linestyle='--')
    left.set(ylabel='share of intervals that hold', ylim=(0, 1.05), title='after switches')
    left.tick_params(axis='x', rotation=40)
    left.legend(fontsize=7)
    for name, rows in every.items():
        known = [a for a in rows if math.isfinite(a.predicted_gain)]
        right.plot([a.predicted_gain for a in known], [a.measured_gain for a in known], '.', markersize=3, label=name)
    right.plot([0, 0.8], [0, 0.8], color='grey', linewidth=0.8)
    right.set(xlabel='predicted gain', ylabel='measured gain', ylim=(-0.6, 0.9), title='gains')
    right.legend(fontsize=7)

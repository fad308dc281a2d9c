# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of real uplinks: the scheduler against a clairvoyant bound, an informed one, and other ways to plan.

The demo's three devices; both directions of the cloud's links follow a recording, the others are constant. In simulated time the
product's own classes play whole recordings for five networks, on devices whose speeds are modelled (`trace_models`); real
processes play a part of four recordings. A mean is over the camera's pictures: one that was dropped counts as the frame that
was in its way. Without recordings the testbed's synthetic traces are played, and called so. The recordings of the figures in
`docs/` are of LTE and UMTS uplinks in cars (ravinet/mahimahi, `traces/*.up`) and of 5G and LTE modems (MTU-Insectt/Measurements5G,
project InSecTT); they are not part of this package.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.cli.bench_report import BenchResult, Target

from . import trace_models, trace_processes
from .trace_play import Recording, Setting, line_of, recordings, simulated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS', 'sklearn', 'torch', 'transformers')
OPTIONS = ('traces',)
_FPS: Final = (5.0, 20.0)
_QUICK_SECONDS: Final = 60.0
_QUICK_MODELS: Final = ('resnet18', 'vgg16')
_PROCESS_SECONDS: Final = 120.0
_PROCESS_RECORDINGS: Final = 4


def _case(recording: Recording, model: str, fps: float, say: Callable[[str], None]) -> dict[str, Any]:
    setting = Setting(trace_models.pipeline_of(model), trace_models.PICTURE_BYTES)
    return simulated(recording, model, fps, setting, rivals=True, say=say)


def _quiet(case: tuple[Recording, str, float]) -> dict[str, Any]:
    return _case(*case, lambda _: None)


def run(*, quick: bool, progress: Callable[[str], None], traces: Path | None = None) -> BenchResult:
    """Run the benchmark.

    :param quick: two networks at 5 frames per second on the first minute of the two shortest recordings, in simulated time alone.
    :param traces: a folder of recordings, CSV ``seconds,bits_per_second``; None: the testbed's synthetic ones.
    :raises UserError: if the folder or a file in it is not as it should be.
    """
    found = recordings(traces)
    if quick:
        rows = [_case(recording.first(_QUICK_SECONDS), model, 5.0, progress) for recording in found[:2] for model in _QUICK_MODELS]
    else:
        for model in trace_models.MODELS:
            trace_models.model_of(model)  # built once, before the processes that share it begin
        rows = trace_processes.run([one.first(_PROCESS_SECONDS) for one in found[:_PROCESS_RECORDINGS]], progress)
        cases = [(recording, model, fps) for recording, model, fps in itertools.product(found, trace_models.MODELS, _FPS)]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for row in pool.map(_quiet, cases):
                progress(line_of(row))
                rows.append(row)
    return BenchResult(rows, targets_of(rows), functools.partial(_plot, rows=rows), _conclusion(rows))


def targets_of(rows: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Return how many rows reach each figure, and the worst one."""
    kind = 'synthetic recording' if any(row['synthetic'] for row in rows) else 'recording'
    targets = []
    asked = (('ratio_to_informed', 1.05, 'mean latency over the informed bound'),
             ('ratio_to_bound', 1.15, 'mean latency over the clairvoyant bound'),
             ('over_1_5', 0.03, 'share of the pictures over 1.5x of the clairvoyant bound'))  # fmt: skip
    for form, (key, most, what) in itertools.product(('simulated', 'processes'), asked):
        values = [row[key] for row in rows if row['form'] == form]
        if values:
            worst = max(values)
            met = sum(value <= most for value in values)
            unit = 'share' if key == 'over_1_5' else 'x'
            targets.append(Target(f'{form}: {what}, worst {kind} ({met} of {len(values)} reach it)', f'<= {most:g}', worst, unit,
                                  worst <= most))  # fmt: skip
    compared = [row for row in rows if row['baselines']]
    if compared:
        ahead = sum(len(row['better_than']) == len(row['baselines']) for row in compared)
        targets.append(Target(f'simulated: no baseline is quicker, {kind}s', len(compared), ahead, f'of {len(compared)}',
                              ahead == len(compared)))  # fmt: skip
    for row in rows:
        if row['form'] == 'processes':
            off = abs(row['simulated_over_lived'])
            targets.append(Target(f'{row["trace"]}: simulated mean latency against that of processes', '<= 10 %', 100 * off, '%',
                                  off <= 0.1))  # fmt: skip
    lost = sum(row['lost'] for row in rows)
    targets.append(Target('accepted frames lost by the scheduler in force', 0, lost, '', not lost))
    return targets


def _conclusion(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for name, group in itertools.groupby(sorted(rows, key=lambda row: row['trace']), key=lambda row: row['trace']):
        same = list(group)
        ratios = [row['ratio_to_bound'] for row in same]
        beaten = sorted({other for row in same for other in row['baselines'] if other not in row['better_than']})
        parts.append(f'{name}{" (synthetic)" if same[0]["synthetic"] else ""}: {np.median(ratios):.2f} x clairvoyant (median of '
                     f'{len(same)}; worst {max(ratios):.2f})' + (f', behind {", ".join(beaten)}' if beaten else ''))  # fmt: skip
    return '; '.join(parts) + '.'


def _plot(figure: Figure, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw each recording's ratios, the scheduler's beside its rivals', and the slowest streams."""
    names = list(dict.fromkeys(row['trace'] for row in rows))
    slowest = [max((row for row in rows if row['trace'] == name), key=lambda row: row['ratio_to_bound']) for name in names]
    figure.set_size_inches(12, 4 + 2.2 * len(names))
    axes = np.atleast_1d(figure.subplots(1 + len(names), 1))
    for place, name in enumerate(names):
        mine = [row['ratio_to_bound'] for row in rows if row['trace'] == name]
        told = [row['informed_ratio_to_bound'] for row in rows if row['trace'] == name and row['form'] == 'simulated']
        best = [min(row['baselines'].values()) for row in rows if row['trace'] == name and row['baselines']]
        for offset, values, colour, label in (
            (-0.2, mine, 'black', 'the scheduler'), (0.0, told, 'tab:green', 'informed'), (0.2, best, 'tab:red', 'best baseline'),
        ):  # fmt: skip
            axes[0].plot([place + offset] * len(values), values, '.', color=colour, label=label if not place else None)
    axes[0].axhline(1.15, color='grey', linewidth=0.8, linestyle='--')
    axes[0].set(yscale='log', ylabel='mean latency over\nthe clairvoyant bound', xticks=range(len(names)))
    axes[0].set_xticklabels(names, fontsize='x-small', rotation=15)
    axes[0].legend(fontsize='x-small')
    for place, row in zip(axes[1:], slowest, strict=True):
        place.plot(*zip(*row['stream'], strict=True), '.', markersize=2)
        kind = 'synthetic, ' if row['synthetic'] else ''
        place.set(yscale='log', ylabel='ms', title=f'{row["trace"]} ({kind}{row["form"]}), {row["model"]} at {row["fps"]:g} fps')
        place.title.set_fontsize('x-small')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of real uplinks: the scheduler against a clairvoyant bound, an informed one, and other ways to plan.

The demo's three devices; both directions of the cloud's links follow a recording, the others are constant. In simulated time the
product's own classes play whole recordings for five networks, on devices whose speeds are modelled (`trace_models`); real
processes play a part of four recordings. A mean is over the camera's images: one that was dropped counts as the frame that
was in its way. Without recordings the testbed's synthetic traces are played, and called so. The recordings of the figures in
`docs/` are of LTE and UMTS uplinks in cars (ravinet/mahimahi, `traces/*.up`) and of 5G and LTE modems (MTU-Insectt/Measurements5G,
project InSecTT); they are not part of this package.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
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
OPTIONS = ('traces', 'seconds', 'rows')
_FPS: Final = (5.0, 20.0)
_QUICK_SECONDS: Final = 60.0
_QUICK_MODELS: Final = ('resnet18', 'vgg16')
_PROCESS_SECONDS: Final = 120.0
_PROCESS_RECORDINGS: Final = 4


def _case(recording: Recording, model: str, fps: float, say: Callable[[str], None]) -> dict[str, Any]:
    setting = Setting(trace_models.pipeline_of(model), trace_models.IMAGE_BYTES)
    return simulated(recording, model, fps, setting, rivals=True, say=say)


def _quiet(case: tuple[Recording, str, float]) -> dict[str, Any]:
    return _case(*case, lambda _: None)


def run(
    *, quick: bool, progress: Callable[[str], None], rows: Path, traces: Path | None = None, seconds: float = math.inf
) -> BenchResult:
    """Run the benchmark.

    :param quick: two networks at 5 frames per second on the first minute of the two shortest recordings, in simulated time alone.
    :param rows: a file that gets each row, a line of JSON, as it comes.
    :param traces: a folder of recordings, CSV ``seconds,bits_per_second``; None: the testbed's synthetic ones.
    :param seconds: so much of each recording is played in simulated time.
    :raises UserError: if the folder or a file in it is not as it should be.
    """
    found = [recording.first(seconds) for recording in recordings(traces)]
    with rows.open('w', encoding='utf-8') as file:
        known = []
        for row in _quick(found, progress) if quick else _whole(found, recordings(traces), progress):
            known.append(row)
            print(json.dumps(row), file=file, flush=True)
    return result_of(known)


def _quick(found: Sequence[Recording], progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for recording, model in itertools.product(found[:2], _QUICK_MODELS):
        yield _case(recording.first(_QUICK_SECONDS), model, 5.0, progress)


def _whole(
    found: Sequence[Recording], whole: Sequence[Recording], progress: Callable[[str], None]
) -> Iterator[dict[str, Any]]:  # fmt: skip
    for model in trace_models.MODELS:
        trace_models.model_of(model)  # built once, before the processes that share it begin
    yield from trace_processes.run([one.first(_PROCESS_SECONDS) for one in whole[:_PROCESS_RECORDINGS]], progress)
    yield from simulated_rows(found, progress)


def simulated_rows(found: Sequence[Recording], progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield the rows of all recordings, networks and frame rates in simulated time, as they come; they give way to other work."""
    cases = [(recording, model, fps) for model, fps, recording in itertools.product(trace_models.MODELS, _FPS, found)]
    with ProcessPoolExecutor(os.cpu_count(), initializer=os.nice, initargs=(19,)) as pool:
        for row in pool.map(_quiet, cases):
            progress(f'{line_of(row)}, {row["images_per_cpu_second"]:.0f} images a second of CPU time')
            yield row


def result_of(rows: Sequence[Mapping[str, Any]]) -> BenchResult:
    """Return what some rows say; each frame and plan stands in the rows as they came, and in the plot."""
    kept = [{name: value for name, value in row.items() if name not in ('stream', 'plans')} for row in rows]
    return BenchResult(kept, targets_of(rows), functools.partial(_plot, rows=rows), _conclusion(rows))


def targets_of(rows: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Return how many rows reach each figure, and the worst one."""
    kind = 'synthetic recording' if any(row['synthetic'] for row in rows) else 'recording'
    targets = []
    asked = (('ratio_to_informed', 1.05, 'mean latency over the informed bound'),
             ('ratio_to_bound', 1.15, 'mean latency over the clairvoyant bound'),
             ('over_1_5', 0.03, 'share of the images over 1.5x of the clairvoyant bound'))  # fmt: skip
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
        speed = float(np.median([row['images_per_cpu_second'] for row in compared]))
        targets.append(Target('simulated: images played in a second of one core, median', '>= 1000', speed, '1/s', speed >= 1000))
    for row in rows:
        if row['form'] == 'processes':
            off = abs(row['simulated_over_lived'])
            targets.append(Target(f'{row["trace"]}: simulated mean latency against that of processes', '<= 10 %', 100 * off, '%',
                                  off <= 0.1))  # fmt: skip
    lost = sum(row['lost'] for row in rows)
    targets.append(Target('accepted frames lost by the scheduler in force', 0, lost, '', not lost))
    return targets


def _conclusion(rows: Sequence[Mapping[str, Any]]) -> str:
    played = [row for row in rows if row['form'] == 'simulated']
    parts = []
    for name in sorted({row['trace'] for row in played}):
        same = [row for row in played if row['trace'] == name]
        part = f', its first {same[0]["seconds"]:.0f} s' if same[0]['seconds'] < same[0]['whole_seconds'] else ''
        keys = 'mean_seconds', 'informed_seconds', 'bound_seconds'
        mine, told, bound = (1e3 * np.mean([row[key] for row in same]) for key in keys)
        worst = max(row['ratio_to_bound'] for row in same)
        parts.append(f'{name}{" (synthetic)" if same[0]["synthetic"] else ""}{part}: mean latency {mine:.0f} ms, informed '
                     f'{told:.0f}, clairvoyant {bound:.0f} (means of {len(same)} cases, at worst {worst:.2f} x clairvoyant)'
                     f'{_quicker(same)}')  # fmt: skip
    parts.extend(
        f'{row["trace"]}, real processes for {row["seconds"]:.0f} s: {1e3 * row["mean_seconds"]:.0f} ms, simulated '
        f'{1e3 * row["simulated_mean_seconds"]:.0f} ({100 * row["simulated_over_lived"]:+.0f} %), the machine\'s load average '
        f'{row["load_5min"]:.1f}'
        for row in rows if row['form'] == 'processes'
    )  # fmt: skip
    return '; '.join(parts) + '.'


def _quicker(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which baselines are quicker, in how many cases and by how much; fixed plans count as the best of them."""
    found: dict[str, list[float]] = {}
    for row in rows:
        gains: dict[str, float] = {}
        for name, ratio in row['baselines'].items():
            kind = 'a fixed plan' if name.startswith('fixed ') else name
            gains[kind] = max(gains.get(kind, 0.0), 1 - ratio / row['ratio_to_bound'])
        for kind, gain in gains.items():
            if gain > 0:
                found.setdefault(kind, []).append(gain)
    told = [f'{kind} in {len(gains)} (by {100 * np.median(gains):.0f} %)' for kind, gains in sorted(found.items())]
    return f', quicker are {", ".join(told)}' if told else ''


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
        place.plot(*zip(*row['stream'], strict=True), '.', color='black', markersize=2)
        kind = 'synthetic, ' if row['synthetic'] else ''
        place.set(yscale='log', ylabel='ms', title=f'{row["trace"]} ({kind}{row["form"]}), {row["model"]} at {row["fps"]:g} fps')
        place.title.set_fontsize('x-small')

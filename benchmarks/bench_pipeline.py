# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Throughput of one to four equal devices, and of three unequal ones (4:2:1), against the sum of their speeds.

Each device is slowed to a third of a core, so that four of them fit on a machine of two cores. A device's speed is what
it delivers with the whole model, measured in the same run. Plans are the planner's for throughput in which no device has two
stages, from this machine's profile; *any plan*: with as many as it likes; an *equal* split is its plan for equal devices, put
on the unequal ones. Links of 1 Gbit/s between namespaces (root), or in user space without. *Cores*: what the machine was
busy with meanwhile, of its cores: it bounds what four devices can do.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.bed_file import BedFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.bed import Bed
    from edge_dnn_partition.planning.pipeline import Pipeline

Say = Callable[[str], None]
Row = dict[str, Any]

MODELS: Final = ('resnet50', 'vit_b16')
NAMES: Final = ('d1', 'd2', 'd3', 'd4')
SLOWDOWN: Final = 3.0
UNEQUAL: Final = {'d1': 1.0, 'd2': 2.0, 'd3': 4.0}
"""Load of each device: the first is four times as fast as the last."""
_RATE = 1e9 / 8


def _bed_file(folder: Path, model: str) -> BedFile:
    settings = folder / f'{model}.yaml'
    settings.write_text(yaml.safe_dump({**demo_model.preprocessing(), 'size': [224, 224]}))
    return BedFile.parse({
        'fleet': 'pipeline', 'source': NAMES[0], 'objective': 'throughput',
        'model': {'path': str(zoo.model_path(model)), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': SLOWDOWN}} for name in NAMES},
        'links': [{'between': list(pair), 'rate': '1 Gbit/s'} for pair in itertools.combinations(NAMES, 2)],
        'parameters': {
            'worker': {'profile_runs': 2},
            'scheduler': {'policy': 'fixed', 'fixed_plan': f'{NAMES[0]}:pre-end'},
            'frame_source': {'waiting': 4},
        },
    })  # fmt: skip


class _Planner:
    """The planner's plans for a bed's model on this machine's profile."""

    def __init__(self, bed: Bed) -> None:
        from edge_dnn_partition.planning.pipeline import Pipeline

        self._pipeline: Pipeline = Pipeline(bed.model, bed.profiles, bed.fleet)
        self._picture_bytes = float(len(bed.pictures[0].data))
        self._bed = bed

    def label(self, names: Sequence[str], loads: Mapping[str, float], space: str = 'each_device_once') -> str:
        """Return the plan of most throughput for some devices, without or with several stages on one device."""
        from edge_dnn_partition.cli.demo_run import label_of
        from edge_dnn_partition.planning.compose import placement_of
        from edge_dnn_partition.planning.objective import Goal
        from edge_dnn_partition.planning.solve import solve
        from edge_dnn_partition.sensing.link import LinkEstimate

        links = {pair: LinkEstimate(_RATE, 0.0005, measured=True) for pair in itertools.permutations(names, 2)}
        problem = self._pipeline.problem(devices=names, factors=loads, links=links, input_bytes=self._picture_bytes)
        found = solve(problem, Goal('throughput'), space)
        assert found.assignment is not None
        return label_of(self._bed.model, placement_of(found.assignment, self._pipeline.boundaries), self._pipeline)


def _throughput(bed: Bed, label: str, expected: float, *, quick: bool) -> tuple[float, float]:
    """Return frames per second under a plan that has more pictures than it can take, and how many cores were busy."""
    stages = len(bed.force(label).stages)
    bed.set_parameter(f'{NAMES[0]}/frame_source', 'max_in_flight', stages + 2)
    count = 10 if quick else 16
    psutil.cpu_percent()
    with bed.camera(1.4 * expected + 1) as frames:
        bed.wait_for(lambda: len(frames()) >= count + stages + 2, 120.0, f'{count} frames of {label}')
        busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        at = [frame.at for frame in frames() if frame.delivered][stages + 1 :]  # the pipeline is full by then
    return (len(at) - 1) / (at[-1] - at[0]), busy


def _measure(folder: Path, model: str, *, quick: bool, say: Say) -> list[Row]:
    from edge_dnn_partition.cli.bed import Bed

    rows: list[Row] = []

    def add(case: str, label: str, expected: float, speeds: float | None = None) -> float:
        fps, busy = _throughput(bed, label, expected, quick=quick)
        of_speeds = fps / (speeds or fps)
        say(f'{model}, {case}: {fps:.2f} fps, {of_speeds:.2f} of the sum of the speeds, {busy:.2f} cores busy; {label}')
        rows.append({'model': model, 'case': case, 'plan': label, 'fps': fps, 'sum_of_speeds_fps': speeds or fps,
                     'of_the_sum': of_speeds, 'busy_cores': busy})  # fmt: skip
        return fps

    with Bed(_bed_file(folder, model), say=say) as bed:
        planner = _Planner(bed)
        bed.stream(3.0, 2.0)
        one = add('1 equal', f'{NAMES[0]}:pre-end', 3.0)
        for count in range(2, len(NAMES) + 1):
            add(f'{count} equal', planner.label(NAMES[:count], {}), one * count, one * count)
        add('4 equal, any plan', planner.label(NAMES, {}, 'any'), 2 * one, 4 * one)
        names = list(UNEQUAL)
        for name, load in UNEQUAL.items():
            bed.set_load(name, load)
        alone = {name: add(f'{name} alone', f'{name}:pre-end', one / UNEQUAL[name]) for name in names}
        total = sum(alone.values())
        add('4:2:1, planned', planner.label(names, UNEQUAL), total, total)
        add('4:2:1, equal split', planner.label(names, {}), 3 * alone[names[-1]], total)
    return rows


def run(*, quick: bool, progress: Say) -> BenchResult:
    """Run the benchmark; ``quick`` takes ResNet-50 only, and fewer frames."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    results: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for model in MODELS[:1] if quick else MODELS:
            results += _measure(Path(name), model, quick=quick, say=progress)
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _targets(results: list[Row]) -> list[Target]:
    targets = []
    for model in dict.fromkeys(row['model'] for row in results):
        rows = {row['case']: row for row in results if row['model'] == model}
        for case in (*(f'{count} equal' for count in range(2, len(NAMES) + 1)), '4:2:1, planned'):
            share = rows[case]['of_the_sum']
            name = f'{model}, {case}: fps over the sum of the speeds ({rows[case]["busy_cores"]:.1f} cores busy)'
            targets.append(Target(name, '>= 0.85', share, '', share >= 0.85))
        gain = rows['4:2:1, planned']['fps'] / rows['4:2:1, equal split']['fps']
        targets.append(Target(f'{model}, 4:2:1: planned over the equal split', '> 1', gain, '', gain > 1))
    return targets


def _conclusion(results: list[Row]) -> str:
    parts = []
    for model in dict.fromkeys(row['model'] for row in results):
        rows = {row['case']: row for row in results if row['model'] == model}
        parts.append(
            f'{model}: four equal devices reach {rows["4 equal"]["of_the_sum"]:.2f} of the sum of their speeds '
            f'({rows["4 equal"]["busy_cores"]:.1f} of {psutil.cpu_count()} cores busy), three of 4:2:1 '
            f'{rows["4:2:1, planned"]["of_the_sum"]:.2f}, an equal split {rows["4:2:1, equal split"]["of_the_sum"]:.2f}'
        )
    return '; '.join(parts) + '.'


def _plot(figure: Figure, results: list[Row]) -> None:
    models = list(dict.fromkeys(row['model'] for row in results))
    for axes, model in zip(np.atleast_1d(figure.subplots(1, len(models))), models, strict=True):
        rows = [row for row in results if row['model'] == model and 'alone' not in row['case']]
        places = np.arange(len(rows))
        axes.bar(places, [row['fps'] for row in rows], 0.6, color='tab:blue', label='measured')
        axes.plot(places, [row['sum_of_speeds_fps'] for row in rows], 'k_', markersize=30, label='sum of the speeds')
        axes.plot(places, [0.85 * row['sum_of_speeds_fps'] for row in rows], 'r_', markersize=30, label='0.85 of it')
        axes.set_xticks(places, [row['case'].replace(', ', ',\n') for row in rows], rotation=30)
        axes.set(ylabel='frames per second', title=model)
        axes.legend()

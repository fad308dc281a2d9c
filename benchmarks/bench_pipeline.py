# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Throughput of one to four equal devices, and of three unequal ones (4:2:1), against the sum of their speeds.

Each device is slowed so that four of them, with what carries their tensors, fit on a machine of two cores: ResNet-50 runs on
an eighth of a core, ViT-B/16 on a quarter. A device's speed is what it delivers with the whole model, measured in the same
run and over as many frames, with the camera always quicker than the plan in force is predicted to be (*offered*). Plans are those
that the scheduler would make on this machine's profile over links of 1 Gbit/s; *one stage each*: in which no device has two
stages; *live*: the scheduler's own choice, on what it has measured of the fleet; an *equal* split is the plan for equal devices,
put on the unequal ones. Links are between namespaces (root), or in user space without. Frames under way are bounded by the plan
alone. *Plan*: the part of the sum that the plan is predicted to reach, since layers are not cut finer than the profile. *Cores*:
how many of this machine's were busy meanwhile: they bound what four devices can do. Intervals are 95 % bootstrap intervals
(percentiles) of the mean time between results.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.testbed_file import TestbedFile

from .intervals import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.testbed import Testbed
    from edge_dnn_partition.planning.fleet.pipeline import Pipeline

NEEDS = ('ROS', 'torch', 'transformers')
Say = Callable[[str], None]
Row = dict[str, Any]

SLOWDOWNS: Final = {'resnet50': 8.0, 'vit_b16': 4.0}
NAMES: Final = ('d1', 'd2', 'd3', 'd4')
UNEQUAL: Final = {'d1': 1.0, 'd2': 2.0, 'd3': 4.0}
"""Load of each device: the first is four times as fast as the last."""
PATIENT_SECONDS: Final = 90.0
_LEAST: Final = 3
LIVE_SECONDS: Final = 15.0
"""So long the scheduler is left to find a plan of its own, with frames under way."""
_RATE = 1e9 / 8


def _testbed_file(folder: Path, model: str) -> TestbedFile:
    settings = folder / f'{model}.yaml'
    settings.write_text(yaml.safe_dump({**demo_model.preprocessing(), 'size': [224, 224]}))
    return TestbedFile.parse({
        'fleet': 'pipeline', 'source': NAMES[0], 'objective': 'throughput',
        'model': {'path': str(zoo.model_path(model)), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': SLOWDOWNS[model]}} for name in NAMES},
        'links': [{'between': list(pair), 'rate': '1 Gbit/s'} for pair in itertools.combinations(NAMES, 2)],
        'parameters': {
            'worker': {'profile_runs': 3},
            'scheduler': {'policy': 'fixed', 'fixed_plan': f'{NAMES[0]}:pre-end'},
        },
    })  # fmt: skip


class _Planner:
    """The planner's plans for a testbed's model on this machine's profile."""

    def __init__(self, testbed: Testbed) -> None:
        from edge_dnn_partition.planning.fleet.pipeline import Pipeline

        self._pipeline: Pipeline = Pipeline(testbed.model, testbed.profiles, testbed.fleet)
        self._image_bytes = float(len(testbed.images[0].data))
        self._testbed = testbed

    def label(self, names: Sequence[str], loads: Mapping[str, float], space: str = 'any') -> str:
        """Return the plan of most throughput for some devices, as the scheduler looks for it."""
        from edge_dnn_partition.cli.demo_run import label_of
        from edge_dnn_partition.planning.objectives import Goal
        from edge_dnn_partition.planning.plans.compose import placement_of
        from edge_dnn_partition.planning.solvers.solve import solve
        from edge_dnn_partition.sensing.link import LinkEstimate

        links = {pair: LinkEstimate(_RATE, 0.0005, measured=True) for pair in itertools.permutations(names, 2)}
        problem = self._pipeline.problem(devices=names, factors=loads, links=links, input_bytes=self._image_bytes)
        found = solve(problem, Goal('throughput'), space, quick=True)
        assert found.assignment is not None
        return label_of(self._testbed.model, placement_of(found.assignment, self._pipeline.boundaries), self._pipeline)


@dataclass(frozen=True)
class _Reading:
    """What a plan delivered: frames per second with their interval, what was predicted and offered, how many cores were busy."""

    fps: float
    low_fps: float
    high_fps: float
    predicted_fps: float
    offered_fps: float
    busy_cores: float


def _throughput(testbed: Testbed, stages: int, expected: float, count: int) -> _Reading:
    """Measure the plan in force, which gets more images than it can take, over so many times between results."""
    full = stages + 2  # frames until the pipeline is full
    plan = testbed.client.plan
    predicted = 1 / plan.bottleneck_seconds if plan is not None and plan.bottleneck_seconds > 0 else 0.0
    offered = 1.4 * max(expected, predicted) + 1
    psutil.cpu_percent()
    at: list[float] = []
    # A pipeline of many slow stages may take longer to run dry than is waited for; what was measured stands.
    with contextlib.suppress(UserError), testbed.camera(offered) as frames:
        until = time.monotonic() + PATIENT_SECONDS
        testbed.wait_for(lambda: len(frames()) > count + full or time.monotonic() > until, 2 * PATIENT_SECONDS, f'{count} frames')
        busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        at = [frame.at for frame in frames() if frame.delivered][full:]
    between = np.diff(at)
    if len(between) < _LEAST:
        raise UserError(f'too few frames came in {PATIENT_SECONDS:g} s')
    short, long = interval(between, np.mean)
    return _Reading(1 / float(between.mean()), 1 / long, 1 / short, predicted, offered, busy)


class _Cases:
    """Measures one case after the other and keeps the rows."""

    def __init__(self, testbed: Testbed, model: str, count: int, say: Say) -> None:
        self._testbed, self._model, self._count, self._say = testbed, model, count, say
        self.rows: list[Row] = []

    def add(self, case: str, label: str, expected: float, total: float | None = None, count: int | None = None) -> float:
        """Measure a plan.

        :param label: empty: the scheduler's own choice.
        :param expected: frames per second, about; the camera is faster than that and than is predicted.
        :param total: the sum of the devices' speeds; None: it is what is measured.
        """
        if label:
            plan = self._testbed.force(label)
        else:
            self._testbed.free()
            with self._testbed.camera(1.4 * expected + 1):
                time.sleep(LIVE_SECONDS)
            plan = self._testbed.client.plan
            assert plan is not None
        label = label or plan.label()
        try:
            got = _throughput(self._testbed, len(plan.stages), expected, count or self._count)
        except UserError as error:
            self._say(f'{self._model}, {case}: {error}; {label}')
            got = _Reading(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        whole = total or got.fps or 1.0
        self._say(
            f'{self._model}, {case}: {got.fps:.2f} fps ({got.low_fps:.2f} to {got.high_fps:.2f}), {got.fps / whole:.2f} of the '
            f'sum of the speeds, {got.predicted_fps / whole:.2f} predicted, {got.busy_cores:.2f} cores busy; {label}'
        )
        self.rows.append({
            'model': self._model, 'case': case, 'plan': label, 'fps': got.fps, 'low_fps': got.low_fps,
            'high_fps': got.high_fps, 'sum_of_speeds_fps': whole, 'of_the_sum': got.fps / whole,
            'predicted_of_the_sum': got.predicted_fps / whole, 'offered_fps': got.offered_fps, 'busy_cores': got.busy_cores,
        })  # fmt: skip
        return got.fps


def _measure(folder: Path, model: str, *, quick: bool, say: Say) -> list[Row]:
    from edge_dnn_partition.cli.testbed import Testbed

    with Testbed(_testbed_file(folder, model), say=say) as testbed:
        planner = _Planner(testbed)
        cases = _Cases(testbed, model, 5 if quick else 24, say)
        testbed.stream(1.0 if quick else 3.0, 2.0)
        one = cases.add('1 equal', f'{NAMES[0]}:pre-end', 1.0)
        for count in (4,) if quick else (2, 3, 4):
            cases.add(f'{count} equal', planner.label(NAMES[:count], {}), one * count, one * count)
        if not quick:
            cases.add('4 equal, one stage each', planner.label(NAMES, {}, 'each_device_once'), 4 * one, 4 * one)
            cases.add('4 equal, live', '', 4 * one, 4 * one)
        names = list(UNEQUAL)
        for name, load in UNEQUAL.items():
            testbed.set_load(name, load)
        alone = {name: one / load for name, load in UNEQUAL.items()}
        for name in () if quick else names[1:]:
            alone[name] = cases.add(f'{name} alone', f'{name}:pre-end', alone[name], count=12)
        total = sum(alone.values())
        cases.add('4:2:1, planned', planner.label(names, UNEQUAL), total, total)
        cases.add('4:2:1, equal split', planner.label(names, {}), 3 * alone[names[-1]], total, count=4 if quick else 10)
    return cases.rows


def run(*, quick: bool, progress: Say) -> BenchResult:
    """Run the benchmark; ``quick`` takes ResNet-50 only, and fewer frames."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    results: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for model in list(SLOWDOWNS)[: 1 if quick else None]:
            results += _measure(Path(name), model, quick=quick, say=progress)
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _targets(results: list[Row]) -> list[Target]:
    targets = []
    for model in dict.fromkeys(row['model'] for row in results):
        rows = {row['case']: row for row in results if row['model'] == model}
        for case in ('2 equal', '3 equal', '4 equal', '4 equal, live', '4:2:1, planned'):
            if case not in rows:
                continue
            share = rows[case]['of_the_sum']
            name = f'{model}, {case}: fps over the sum of the speeds ({rows[case]["busy_cores"]:.1f} cores busy)'
            targets.append(Target(name, '>= 0.85', share, '', share >= 0.85))
        equal = rows['4:2:1, equal split']['fps']
        if not equal:
            continue
        gain = rows['4:2:1, planned']['fps'] / equal
        targets.append(Target(f'{model}, 4:2:1: planned over the equal split', '> 1', gain, '', gain > 1))
    return targets


def _conclusion(results: list[Row]) -> str:
    parts = []
    for model in dict.fromkeys(row['model'] for row in results):
        rows = {row['case']: row for row in results if row['model'] == model}
        four = rows['4 equal']
        parts.append(
            f'{model}: four equal devices reach {four["of_the_sum"]:.2f} of the sum of their speeds, where the plan was predicted '
            f'to reach {four["predicted_of_the_sum"]:.2f} ({four["busy_cores"]:.1f} of {psutil.cpu_count()} cores busy), '
            f'three of 4:2:1 {rows["4:2:1, planned"]["of_the_sum"]:.2f}, an equal split '
            f'{rows["4:2:1, equal split"]["of_the_sum"]:.2f}'
        )
    return '; '.join(parts) + '.'


def _plot(figure: Figure, results: list[Row]) -> None:
    models = list(dict.fromkeys(row['model'] for row in results))
    for axes, model in zip(np.atleast_1d(figure.subplots(1, len(models))), models, strict=True):
        rows = [row for row in results if row['model'] == model and 'alone' not in row['case']]
        places = np.arange(len(rows))
        fps = np.array([row['fps'] for row in rows])
        errors = [fps - [row['low_fps'] for row in rows], [row['high_fps'] for row in rows] - fps]
        axes.bar(places, fps, 0.6, color='tab:blue', yerr=errors, capsize=3, label='measured')
        axes.plot(places, [row['sum_of_speeds_fps'] for row in rows], 'k_', markersize=30, label='sum of the speeds')
        axes.plot(places, [0.85 * row['sum_of_speeds_fps'] for row in rows], 'r_', markersize=30, label='0.85 of it')
        axes.set_xticks(places, [row['case'].replace(', ', ',\n') for row in rows], rotation=90)
        axes.set(ylabel='frames per second', title=model)
        axes.margins(y=0.05)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside lower center', ncols=3, handlelength=4.0, frameon=False)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's images, the check of its results, and its report: a JSON document, a table and a plot."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge_dnn_partition.cli.demo_run import FixedRun, PhaseRun
from edge_dnn_partition.cli.legends import legends_below
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.inputs.images import images
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.inputs import Camera
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.testbed.scenario import panning_camera

if TYPE_CHECKING:
    from rich.console import Console  # noqa: TID251 (the type)

    from edge_dnn_partition.cli.running_fleet import RunningFleet

def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 2)


def phase_document(run: PhaseRun, before: Plan | None, fixed: Mapping[str, FixedRun | None]) -> dict[str, Any]:
    """Return one phase of the report.

    :param before: the plan that was in force when the phase began.
    :param fixed: the measured fixed plans: ``all_on_source``, ``all_on_cloud`` and candidates by label.
    """
    delivered = [frame for frame in run.frames if frame.delivered]
    latencies = np.array([frame.latency_seconds for frame in delivered])
    plans = ([before] if before else []) + run.plans
    counts = {plan.label(): sum(f.plan_version == plan.version for f in delivered) for plan in plans}
    measured = {name: run.p50_seconds for name, run in fixed.items() if run is not None and run.p50_seconds is not None}
    best = min(measured, key=lambda name: measured[name], default=None)
    best_run = fixed[best] if best is not None else None
    return {
        'name': run.phase.name,
        'plan': max(counts, key=lambda label: counts[label], default=''),
        'plans': [plan.label() for plan in plans],
        'changed': bool(run.plans),
        'frames': len(delivered),
        'p50_ms': _ms(float(np.median(latencies))) if len(latencies) else None,
        'p95_ms': _ms(float(np.percentile(latencies, 95))) if len(latencies) else None,
        'fps': round(len(delivered) / (run.end - run.begin), 2),
        'seconds': round(run.end - run.begin, 2),
        'baselines': {
            'all_on_source': {'p50_ms': _ms(measured.get('all_on_source'))},
            'all_on_cloud': {
                'p50_ms': _ms(measured.get('all_on_cloud')),
                **({'note': f'{run.phase.stopped} is stopped: no result'} if run.phase.stopped == 'cloud' else {}),
            },
            'best_fixed': {
                'p50_ms': _ms(measured.get(best)) if best else None,
                'plan': best_run.label if best_run else None,
            },
            'measured': {r.label: _ms(r.p50_seconds) for r in fixed.values() if r is not None},
        },
    }  # fmt: skip


def timeline(runs: Sequence[PhaseRun]) -> list[dict[str, Any]]:
    """Return every frame of the live part, for the dashboard: when it ended, and where its time went; in seconds."""
    return [
        {
            'seconds': round(frame.at - runs[0].begin, 3), 'latency': round(frame.latency_seconds, 5),
            'compute': round(frame.busy_seconds, 5), 'waiting': round(frame.queue_seconds, 5), 'plan': frame.plan_version,
        }
        for run in runs
        for frame in run.frames
        if frame.delivered
    ]  # fmt: skip


def whole_run(runs: Sequence[PhaseRun], fixed: Sequence[Mapping[str, FixedRun | None]]) -> dict[str, Any]:
    """Return medians over the whole run: each phase counts for the same time, one sample a phase's every frame.

    A choice that gives no result in a phase (everything on a cloud that is stopped) is compared over the phases
    in which it can run; its gap is named.
    """
    adaptive = np.concatenate([np.array([f.latency_seconds for f in r.frames if f.delivered]) for r in runs])
    document: dict[str, Any] = {'adaptive': {'p50_ms': _ms(float(np.median(adaptive))), 'mean_ms': _ms(float(adaptive.mean()))}}
    for name in ('all_on_source', 'all_on_cloud'):
        pairs = [(run, table.get(name)) for run, table in zip(runs, fixed, strict=True)]
        medians = [(run, f.p50_seconds) for run, f in pairs if f is not None and f.p50_seconds is not None]
        if not medians:
            document[name] = {'p50_ms': None, 'phases': 0}
            continue
        samples = np.concatenate([np.full(100, seconds) for _, seconds in medians])
        same = np.concatenate(
            [
                np.quantile([f.latency_seconds for f in run.frames if f.delivered] or [np.nan], np.linspace(0, 1, 100))
                for run, _ in medians
            ]
        )
        document[name] = {
            'p50_ms': _ms(float(np.median(samples))),
            'mean_of_p50_ms': _ms(float(np.mean([seconds for _, seconds in medians]))),
            'phases': len(medians),
            'adaptive_p50_ms_in_these_phases': _ms(float(np.median(same))),
            'adaptive_is_lower_by': round(1 - float(np.median(same)) / float(np.median(samples)), 3),
        }
    return document


def table(report: Mapping[str, Any]) -> Table:
    """Return the report's phases for the terminal."""
    result = Table(
        title='latency in ms: the adaptive split, and p50 with all on the source, all on the cloud, and the best fixed split',
        title_justify='left', box=SIMPLE_HEAD, padding=(0, 1),
    )  # fmt: skip
    for name in ('phase', 'plan'):
        result.add_column(name, overflow='fold', min_width=12)
    for name in ('moves', 'p50', 'p95', 'fps', 'source', 'cloud', 'best'):
        result.add_column(name, justify='right')
    for phase in report['phases']:
        base = phase['baselines']

        def show(value: float | None) -> str:
            return '–' if value is None else f'{value:.0f}'

        result.add_row(
            phase['name'], phase['plan'], str(len(phase['plans']) - 1), show(phase['p50_ms']), show(phase['p95_ms']),
            f'{phase["fps"]:.1f}', show(base['all_on_source']['p50_ms']), show(base['all_on_cloud']['p50_ms']),
            show(base['best_fixed']['p50_ms']),
        )  # fmt: skip
    return result


def plot(
    path: Path, runs: Sequence[PhaseRun], report: Mapping[str, Any], changes: Sequence[tuple[float, Plan]]
) -> None:
    """Draw latency over time by plan, with phases, changes of plan and each phase's fixed splits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.5), layout='constrained')
    axes = figure.add_subplot()
    zero = runs[0].begin
    frames = [frame for run in runs for frame in run.frames if frame.delivered]
    names = {plan.version: plan.label() for _, plan in changes}
    before = next(iter(report['phases'][0]['plans']), '')
    labels = [names.get(frame.plan_version, before) for frame in frames]
    for number, label in enumerate(dict.fromkeys(labels)):  # one colour for one plan, whenever it is in force
        mine = [frame for frame, own in zip(frames, labels, strict=True) if own == label]
        axes.plot([f.at - zero for f in mine], [f.latency_seconds * 1e3 for f in mine], '.', color=f'C{number}', label=label)
    tops = [frame.latency_seconds * 1e3 for frame in frames]
    for index, (run, phase) in enumerate(zip(runs, report['phases'], strict=True)):
        begin, end = run.begin - zero, run.end - zero
        axes.axvspan(begin, end, color='0.93' if index % 2 else '0.98', zorder=0)
        axes.text((begin + end) / 2, 1.01, phase['name'].replace(', ', ',\n'), transform=axes.get_xaxis_transform(), ha='center',
                  va='bottom', fontsize=8)  # fmt: skip
        for name, style in (('best_fixed', '-'), ('all_on_source', '--'), ('all_on_cloud', ':')):
            p50 = phase['baselines'][name]['p50_ms']
            if p50 is not None:
                label = name.replace('_', ' ') + ' (p50)' if index == 0 else ''
                axes.hlines(p50, begin, end, color='0.3', linestyle=style, label=label)
                tops.append(min(p50, 600.0))
    for at, _plan in changes:
        if 0 <= at - zero <= runs[-1].end - zero:
            axes.axvline(at - zero, color='black', linestyle=':', linewidth=1)
    axes.set(xlabel='time, s', ylabel='latency from acceptance to result, ms', ylim=(0, 1.05 * max(tops, default=1)))
    figure.suptitle(
        'Live split of a camera stream over an emulated Pi, Jetson and cloud (a colour a plan; dotted: changes)', fontsize=11
    )
    axes.legend(fontsize=8)
    legends_below(figure)
    figure.savefig(path, dpi=110)


TOLERANCE: Final = 1e-4


class Images:
    """The demo's images: a list over and over, or a live camera whose images are kept as they come."""

    def __init__(self, kept: list[Any], camera: Iterator[Any] | None = None) -> None:
        self.kept = kept
        self._camera = camera

    @property
    def mean_bytes(self) -> float:
        """The mean size of an image as it is sent."""
        return float(np.mean([image.data.nbytes for image in self.kept])) if self.kept else 180e3

    def stream(self) -> Iterator[tuple[int, Any]]:
        """Yield images with the index under which they are kept."""
        if self._camera is None:
            yield from itertools.cycle(enumerate(self.kept))
            return
        for image in self._camera:
            self.kept.append(image)
            yield len(self.kept) - 1, image


def chosen_images(args: argparse.Namespace) -> Images:
    """Return the images of ``--images``, ``--video`` or ``--camera``, else the demo's own."""
    stream = images(Camera(images=args.images, video=args.video, camera=args.camera))
    if stream is None:
        return Images(panning_camera())
    if args.camera is not None:
        return Images([], stream)
    return Images(list(itertools.islice(stream, 200)))


def counts_of(running: RunningFleet, console: Console) -> dict[str, int]:
    """Stop the camera, wait until no frame is under way, and return the source's counters."""
    running.camera.stop()
    time.sleep(1.0)  # until the source has reported the last images
    try:
        running.settle(every_frame=False)
    except UserError as error:
        console.print(f'[red]{error}[/red]')
    status = running.news.status
    assert status is not None
    numbers = [frame.frame_number for frame in running.news.frames]
    return {
        'accepted': status.accepted, 'delivered': status.delivered, 'expired': status.expired,
        'failed': status.failed, 'lost': status.lost + status.in_flight,
        'duplicated': len(numbers) - len(set(numbers)),
        'repeated': status.repeated, 'late_results_dropped': status.duplicated,
        'camera_images': status.offered, 'camera_images_skipped': status.dropped,
    }  # fmt: skip


def compare(running: RunningFleet, images: Images) -> dict[str, Any]:
    """Compare each result with that of the whole model on the same image."""
    fleet = running.fleet
    assert fleet.model is not None
    assert fleet.model.preprocessing is not None
    engine = Engine(fleet.model.path)
    entry = running.model.inputs[0]
    preprocessing = Preprocessing.from_yaml(fleet.model.preprocessing)
    wanted: dict[int, dict[str, Any]] = {}
    largest, scale, exact, compared = 0.0, 0.0, 0, 0
    for frame in running.news.frames:
        index = running.camera.shown.get(frame.stamp_ns)
        if index is None or not frame.delivered:
            continue
        if index not in wanted:
            image = images.kept[index]
            wanted[index] = engine.run({entry: preprocessing.apply(image.data, image.encoding)})
        differences = [float(np.abs(frame.outputs[n] - v).max()) for n, v in wanted[index].items()]
        scale = max(scale, *(float(np.abs(v).max()) for v in wanted[index].values()))
        largest = max(largest, *differences)
        exact += max(differences) == 0
        compared += 1
    return {'max_abs_difference': largest, 'largest_output': scale, 'compared': compared, 'bit_exact': exact}


def failures(frames: Mapping[str, int], difference: Mapping[str, Any]) -> list[str]:
    """Return what went wrong, in words; empty if nothing did.

    :param frames: as `counts_of` returns them.
    :param difference: as `compare` does.
    """
    found = []
    ended = frames['delivered'] + frames['expired'] + frames['failed']
    if frames['lost'] or frames['duplicated'] or frames['accepted'] != ended:
        found.append('frames were lost or delivered twice')
    if frames['failed']:
        found.append(f'{frames["failed"]} frames could not be processed')
    if difference['compared'] == 0:
        found.append('no result was compared')
    elif difference['max_abs_difference'] > TOLERANCE * max(difference['largest_output'], 1e-30):
        found.append('results differ from the whole model')
    return found

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A stream while bandwidth and load change: adaptive against fixed splits and an oracle that knows what comes.

The demo's three devices on the testbed (namespaces and links shaped by the kernel as root, else in user space). Every
competitor lives through the same course of conditions with the same pictures, one after the other. The fixed splits are those
that are best, by the planner with the true conditions, for the longest time in the course, and all on the source and all on
the cloud. The oracle takes in each segment the fixed split that was quickest there, and pays for its switches.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.cli.demo_run import all_on, label_of
from edge_dnn_partition.planning.fleet_state.pipeline import Pipeline
from edge_dnn_partition.planning.plans.compose import placement_of
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.bed_file import BedFile
from edge_dnn_partition.testbed.scenario import LINKS, SLOWDOWNS, fleet_document, panning_camera

from . import processes, trace_course
from .grid_fleet import RUNS, pipeline_of
from .intervals import strata_mean_interval
from .trace_course import Condition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.bed import Bed

NEEDS = ('ROS', 'sklearn')
_RUNS: Final = (('steps', 5.0, 3), ('lte', 5.0, 3), ('steps', 20.0, 2), ('wifi_walk', 5.0, 2))
"""Course, frames per second, and how many fixed splits are played."""

_QUICK: Final = (('short', 5.0, 2),)
_SETTLE_SECONDS: Final = 4.0
PROBE_SECONDS: Final = 0.5

Links = dict[tuple[str, str], tuple[float, float]]


def links_of(condition: Condition) -> Links:
    """Return every link's rate (bytes per second) and latency (seconds)."""
    uplink = condition.uplink * 1e6 / 8
    return {pair: (uplink if 'cloud' in pair else rate, delay) for pair, (rate, delay) in LINKS.items()}


def slowdowns_of(condition: Condition) -> dict[str, float]:
    """Return every device's slowdown."""
    loads = dict(condition.loads)
    return {name: slowdown * loads.get(name, 1.0) for name, slowdown in SLOWDOWNS.items()}


def fixed_labels(pipeline: Pipeline, course: Sequence[Condition], picture_bytes: float, most: int) -> list[str]:
    """Return the fixed splits to compare with: all on one end, and those that are best for the longest time."""
    best: Counter[str] = Counter()
    for condition in course:
        links = {}
        for (a, b), (rate, latency) in links_of(condition).items():
            links[a, b] = links[b, a] = LinkEstimate(rate, latency, measured=True)
        factors = {name: slowdown / SLOWDOWNS[name] for name, slowdown in slowdowns_of(condition).items()}
        problem = pipeline.problem(devices=list(SLOWDOWNS), factors=factors, links=links, input_bytes=picture_bytes)
        assignment = solve(problem).assignment
        assert assignment is not None
        best[label_of(pipeline.model, placement_of(assignment, pipeline.boundaries), pipeline)] += 1
    ends = [all_on(pipeline.model, pipeline, name) for name in ('pi', 'cloud')]
    ranked = [label for label, _ in best.most_common()]
    return list(dict.fromkeys([*ranked[:1], *ends, *ranked]))[:most]


class _Live:
    """Plays courses on a testbed that runs."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._now = Condition(0.0, float('nan'))

    def _conditions(self, condition: Condition) -> None:
        before, self._now = self._now, condition
        if condition.uplink != before.uplink:
            for a, b in LINKS:
                if 'cloud' in (a, b):
                    self._bed.set_rate(a, b, condition.uplink * 1e6)
        for name in {*dict(condition.loads), *dict(before.loads)}:
            self._bed.set_load(name, dict(condition.loads).get(name, 1.0))

    def play(self, course: Sequence[Condition], end: float, fps: float, label: str | None) -> dict[str, Any]:
        """Live through a course with a fixed plan, or with the scheduler free; times count from the course's beginning."""
        bed = self._bed
        self._conditions(course[0])
        if label is None:
            bed.free()
            bed.stream(_SETTLE_SECONDS, fps)
        else:
            bed.force(label)
            bed.stream(1.0, fps)
        lost = bed.news.status.lost if bed.news.status else 0
        plans, before = len(bed.news.plans), bed.client.plan
        with bed.camera(fps) as frames:
            begin = time.monotonic()
            for condition in course:
                time.sleep(max(0.0, begin + condition.at - time.monotonic()))
                self._conditions(condition)
            time.sleep(max(0.0, begin + end - time.monotonic()))
        seen = [(f.at - f.latency_seconds - begin, f.latency_seconds) for f in frames() if f.delivered]
        moves = [(at - begin, plan) for at, plan in bed.news.plans[plans:] if at - begin < end]
        status = bed.news.status
        lived = sorted((at, latency) for at, latency in seen if 0 <= at < end)
        return {'frames': lived, 'lost': (status.lost if status else 0) - lost, 'moves': moves, 'before': before}


def _devices_at(played: Mapping[str, Any], at: float) -> set[str]:
    """Return what the plan that was in force at a time uses: devices, and the cloud's link."""
    plan = played['before']
    for moved, new in played['moves']:
        if moved <= at:
            plan = new
    used = set(plan.devices)
    return used | ({'cloud link'} if 'cloud' in used else set())


def judge(course: Sequence[Condition], end: float, played: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a course shows: means, and how soon each step was adapted to."""
    plans, good, best = trace_course.oracle(course, end, {label: run['frames'] for label, run in fixed.items()})
    edges = [condition.at for condition in course] + [end]

    def mean(frames: trace_course.Frames) -> float:
        found = np.array(trace_course.medians(course, end, frames))
        weight = np.diff(edges)
        known = ~np.isnan(found)
        return float((found[known] * weight[known]).sum() / weight[known].sum())

    def mean_interval(frames: trace_course.Frames) -> list[float]:
        strata = [[latency for at, latency in frames if begin <= at < stop] for begin, stop in itertools.pairwise(edges)]
        return strata_mean_interval(strata, np.diff(edges).tolist())

    rows = []
    for i, (old, new) in enumerate(itertools.pairwise(course), 1):
        changes = trace_course.changed(old, new)
        if not changes or edges[i + 1] - edges[i] < 4.0:
            continue
        found = trace_course.adapted(played['frames'], edges[i], edges[i + 1], good[i])
        moved = [at - new.at for at, _ in played['moves'] if new.at <= at < edges[i + 1]]
        rows.append({
            'at': new.at, 'changes': sorted(changes), 'in_use': bool(changes & _devices_at(played, new.at)),
            'oracle_plan': plans[i], 'oracle_seconds': good[i], 'moved_seconds': min(moved, default=None),
            'adapted_seconds': None if found is None else found[0], 'adapted_frames': None if found is None else found[1],
        })  # fmt: skip
    latency = np.array([value for _, value in played['frames']])
    return {
        'mean_seconds': mean(played['frames']), 'mean_interval': mean_interval(played['frames']),
        'frame_mean_seconds': float(latency.mean()),
        'p95_seconds': float(np.percentile(latency, 95)), 'oracle_mean_seconds': best, 'oracle_plans': plans,
        'fixed_mean_seconds': {label: mean(run['frames']) for label, run in fixed.items()}, 'steps': rows,
        'switches': len(played['moves']), 'lost': played['lost'] + sum(run['lost'] for run in fixed.values()),
        'frames': len(latency), 'fixed_frames': {label: len(run['frames']) for label, run in fixed.items()},
    }  # fmt: skip


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` plays one course at 5 frames per second against two fixed splits."""
    processes.prepare()
    from edge_dnn_partition.cli.bed import Bed

    pictures = panning_camera()
    size = float(np.mean([picture.data.nbytes for picture in pictures]))
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        settings = Path(name) / 'preprocessing.yaml'
        settings.write_text(yaml.safe_dump(demo_model.preprocessing('demo')))
        document = fleet_document(str(demo_model.cached('demo').resolve()), str(settings))
        document['parameters'] = {'worker': {'probe_period': PROBE_SECONDS, 'profile_runs': RUNS}}
        file = BedFile.parse(document)
        pipeline = pipeline_of(file)
        with Bed(file, pictures=pictures, say=progress) as bed:
            live = _Live(bed)
            for turn, (kind, fps, most) in enumerate(_QUICK if quick else _RUNS):
                make, end = trace_course.COURSES[kind]
                course = make()
                labels: list[str | None] = [None, *fixed_labels(pipeline, course, size, most)]
                labels = labels[turn % len(labels) :] + labels[: turn % len(labels)]  # who comes first rotates
                played = {label: live.play(course, end, fps, label) for label in labels}
                mine = played.pop(None)
                fixed = {label: run for label, run in played.items() if label is not None}
                row = judge(course, end, mine, fixed)
                results.append({
                    'case': 'course', 'course': kind, 'fps': fps, 'end': end, **row,
                    'conditions': [{'at': c.at, 'uplink_mbit': c.uplink, 'loads': dict(c.loads)} for c in course],
                    'adaptive': [[round(at, 3), round(latency, 5)] for at, latency in mine['frames']],
                    'fixed': {label: [[round(at, 2), round(v, 4)] for at, v in run['frames'][:: max(1, round(fps / 5))]]
                              for label, run in fixed.items()},
                    'moves': [{'at': at, 'plan': plan.label(), 'reason': plan.reason} for at, plan in mine['moves']],
                })  # fmt: skip
                over = row['mean_seconds'] / row['oracle_mean_seconds']
                progress(f'{kind} at {fps:g} fps: {over:.2f} times the oracle, {row["switches"]} switches, {row["lost"]} lost; '
                         + ', '.join(f'{label} {v * 1e3:.0f} ms' for label, v in row['fixed_mean_seconds'].items()))  # fmt: skip
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _times(results: Sequence[Mapping[str, Any]], *, in_use: bool) -> list[tuple[float, float, float]]:
    """Return seconds, frames and the limit of each step; infinite where it was not adapted to."""
    found = []
    for row in results:
        limit = max(3 / row['fps'], 0.5) if in_use else 2 * PROBE_SECONDS
        for step in row['steps']:
            if step['in_use'] == in_use:
                missed = step['adapted_seconds'] is None
                found.append((np.inf if missed else step['adapted_seconds'], np.inf if missed else step['adapted_frames'], limit))
    return found


def _targets(results: Sequence[Mapping[str, Any]]) -> list[Target]:
    targets = []
    for row in results:
        over = row['mean_seconds'] / row['oracle_mean_seconds']
        name = f'{row["course"]} at {row["fps"]:g} fps: mean latency over the oracle that pays for its switches'
        targets.append(Target(name, '<= 1.15', over, 'x', over <= 1.15))
    used, unused = 'on a resource in use, within 3 frames or 500 ms', 'on another, within two probe periods'
    asked = ((True, used, 0.5), (False, unused, 2 * PROBE_SECONDS))
    for in_use, what, most in asked:
        times = _times(results, in_use=in_use)
        if times:
            done = sum(seconds <= limit for seconds, _, limit in times)
            targets.append(Target(f'steps {what}', len(times), done, f'of {len(times)}', done == len(times)))
            if in_use:
                soon = sum(frames <= 3 for _, frames, _ in times)
                name = 'the same, counted in accepted frames alone: the first good one is the fourth at most'
                targets.append(Target(name, len(times), soon, f'of {len(times)}', soon == len(times)))
            middle = float(np.median([seconds for seconds, _, _ in times]))
            name = f'the same, seconds to adapt, median ({"in use" if in_use else "unused"})'
            targets.append(Target(name, f'<= {most:g}', middle, 's', middle <= most))
    lost = sum(row['lost'] for row in results)
    targets.append(Target('accepted frames lost', 0, lost, '', not lost))
    return targets


def _conclusion(results: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    steps = [step for row in results for step in row['steps'] if step['in_use'] and step['moved_seconds'] is not None]
    if moved := [step['moved_seconds'] for step in steps]:
        parts.append(f'the plan changed {np.median(moved):.2f} s after a step on a resource in use (median)')
    for row in results:
        best, seconds = min(row['fixed_mean_seconds'].items(), key=lambda item: item[1])
        parts.append(
            f'{row["course"]} at {row["fps"]:g} fps: {row["mean_seconds"] * 1e3:.0f} ms adaptive, '
            f'{row["oracle_mean_seconds"] * 1e3:.0f} ms the oracle, {seconds * 1e3:.0f} ms the best fixed split ({best}), '
            f'{row["switches"]} switches'
        )
    return '; '.join(parts) + '.'


def _plot(figure: Figure, results: Sequence[Mapping[str, Any]]) -> None:
    figure.set_size_inches(12, 3.4 * len(results))
    axes = np.atleast_1d(figure.subplots(len(results), 1))
    for place, row in zip(axes, results, strict=True):
        for label, frames in row['fixed'].items():
            place.plot([at for at, _ in frames], [1e3 * v for _, v in frames], '-', linewidth=0.8, alpha=0.8, label=label)
        place.plot([at for at, _ in row['adaptive']], [1e3 * v for _, v in row['adaptive']], '.', color='black', label='adaptive')
        for move in row['moves']:
            place.axvline(move['at'], color='black', linewidth=0.5, linestyle=':')
        uplink = place.twinx()
        conditions = row['conditions']
        uplink.step([c['at'] for c in conditions] + [row['end']], [c['uplink_mbit'] for c in conditions] + [
            conditions[-1]['uplink_mbit']], where='post', color='lightblue', linewidth=2)  # fmt: skip
        uplink.set(yscale='log', ylabel='uplink, Mbit/s')
        place.set(yscale='log', ylabel='latency, ms', xlabel='s', title=f'{row["course"]} at {row["fps"]:g} fps')
        place.legend(fontsize='xx-small', loc='upper right')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A thousand forced switches between random plans under a stream of 20 fps, against stopping and starting the workers.

Three devices in real processes on fast emulated links, so that the switch itself shows. *Gap*: from the last result of
the old plan to the first of the new one, less what the new plan's usual latency is longer, and less what the camera's own
image came late (by up to 10 ms: an image that was left out counts whole). *Added*: how much longer the first frame of a
new plan takes than that plan's others, at the median. Beside them the gaps between frames that no switch parts.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.testbed import demo_model

from .intervals import interval, quantile_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.running_fleet import RunningFleet
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

NEEDS = ('ROS',)
DEVICES = ('pi', 'jetson', 'cloud')
FPS = 20.0
SEED = 3
_FRAMES_EACH = 6
_JITTER_SECONDS = 0.01


def _fleet_file(folder: Path) -> Path:
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    links = [{'between': list(pair), 'rate': '400 Mbit/s', 'delay': '1 ms', 'emulate': True}
             for pair in itertools.combinations(DEVICES, 2)]  # fmt: skip
    file = folder / 'fleet.yaml'
    file.write_text(yaml.safe_dump({
        'fleet': 'switching', 'processes': 'each', 'source': 'pi',
        'model': {'path': str(demo_model.cached('tiny')), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': 1.0}} for name in DEVICES}, 'links': links,
        'camera': {'topic': 'image/compressed'},
        'parameters': {'worker': {'profile_runs': 1}, 'scheduler': {'decision_period': 0.05}},
    }))  # fmt: skip
    return file


def _images() -> list[CameraImage]:
    pixels = np.random.default_rng(SEED).integers(0, 256, (4, 6, 8, 3)).astype(np.uint8)
    return [CameraImage(cv2.imencode('.jpg', cv2.resize(p, (160, 120)))[1].reshape(-1), 'jpeg') for p in pixels]


def _label(chance: random.Random, layers: int) -> str:
    """A random plan: one to three devices, one after the other, cut at random layers."""
    devices = chance.sample(DEVICES, chance.randint(1, 3))
    cuts = sorted(chance.sample(range(1, layers), len(devices) - 1))
    edges = ['pre', *map(str, cuts), str(layers)]
    return ' '.join(f'{device}:{edges[i]}-{edges[i + 1]}' for i, device in enumerate(devices))


def _force(running: RunningFleet, count: int, say: Callable[[str], None]) -> None:
    chance = random.Random(SEED)
    label = ''
    for number in range(count):
        while (following := _label(chance, len(running.model.layers))) == label:
            pass
        label = following
        running.follow(label, _FRAMES_EACH)
        if number % 100 == 99:
            say(f'{number + 1} switches')


def _by_plan(frames: Sequence[FrameRecord]) -> list[list[FrameRecord]]:
    return [list(group) for _, group in itertools.groupby(frames, key=lambda frame: frame.plan_version)]


def _switches(frames: Sequence[FrameRecord]) -> list[dict[str, float]]:
    """Return gap and added latency of each switch (seconds)."""
    found = []
    plans = [plan for plan in _by_plan(frames) if len(plan) >= 3]
    for old, new in itertools.pairwise(plans):
        usual_old, usual_new = (statistics.median(f.latency_seconds for f in plan[1:]) for plan in (old, new))
        raw = new[0].at - old[-1].at
        found.append({
            'gap_seconds': raw - max(0.0, usual_new - usual_old) - _late(old[-1], new[0]), 'raw_gap_seconds': raw,
            'added_seconds': new[0].latency_seconds - usual_new,
        })  # fmt: skip
    return found


def _late(before: FrameRecord, after: FrameRecord) -> float:
    """How much later than usual the camera took an image (seconds, negative: earlier); 0 if images were left out."""
    late = (after.stamp_ns - before.stamp_ns) * 1e-9 - 1 / FPS
    return late if abs(late) <= _JITTER_SECONDS else 0.0


def _usual_gaps(frames: Sequence[FrameRecord]) -> list[float]:
    """Return the gaps between results of one plan, less the camera's lateness (seconds, sorted)."""
    pairs = (pair for plan in _by_plan(frames) for pair in itertools.pairwise(plan))
    return sorted(after.at - before.at - _late(before, after) for before, after in pairs)


def _restart(running: RunningFleet, count: int) -> list[float]:
    """Stop the workers, start them again, wait for a result: how long the stream stood still (seconds)."""
    gaps = []
    workers = [f'{device}/worker' for device in DEVICES]
    for _ in range(count):
        last = running.news.frames[-1].at
        running.supervisor.stop(workers)
        last = max(last, running.news.frames[-1].at)
        begin = len(running.news.frames)
        for worker in workers:
            running.supervisor.start(running.process(worker))
        while len(running.news.frames) == begin:
            time.sleep(0.01)
        gaps.append(running.news.frames[begin].at - last)
        running.more_frames()
    return gaps


def _wrong(running: RunningFleet, folder: Path, images: Sequence[CameraImage]) -> int:
    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    assert running.fleet.model is not None
    engine, preprocessing = Engine(running.fleet.model.path), Preprocessing.from_yaml(folder / 'preprocessing.yaml')
    whole = [engine.run({running.model.inputs[0]: preprocessing.apply(p.data, p.encoding)}) for p in images]
    return sum(
        not all(np.allclose(frame.outputs[name], value, rtol=1e-4, atol=1e-4)
                for name, value in whole[running.camera.shown[frame.stamp_ns]].items())
        for frame in running.news.frames
    )  # fmt: skip


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` forces 30 switches."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    from edge_dnn_partition.cli.running_fleet import running_fleet

    os.environ.setdefault('ROS_DOMAIN_ID', str(100 + os.getpid() % 100))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['OMP_NUM_THREADS'] = '1'
    count, images = 30 if quick else 1000, _images()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_fleet(_fleet_file(folder), images, rate=FPS) as running:
            running.client.set_scheduler({'policy': 'fixed'})
            _force(running, count, progress)
            frames = list(running.news.frames)
            restarts = _restart(running, 2 if quick else 5)
            status = running.settle()
            wrong = _wrong(running, folder, images)
    numbers = [frame.frame_number for frame in running.news.frames]
    found = _switches(frames)
    gap, raw = (sorted(s[key] for s in found) for key in ('gap_seconds', 'raw_gap_seconds'))
    added = statistics.median(s['added_seconds'] for s in found)
    frame, usual = 1e3 / FPS, _usual_gaps(frames)
    progress(f'without a switch: p95 of the gaps {1e3 * usual[int(0.95 * len(usual))]:.1f} ms')
    over = gap[int(0.95 * len(gap))] / usual[int(0.95 * len(usual))]
    unordered = sum(a >= b for a, b in itertools.pairwise(numbers))
    targets = [
        Target('forced switches', count, len(found), '', len(found) >= count),
        Target('gap, p50', f'<= {frame:g}', 1e3 * statistics.median(gap), 'ms', 1e3 * statistics.median(gap) <= frame),
        Target('gap, p95', f'<= {frame:g}', 1e3 * gap[int(0.95 * len(gap))], 'ms', 1e3 * gap[int(0.95 * len(gap))] <= frame),
        Target('gap, p95, over that of the stream without a switch', '<= 1', over, 'x', over <= 1),
        Target('added to the first frame of a plan, p50', '<= 1', 1e3 * added, 'ms', 1e3 * added <= 1),
        Target('accepted frames lost', 0, status.lost, '', status.lost == 0),
        Target('delivered twice or out of order', 0, unordered, '', unordered == 0),
        Target('results that differ from the whole model', 0, wrong, '', wrong == 0),
    ]  # fmt: skip
    stopped = statistics.median(restarts)
    results: list[dict[str, Any]] = [
        {'case': 'switch', 'accepted': status.accepted, 'delivered': status.delivered, 'repeated': status.repeated,
         'gaps_seconds': gap, 'raw_gaps_seconds': raw,
         'gap_p50_interval': interval(gap), 'gap_p95_interval': quantile_interval(gap, 0.95),
         'added_seconds': sorted(s['added_seconds'] for s in found)},
        {'case': 'restart', 'gaps_seconds': restarts},
        {'case': 'same plan', 'gaps_seconds': usual[:: max(1, len(usual) // 500)], 'p50': statistics.median(usual),
         'p95': usual[int(0.95 * len(usual))]},
    ]  # fmt: skip
    conclusion = (
        f'A switch leaves {1e3 * statistics.median(gap):.0f} ms between results (a frame lasts {frame:.0f} ms); stopping and '
        f'starting the workers leaves {stopped:.1f} s, {stopped / statistics.median(gap):.0f} times as much.'
    )
    return BenchResult(results, targets, lambda figure: _plot(figure, results), conclusion)


def _plot(figure: Figure, results: list[dict[str, Any]]) -> None:
    left, right = figure.subplots(1, 2)
    labels = {'switch': 'live switch', 'restart': 'stop and start', 'same plan': 'no switch'}
    for row, colour in zip(results, ('tab:blue', 'tab:red', 'tab:grey'), strict=True):
        values = np.sort(row['gaps_seconds']) * 1e3
        left.plot(values, np.linspace(0, 1, len(values)), label=labels[row['case']], color=colour,
                  marker='o' if len(values) < 10 else None)  # fmt: skip
    left.axvline(1e3 / FPS, color='grey', linewidth=0.8)
    left.set(xscale='log', xlabel='gap between results, ms', ylabel='share of switches', title='the line: one frame')
    left.legend()
    right.hist(np.clip(np.array(results[0]['added_seconds']) * 1e3, -20, 40), bins=60)
    right.set(xlabel="added to a plan's first frame, ms", ylabel='switches')

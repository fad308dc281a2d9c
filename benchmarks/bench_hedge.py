# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A stream under outages and stragglers of its link, with and without hedges, in turns within one run.

Three devices in real processes; the whole model runs on the cloud's device by a fixed plan, and a result older than
`MAX_AGE` is worth nothing. A *straggler*: the link takes 0.8 s for a moment; an *outage*: it takes longer than any frame
may for 1.5 s. The scheduler is told to keep its plan: what a hedge does is to be seen, not what another plan does.
A frame that expired counts with its age. The energy is *modelled*: what hedges ran, times the source's active less its idle watts.
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
from edge_dnn_partition.execution.frames.hedge import is_hedge
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.testbed import demo_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.running_fleet import RunningFleet
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

NEEDS = ('ROS',)
DEVICES = ('pi', 'cloud')
FPS = 10.0
MAX_AGE = 0.5
SEED = 7
ACTIVE_WATTS, IDLE_WATTS = 4.0, 2.7
_FAST = (50e6, 0.005)


def _fleet_file(folder: Path) -> Path:
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    power = {'idle': f'{IDLE_WATTS} W', 'active': f'{ACTIVE_WATTS} W'}
    file = folder / 'fleet.yaml'
    file.write_text(yaml.safe_dump({
        'fleet': 'hedging', 'source': 'pi',
        'model': {'path': str(demo_model.cached('tiny')), 'preprocessing': str(settings)},
        'devices': {'pi': {'emulate': {'slowdown': 8.0}, 'power': power}, 'cloud': {'emulate': {'slowdown': 1.0}}},
        'links': [{'between': list(DEVICES), 'rate': '400 Mbit/s', 'delay': '5 ms', 'emulate': True}],
        'camera': {'topic': 'image/compressed'},
        'parameters': {'worker': {'profile_runs': 1}, 'frame_source': {'max_age': MAX_AGE, 'hedge': True}},
    }))  # fmt: skip
    return file


def _images() -> list[CameraImage]:
    pixels = np.random.default_rng(SEED).integers(0, 256, (4, 6, 8, 3)).astype(np.uint8)
    return [CameraImage(cv2.imencode('.jpg', cv2.resize(p, (160, 120)))[1].reshape(-1), 'jpeg') for p in pixels]


def _round(running: RunningFleet, chance: random.Random) -> None:
    """Four stragglers and an outage, at random times within 12 s."""
    faults = ['straggler'] * 4 + ['outage']
    chance.shuffle(faults)
    for fault in faults:
        time.sleep(1.0 + chance.random())
        slow, seconds = (0.8, 0.15) if fault == 'straggler' else (3.0, 1.5)
        running.client.emulate({}, {DEVICES: (_FAST[0], slow)})
        time.sleep(seconds)
        running.client.emulate({}, {DEVICES: _FAST})
    time.sleep(1.0)


def _measure(running: RunningFleet, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Play rounds without and with hedges in turns; the faults of a pair are the same."""
    kinds: dict[str, Any] = {name: {'frames': [], 'hedged': 0, 'won': 0} for name in ('without', 'with')}
    for number, name in itertools.product(range(rounds), kinds):
        running.client.set_parameters('pi/frame_source', {'hedge': name == 'with'})
        time.sleep(1.0)
        before, begin = running.news.status, len(running.news.frames)
        _round(running, random.Random(SEED + number))
        time.sleep(MAX_AGE + 0.5)
        after, kind = running.news.status, kinds[name]
        assert before is not None
        assert after is not None
        kind['frames'] += running.news.frames[begin:]
        kind['hedged'] += after.hedged - before.hedged
        kind['won'] += after.hedge_won - before.hedge_won
        say(f'round {number + 1} of {rounds} {name} hedges')
    return kinds


def _row(name: str, kind: dict[str, Any], busy: float) -> dict[str, Any]:
    frames: Sequence[FrameRecord] = kind['frames']
    latency = [frame.latency_seconds for frame in frames]
    joules = (ACTIVE_WATTS - IDLE_WATTS) * busy * kind['hedged'] / len(frames)
    return {
        'hedges': name, 'frames': len(frames), 'hedged': kind['hedged'], 'won': kind['won'],
        'expired': sum(not frame.delivered for frame in frames),
        'p50_seconds': statistics.median(latency), 'p95_seconds': float(np.quantile(latency, 0.95)),
        'p99_seconds': float(np.quantile(latency, 0.99)), 'extra_joules_per_frame_modelled': joules,
        'latencies_seconds': sorted(latency),
    }  # fmt: skip


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` plays one round of each kind."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    from edge_dnn_partition.cli.running_fleet import running_fleet

    os.environ.setdefault('ROS_DOMAIN_ID', str(100 + os.getpid() % 100))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['OMP_NUM_THREADS'] = '1'
    with tempfile.TemporaryDirectory() as name, running_fleet(_fleet_file(Path(name)), _images(), rate=FPS) as running:
        running.follow('cloud:pre-end')
        status = running.news.status
        running.client.wait_for(lambda: running.news.status.hedged >= 3, 30.0, 'hedges that measure')  # type: ignore[union-attr]
        kinds = _measure(running, 1 if quick else 6, progress)
        status = running.settle()
        numbers = [frame.frame_number for frame in running.news.frames]
    won = [f.busy_seconds for f in kinds['with']['frames'] if is_hedge(f.plan_version)]
    busy = statistics.median(won) if won else float('nan')
    without, hedged = (_row(name, kind, busy) for name, kind in kinds.items())
    unordered = sum(a >= b for a, b in itertools.pairwise(numbers))
    shares = [row['expired'] / row['frames'] for row in (without, hedged)]
    targets = [
        Target('p99 with hedges, of that without', '< 1', hedged['p99_seconds'] / without['p99_seconds'], '',
               hedged['p99_seconds'] < without['p99_seconds']),
        Target('share of frames that expire, with hedges of without', '<= 0.5', shares[1] / max(shares[0], 1e-9), '',
               shares[1] <= 0.5 * shares[0]),
        Target('accepted frames lost', 0, status.lost, '', status.lost == 0),
        Target('delivered twice or out of order', 0, unordered, '', unordered == 0),
    ]  # fmt: skip
    conclusion = (
        f'{shares[0]:.1%} of the frames expire without hedges and {shares[1]:.1%} with them; p99 '
        f'{1e3 * without["p99_seconds"]:.0f} and '
        f'{1e3 * hedged["p99_seconds"]:.0f} ms. {hedged["hedged"]} of {hedged["frames"]} frames were hedged, {hedged["won"]} '
        f'hedges came first; they cost {1e3 * hedged["extra_joules_per_frame_modelled"]:.0f} mJ a frame (modelled), the whole '
        f'model on the source would cost {1e3 * (ACTIVE_WATTS - IDLE_WATTS) * busy:.0f} mJ.'
    )
    return BenchResult([without, hedged], targets, lambda figure: _plot(figure, [without, hedged]), conclusion)


def _plot(figure: Figure, rows: list[dict[str, Any]]) -> None:
    axes = figure.subplots()
    for row, colour in zip(rows, ('tab:red', 'tab:blue'), strict=True):
        values = np.array(row['latencies_seconds']) * 1e3
        axes.plot(values, 1 - np.arange(len(values)) / len(values), label=f'{row["hedges"]} hedges', color=colour)
    axes.axvline(1e3 * MAX_AGE, color='grey', linewidth=0.8)
    axes.set(yscale='log', xlabel='age of the result, ms', ylabel='share of frames that are older', title='the line: max_age')
    axes.legend()

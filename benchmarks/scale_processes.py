# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fleets in real processes, as many devices as this machine bears: a monitor and a worker each, one stream."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import yaml

from edge_dnn_partition.testbed import demo_model

from .processes import small_images
from .scale_fleet import FPS, HEARD_OF_A_DEVICE, SOURCE_BEATS

if TYPE_CHECKING:
    from edge_dnn_partition.cli.running_fleet import RunningFleet

_KINDS = ('scheduler', 'frame_source', 'worker', 'device_monitor')


def _fleet_file(folder: Path, devices: int) -> Path:
    names = [f'd{i}' for i in range(devices)]
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    file = folder / f'fleet{devices}.yaml'
    file.write_text(yaml.safe_dump({
        'fleet': f'scale{devices}', 'source': 'd0', 'processes': 'each',
        'model': {'path': str(demo_model.cached('tiny')), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': 8.0 if name == 'd0' else 2.0}} for name in names},
        'links': [{'between': list(pair), 'rate': '100 Mbit/s', 'delay': '1 ms', 'emulate': True}
                  for pair in itertools.combinations(names, 2)],
        'camera': {'topic': 'image/compressed'},
        'parameters': {'worker': {'profile_runs': 1}},
    }))  # fmt: skip
    return file


def _processes() -> dict[str, list[psutil.Process]]:
    """Return this process's nodes by kind."""
    found: dict[str, list[psutil.Process]] = {kind: [] for kind in _KINDS}
    for child in psutil.Process().children(recursive=True):
        try:
            command = child.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if 'edge_dnn_partition.nodes' in command:
            found[command[command.index('edge_dnn_partition.nodes') + 1]].append(child)
    return found


def _busy(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _listen(running: RunningFleet, heard: Counter[str]) -> None:
    """Count what the scheduler hears."""
    from edge_dnn_partition.msg import FrameReport, Heartbeat, Telemetry

    from edge_dnn_partition.nodes.core import qos

    def count(kind: str, _: object) -> None:
        heard[kind] += 1

    node, topics = running.client.node, running.client.topics
    node.create_subscription(Heartbeat, topics.heartbeat, partial(count, 'heartbeat'), qos.heartbeat_reader())
    node.create_subscription(Telemetry, topics.telemetry, partial(count, 'telemetry'), qos.TELEMETRY)
    node.create_subscription(FrameReport, topics.frame_report, partial(count, 'frame_report'), qos.RESULT)


def measure(folder: Path, sizes: Sequence[int], seconds: float, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield a row for each size: the stream's latency, CPU shares by kind of node, messages heard per second."""
    from edge_dnn_partition.cli.running_fleet import running_fleet

    for devices in sizes:
        begin = time.monotonic()
        with running_fleet(_fleet_file(folder, devices), small_images(), rate=FPS) as running:

            def all_there() -> bool:
                state = running.news.state
                return state is not None and sum(d.alive and d.profiled for d in state.devices) == len(running.fleet.devices)

            running.client.wait_for(all_there, 60.0, f'{devices} devices')
            up = time.monotonic() - begin
            heard: Counter[str] = Counter()
            _listen(running, heard)
            time.sleep(3.0)  # the first plans, and the listener's own discovery
            nodes = _processes()
            first, frames, before = {k: _busy(p) for k, p in nodes.items()}, len(running.news.frames), Counter(heard)
            start = time.monotonic()
            time.sleep(seconds)
            passed = time.monotonic() - start
            last = {kind: _busy(found) for kind, found in nodes.items()}
            counted = {kind: (heard[kind] - before[kind]) / passed for kind in heard}
            latency = [frame.latency_seconds for frame in running.news.frames[frames:] if frame.delivered]
            planning = running.news.state.planning_seconds if running.news.state else float('nan')
            status = running.settle()
        row = {
            'case': 'processes', 'devices': devices, 'up_seconds': up, 'fps': len(latency) / passed,
            'p50_seconds': float(np.median(latency)) if latency else None,
            'p95_seconds': float(np.percentile(latency, 95)) if latency else None,
            'scheduler_planning_seconds': planning, 'lost': status.lost,
            **{f'{kind}_core_share': (last[kind] - first[kind]) / passed / max(len(nodes[kind]), 1) for kind in _KINDS},
            'messages_per_second': sum(counted.values()), 'messages': counted,
            'messages_per_second_expected': HEARD_OF_A_DEVICE * devices + SOURCE_BEATS + FPS,
        }  # fmt: skip
        progress(f'{devices} devices in processes: scheduler {row["scheduler_core_share"]:.1%} of a core, '
                 f'{row["fps"]:.1f} frames/s, {row["messages_per_second"]:.0f} messages/s')  # fmt: skip
        yield row

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An arm moved by a policy's chunks of actions: this package against asking one server, as LeRobot does, over the same link.

A policy of ACT's shape (two images and the joints' state in, 50 actions at 30 Hz out) on an arm's board, twelve times as slow as
the server, and that server; the link follows a made-up walk through a hall: good, crowded, gone for 8 s, good, with a delay of
0.4 s, good. The fleet of examples/policy_arm runs in real processes and streams at 10 Hz; *when* each trajectory arrived is
measured. The rivals are simulated over the same link with the same server, in their favour (`arm_server.py`,
`arm_motion.py`): LeRobot's asynchronous inference as it is, the same with JPEG images sent beside its loop, and the board
alone. What the arm does with the chunks is simulated for all alike, with a made-up closed-loop policy.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.tensors import random_feeds
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.images import encode
from edge_dnn_partition.testbed.scenario import photographs

from . import arm_fleet, arm_server, processes
from .arm_motion import Arm, Trace, alone, follow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS', 'sklearn', 'torch')
_GOOD: Final = (40e6 / 8, 0.005)
_CROWDED: Final = (6e6 / 8, 0.02)
_GONE: Final = (100.0, 0.005)
"""A fleet's emulated links take no 0; for rivals too this is cut."""
_LATE: Final = (40e6 / 8, 0.4)
PARTS: Final = (
    ('good', 0.0, _GOOD), ('crowded', 15.0, _CROWDED), ('gone', 30.0, _GONE), ('back', 38.0, _GOOD), ('late', 50.0, _LATE),
    ('good again', 58.0, _GOOD),
)  # fmt: skip
SECONDS: Final = 70.0
BEGIN: Final = 2.0
"""What is before is not counted: by then each has its first chunks."""
_QUICK: Final = (('good', 0.0, _GOOD), ('gone', 4.0, _GONE), ('back', 8.0, _GOOD))
_WIDTH, _HEIGHT = 640, 480
_PIXEL_BYTES: Final = 2 * 3 * _WIDTH * _HEIGHT


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes a small model and 12 s."""
    processes.prepare()
    name, parts, seconds = ('act_small', _QUICK, 12.0) if quick else ('act', PARTS, SECONDS)
    trace: Trace = [(at, *link) for _, at, link in parts]
    path = zoo.model_path(name)
    images = _images()
    inference = _inference_seconds(path)
    board = arm_fleet.SLOWDOWN * inference
    progress(f'{name}: {1e3 * inference:.0f} ms on the server, {1e3 * board:.0f} ms on the board')
    with tempfile.TemporaryDirectory() as folder:
        side = load_model(path).tensors['front'].shape[-1]
        file = arm_fleet.fleet_file(Path(folder), path, side, trace[0][1:])
        fleet = arm_fleet.run(file, images, trace, seconds, progress)
    jpeg = 2 * round(float(np.mean([image.nbytes for image in images])))
    pixels, _ = arm_server.run(trace, seconds, inference, _PIXEL_BYTES, blocking=True)
    beside, _ = arm_server.run(trace, seconds, inference, jpeg, blocking=False)
    arms = {
        'this package': follow(fleet['arrivals'], seconds), 'LeRobot asynchronous': pixels, 'the same, JPEG sent beside': beside,
        'board alone': follow(alone(board, seconds), seconds),
    }  # fmt: skip
    rows = [_row(name, arm, parts, seconds) for name, arm in arms.items()]
    rows[0] |= {key: fleet[key] for key in ('frames', 'plans', 'results')}
    rows[0]['latencies_seconds'] = [latency for _, _, latency, in_time in fleet['results'] if in_time]
    facts = {'case': 'facts', 'inference_seconds': inference, 'board_seconds': board, 'jpeg_bytes': jpeg,
             'pixel_bytes': _PIXEL_BYTES}  # fmt: skip
    ours, servers = rows[0], rows[1:3]
    targets = [
        Target('actions ready in time', '>= 99', 100 * ours['ready_share'], '%', ours['ready_share'] >= 0.99),
        Target('longest hold, of the better server client', '< 0.5', _over(ours, servers, 'longest_hold_seconds'), 'x',
               _over(ours, servers, 'longest_hold_seconds') < 0.5),
        Target('largest jump, of the better server client', '<= 1', _over(ours, servers, 'largest_jump'), 'x',
               _over(ours, servers, 'largest_jump') <= 1),
        Target('accepted frames lost', 0, fleet['frames']['lost'], '', not fleet['frames']['lost']),
    ]  # fmt: skip
    return BenchResult([*rows, facts], targets, lambda figure: _plot(figure, arms, parts, seconds), _conclusion(rows))


def _images() -> list[CameraImage]:
    """Return what the cameras see: parts of photographs, as JPEG."""
    wide = [cv2.resize(photograph, (_WIDTH + 64, _HEIGHT)) for photograph in photographs()]
    return [encode(np.ascontiguousarray(image[:, left : left + _WIDTH])) for left in range(0, 64, 16) for image in wide]


def _inference_seconds(path: Path) -> float:
    """Return what the whole model takes on one thread of this machine: processor time, median of 15 runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    model = load_model(path)
    feeds = random_feeds([model.tensors[name] for name in model.inputs], 0)
    spent = []
    for _ in range(16):
        begin = time.thread_time()
        session.run(None, feeds)
        spent.append(time.thread_time() - begin)
    return float(np.median(spent[1:]))


def _row(name: str, arm: Arm, parts: tuple[tuple[str, float, Any], ...], seconds: float) -> dict[str, Any]:
    ends = [*(at for _, at, _ in parts[1:]), seconds]
    begins = [BEGIN, *(at for _, at, _ in parts[1:])]
    by_part = {part[0]: arm.measures(begin, end) for part, begin, end in zip(parts, begins, ends, strict=True)}
    return {'case': name, **arm.measures(BEGIN, seconds), 'parts': by_part}


def _over(ours: dict[str, Any], servers: list[dict[str, Any]], key: str) -> float:
    return float(ours[key] / max(min(row[key] for row in servers), 1e-9))


def _conclusion(rows: list[dict[str, Any]]) -> str:
    said = '; '.join(
        f'{row["case"]}: {row["ready_share"]:.1%} of the actions ready, longest hold {row["longest_hold_seconds"]:.2f} s, '
        f'largest jump {1e3 * row["largest_jump"]:.0f} mrad, observations {row["age_p95_seconds"]:.2f} s old (p95)'
        for row in rows
    )
    return f'{said}.'


def _plot(figure: Figure, arms: dict[str, Arm], parts: tuple[tuple[str, float, Any], ...], seconds: float) -> None:
    figure.set_size_inches(9, 6)
    upper, lower = figure.subplots(2, sharex=True)
    for number, (name, arm) in enumerate(arms.items()):
        upper.plot(arm.times, np.array(arm.commands)[:, 0], linewidth=0.9, label=name, zorder=9 - number)
        lower.eventplot(arm.times, lineoffsets=-number, linelengths=0.7, linewidths=0.4, colors=f'C{number}')
    for part, at, _ in parts:
        for axes in (upper, lower):
            axes.axvline(at, color='grey', linewidth=0.6)
        lower.text(at, 0.55, part, fontsize='x-small')
    upper.set(ylabel='first joint, rad', title='what is commanded')
    upper.legend(fontsize='x-small', loc='upper right')
    lower.set(xlabel='s', yticks=[-number for number in range(len(arms))], yticklabels=list(arms), xlim=(0, seconds),
              title='each action that was ready')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A small fixed computation that tells how fast this device is just now.

It is one convolution of 59 million multiplications on one thread, a few milliseconds: the same
kind of work as the stages, so that it slows down as they do, by heat, by a quota, or by others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
import onnxruntime

from edge_dnn_partition.cache import cache_dir, keep, needed, write_atomic
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.execution.stages.stage_cache import cpu_model

_CHANNELS: Final = 64
_SIDE: Final = 40
#: From one reading to another, or to the best ever, more than this is no noise any more.
_TOLERATED_RATIO: Final = 1.25


@dataclass(frozen=True)
class Reading:
    """The probe's time, at one moment.

    :param busy_seconds: CPU time: grows when the clock falls or a neighbour takes the caches.
    :param wall_seconds: grows beyond that when the processor is taken away.
    """

    busy_seconds: float
    wall_seconds: float


class SpeedProbe:
    """Holds the computation ready; ``read`` takes about 3 x 2 ms on a core of 2026."""

    def __init__(self) -> None:
        content = _model()
        name = f'{hashlib.sha256(content).hexdigest()[:12]}.onnx'
        self._engine = Engine(needed(lambda path: write_atomic(path, content), 'probe', name))
        self._feeds = self._engine.made_up_feeds()
        self._engine.run(self._feeds)

    def read(self, runs: int = 3) -> Reading:
        """Time the computation; the median of some runs."""
        busy, wall = [], []
        for _ in range(runs):
            self._engine.run(self._feeds)
            busy.append(self._engine.last_cpu_seconds)
            wall.append(self._engine.last_seconds)
        return Reading(median(busy), median(wall))


def is_throttled(readings: Iterable[Reading], best_seconds: float | None = None) -> bool:
    """Tell whether the device was slower than it can be, or unevenly fast.

    True where the readings' CPU time varies by more than a quarter (their second largest to
    their second smallest, once there are six), where a quarter more wall time than CPU time
    passed in half of them, or where even the median is a quarter above the best ever seen.

    :param best_seconds: the least CPU time that this device has shown; None if not known.
    """
    values = list(readings)
    if not values:
        return False
    busy = sorted(reading.busy_seconds for reading in values)
    inner = busy[1:-1] if len(busy) >= 6 else busy
    uneven = inner[-1] > inner[0] * _TOLERATED_RATIO
    taken = median(reading.wall_seconds / reading.busy_seconds for reading in values) > _TOLERATED_RATIO
    slow = best_seconds is not None and median(busy) > best_seconds * _TOLERATED_RATIO
    return uneven or taken or slow


def remember_best(seconds: float) -> float:
    """Note a median reading; return the best one of this processor and onnxruntime so far."""
    name = hashlib.sha256(f'{cpu_model()} {onnxruntime.__version__}'.encode()).hexdigest()[:12]
    path = cache_dir('probe') / f'best-{name}.json'
    try:
        best = float(json.loads(path.read_bytes())['seconds'])
    except (OSError, ValueError, KeyError, TypeError):
        best = float('inf')
    if not 0 < best <= seconds:
        best = seconds
        keep(path, json.dumps({'seconds': best}).encode())
    return best


def _model() -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.full((_CHANNELS, _CHANNELS, 3, 3), 2.0**-10, np.float32)
    shape = [1, _CHANNELS, _SIDE, _SIDE]
    graph = helper.make_graph(
        [helper.make_node('Conv', ['x', 'w'], ['y'], pads=[1] * 4)], 'speed_probe',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, 'w')])
    model = helper.make_model(graph, ir_version=7, opset_imports=[helper.make_opsetid('', 13)])
    assert isinstance(model, onnx.ModelProto)
    return bytes(model.SerializeToString(deterministic=True))

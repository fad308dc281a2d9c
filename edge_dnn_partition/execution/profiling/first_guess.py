# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A first guess of a profile, within a second or two: a stream need not wait for the measurement."""

from __future__ import annotations

import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import onnxruntime

from edge_dnn_partition.execution.stages.engine import Engine, StageInputs
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.profile import Profile

from .layer_shares import by_layer, operator_times, owners_of

_RUNS: Final = 3


def first_guess(
    model: Model, boundaries: tuple[int, ...], *, device: str, providers: tuple[str, ...], threads: int,
    prepare: Callable[[], object] | None = None,
) -> Profile:  # fmt: skip
    """Return what a few runs of the whole model tell: its seconds, shared out by onnxruntime's own clock on its operators.

    Boundary overheads are taken as 0, and no encodings are measured. It is to be replaced, and cannot be stored.

    :param boundaries: of the profile that is to follow.
    :param prepare: prepares one image; None: there is none.
    :raises ModelError: if the model cannot be run.
    """
    path = stage_file(model, range(len(model.layers))).path
    with tempfile.TemporaryDirectory(prefix='edge_dnn_partition_') as folder:
        engine = Engine(path, providers=providers, threads=threads, trace=f'{folder}/trace')
        feeds = StageInputs(model).feeds(engine)
        seconds = []
        for _ in range(1 + _RUNS):
            engine.try_out(feeds)
            seconds.append(engine.last_busy_seconds)
        events = json.loads(Path(engine.end_trace()).read_bytes())
    least: dict[str, float] = {}  # of its runs, the one that nothing else took time from; in the order of the first one
    for name, spent in operator_times(events, skip=1):
        least[name] = min(spent, least.get(name, math.inf))
    layers = by_layer(least.items(), owners_of(model), range(len(model.layers)))
    parts = [math.fsum(layers[start:stop]) for start, stop in itertools.pairwise(boundaries)]
    total, known = median(seconds[1:]), math.fsum(parts)
    shares = [part / known if known > 0 else 1 / len(parts) for part in parts]
    return Profile(
        model_sha256=model.sha256, model=model.name, device=device, provider=providers[0], threads=threads,
        onnxruntime_version=onnxruntime.__version__, boundaries=boundaries,
        segment_seconds=tuple(total * share for share in shares), seam_seconds=(0.0,) * (len(boundaries) - 2),
        preprocess_seconds=None if prepare is None else _seconds_of(prepare), relative_error=math.nan,
    )  # fmt: skip


def _seconds_of(prepare: Callable[[], object]) -> float:
    spent = []
    for _ in range(1 + _RUNS):
        begin = time.thread_time()
        prepare()
        spent.append(time.thread_time() - begin)
    return median(spent[1:])

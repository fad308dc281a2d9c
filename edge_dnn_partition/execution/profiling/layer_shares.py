# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which layers of a segment take its time, by onnxruntime's own clock on its operators.

Only the shares are used: times of single operators do not add up to a stage's (docs/layers.md), so a segment's
seconds come from the profile, which timed it as a whole.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.execution.stages.engine import Engine, StageInputs
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph.model import Model

_KERNEL: Final = '_kernel_time'


def layer_shares(model: Model, boundaries: Sequence[int], *, providers: Sequence[str], threads: int = 1,
                 runs: int = 5) -> tuple[float, ...]:  # fmt: skip
    """Return for each layer its share of its segment's time; the shares of a segment add up to 1.

    :param boundaries: the segments' ends, as in a profile.
    :param runs: of each segment, after one that does not count.
    :raises ModelError: if a segment cannot be extracted or run.
    """
    owners = owners_of(model)
    inputs = StageInputs(model)
    shares: list[float] = []
    for start, stop in zip(boundaries, boundaries[1:], strict=False):
        path = stage_file(model, range(start, stop)).path
        with tempfile.TemporaryDirectory(prefix='edge_dnn_partition_') as folder:
            inputs.compute(Engine(path, providers=providers, threads=threads))
            engine = Engine(path, providers=providers, threads=threads, trace=f'{folder}/trace')
            for _ in range(1 + runs):
                engine.run(inputs.feeds(engine))
            events = json.loads(Path(engine.end_trace()).read_bytes())
        seconds = by_layer(operator_times(events, skip=1), owners, range(start, stop))
        total = math.fsum(seconds)
        shares += [part / total if total > 0 else 1 / len(seconds) for part in seconds]
    return tuple(shares)


def owners_of(model: Model) -> dict[str, int]:
    """Return the layer of each node and of each tensor that a node makes, by name."""
    owners: dict[str, int] = {}
    for layer, members in zip(model.layers, model.layer_nodes, strict=True):
        for member in members:
            node = model.proto.graph.node[member]
            owners.update(dict.fromkeys(filter(None, (node.name, *node.output)), layer.index))
    return owners


def operator_times(events: Iterable[Mapping[str, Any]], *, skip: int = 0) -> list[tuple[str, float]]:
    """Return name and seconds of each operator that ran, in their order.

    :param events: of onnxruntime's trace.
    :param skip: this many runs at the beginning, which pay for first touches.
    """
    found = [event for event in events if event.get('cat') == 'Node' and str(event['name']).endswith(_KERNEL)]
    seen: dict[str, int] = {}
    times = []
    for event in sorted(found, key=lambda event: float(event['ts'])):
        name = str(event['name'])[: -len(_KERNEL)]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > skip:
            times.append((name, float(event['dur']) * 1e-6))
    return times


def by_layer(times: Iterable[tuple[str, float]], owners: Mapping[str, int], layers: range) -> list[float]:
    """Return the seconds of each layer.

    An operator that the runtime has fused or moved is named after the node or tensor that it stands for
    (``/conv1/Conv_output_0_nchwc``). One that it put in between (``ReorderInput``) counts with the operator before it,
    or the one after it at the beginning.

    :param times: operators in the order in which they ran.
    :param owners: of nodes' and tensors' names, see `owners_of`.
    """
    seconds = [0.0] * len(layers)
    at, waiting = -1, 0.0
    for name, duration in times:
        owner = _owner(name, owners, layers)
        if owner is not None:
            at = owner - layers.start
            seconds[at] += waiting
            waiting = 0.0
        if at < 0:
            waiting += duration
        else:
            seconds[at] += duration
    return seconds


def _owner(name: str, owners: Mapping[str, int], layers: range) -> int | None:
    """Return the layer of the longest known name that an operator's begins with, up to a separator."""
    while name:
        owner = owners.get(name)
        if owner is not None and owner in layers:
            return owner
        name = name[: max(name.rfind('/'), name.rfind('_'), 0)]
    return None

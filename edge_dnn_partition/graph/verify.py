# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Holding a chain of stages against the whole model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.difference import MOST_TOLERANCE, TOLERANCE, Verification, compare, tolerance_for
from edge_dnn_partition.graph.feeds import KINDS, random_feeds
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.repair import name_apart
from edge_dnn_partition.graph.source import read_source
from edge_dnn_partition.graph.stages import StageFile
from edge_dnn_partition.graph.trial import onnxruntime_message, open_session, run_once


def verify_stages(
    model: Model, stages: Sequence[StageFile], *, feeds: Mapping[str, np.ndarray] | None = None, seed: int = 0,
) -> Verification:
    """Run the user's original file at default optimisation and the chain of stages, and compare.

    A model in 16 bits, which is rounded where it is cut, may differ by as much as it does when the tensors there move by a
    unit in their last place.

    :param stages: in an order in which each finds its inputs.
    :param feeds: the model's inputs; by default seeded random ones, of the first kind that leaves no output empty.
    :raises ModelError: onnxruntime cannot run one of them, or a tensor is missing.
    """
    original = read_source(model.source_path)
    proto = ModelProto()
    proto.CopyFrom(original.proto)
    name_apart(proto.graph)
    values, expected = {}, {}
    try:
        session = open_session(proto, original.weights_at, repack=True)
        for kind in (model.example, *range(KINDS)):
            values = dict(feeds) if feeds is not None else random_feeds(map(model.tensors.__getitem__, model.inputs), seed, kind)
            expected = dict(zip(model.outputs, run_once(session, model.outputs, values, about=str(original.path)), strict=True))
            if feeds is not None or all(np.size(value) for value in expected.values()):
                break
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's own exceptions share no base class but this one  # noqa: BLE001
        raise ModelError(f'{original.path} cannot be run: {onnxruntime_message(error)}') from None
    found = compare(expected, run_chain(stages, model.outputs, values), tolerance_for(t.dtype for t in model.tensors.values()))
    if found.passed or found.tolerance == TOLERANCE:
        return found
    moved = compare(expected, run_chain(stages, model.outputs, values, rounded=seed))
    return replace(found, tolerance=max(found.tolerance, min(moved.relative, MOST_TOLERANCE)))


def run_chain(
    stages: Sequence[StageFile], outputs: Sequence[str], feeds: Mapping[str, np.ndarray], *, rounded: int | None = None,
) -> dict[str, np.ndarray]:
    """Run stages one after the other, handing tensors on, and return the named outputs.

    :param rounded: a seed; each float that is handed on then moves up or down by a unit in the last place of 16 bits.
    """
    values = dict(feeds)
    for stage in stages:
        missing = [name for name in stage.inputs if name not in values]
        if missing:
            raise ModelError(f'{stage.path} needs {", ".join(missing)}, which no earlier stage makes: '
                             'give the stages in the order of the graph')
        made = run_file(stage.path, stage.outputs, {name: values[name] for name in stage.inputs})
        values.update(made if rounded is None else {name: _moved(value, rounded) for name, value in made.items()})
    return {name: values[name] for name in outputs}


def run_file(
    path: str | os.PathLike[str], outputs: Sequence[str], feeds: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Run an ONNX file once on the CPU at default optimisation.

    :raises ModelError: onnxruntime cannot load or run it, or the run does not end.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(Path(path)), options, providers=['CPUExecutionProvider'])
        results = run_once(session, outputs, feeds, about=str(path))
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's own exceptions share no base class but this one  # noqa: BLE001
        raise ModelError(f'{path} cannot be run: {onnxruntime_message(error)}') from None
    return dict(zip(outputs, results, strict=True))


def _moved(value: np.ndarray, seed: int) -> np.ndarray:
    if not np.issubdtype(value.dtype, np.floating):
        return value
    sign = np.random.default_rng(seed).choice((-1.0, 1.0), value.shape)
    return np.asarray(value * (1 + sign * 2.0**-10)).astype(value.dtype)

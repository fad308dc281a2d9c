# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Holding a chain of stages against the whole model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.prepare import onnxruntime_message
from edge_dnn_partition.graph.stages import StageFile
from edge_dnn_partition.graph.tensors import random_feeds
from edge_dnn_partition.graph.trial import run_once

#: Stages may sum in another order than the whole model does; this much is allowed for it.
TOLERANCE = 1e-4
#: The same for models with 16-bit floats: a few units in their last place, since onnxruntime keeps 32 bits
#: between the operators of a whole model where a cut rounds to 16.
HALF_TOLERANCE = 4e-3
_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


@dataclass(frozen=True)
class OutputDifference:
    """How far one output of the stages is from the whole model's.

    ``relative`` is the largest absolute difference over the largest absolute value
    of the whole model's output; NaN and infinity must stand at the same places.
    """

    name: str
    exact: bool
    largest_absolute: float
    relative: float


@dataclass(frozen=True)
class Verification:
    """The differences of all outputs, in the model's order."""

    outputs: tuple[OutputDifference, ...]
    tolerance: float = TOLERANCE

    @property
    def exact(self) -> bool:
        """Whether every bit is the same."""
        return all(output.exact for output in self.outputs)

    @property
    def relative(self) -> float:
        """The largest relative difference."""
        return max((output.relative for output in self.outputs), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether the outputs agree within the tolerance."""
        return self.relative <= self.tolerance


def verify_stages(
    model: Model, stages: Sequence[StageFile], *, feeds: Mapping[str, np.ndarray] | None = None, seed: int = 0,
) -> Verification:
    """Run the user's original file at default optimisation and the chain of stages, and compare.

    :param stages: in an order in which each finds its inputs.
    :param feeds: the model's inputs; by default seeded random ones.
    :raises ModelError: onnxruntime cannot run one of them, or a tensor is missing.
    """
    values = dict(feeds) if feeds is not None else random_feeds((model.tensors[name] for name in model.inputs), seed)
    expected = run_file(model.source_path, model.outputs, values)
    half = any(tensor.dtype in _HALF for tensor in model.tensors.values())
    found = compare(expected, run_chain(stages, model.outputs, values))
    return replace(found, tolerance=HALF_TOLERANCE) if half else found


def run_chain(
    stages: Sequence[StageFile], outputs: Sequence[str], feeds: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Run stages one after the other, handing tensors on, and return the named outputs."""
    values = dict(feeds)
    for stage in stages:
        missing = [name for name in stage.inputs if name not in values]
        if missing:
            raise ModelError(f'{stage.path} needs {", ".join(missing)}, which no earlier stage makes: '
                             'give the stages in the order of the graph')
        values.update(run_file(stage.path, stage.outputs, {name: values[name] for name in stage.inputs}))
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
        accepted = {value.name for value in session.get_inputs()}
        results = run_once(session, outputs, {name: value for name, value in feeds.items() if name in accepted}, about=str(path))
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's own exceptions share no base class but this one  # noqa: BLE001
        raise ModelError(f'{path} cannot be run: {onnxruntime_message(error)}') from None
    return dict(zip(outputs, results, strict=True))


def compare(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> Verification:
    """Compare outputs of the same names."""
    return Verification(tuple(_difference(name, value, actual[name]) for name, value in expected.items()))


def _difference(name: str, expected: np.ndarray, actual: np.ndarray) -> OutputDifference:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return OutputDifference(name, False, float('inf'), float('inf'))
    if expected.tobytes() == actual.tobytes():
        return OutputDifference(name, True, 0.0, 0.0)
    wide_expected, wide_actual = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(wide_expected)
    if not np.array_equal(wide_expected[~finite], wide_actual[~finite], equal_nan=True):
        return OutputDifference(name, False, float('inf'), float('inf'))
    apart = np.abs(wide_expected[finite] - wide_actual[finite])
    largest = float(apart.max(initial=0.0))
    scale = float(np.abs(wide_expected[finite]).max(initial=0.0))
    return OutputDifference(name, False, largest, largest / scale if scale else (np.inf if largest else 0.0))

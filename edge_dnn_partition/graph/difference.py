# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How far the outputs of two forms of a model are apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.graph.casts import HALF

#: Stages may sum in another order than the whole model does; this much is allowed for it.
TOLERANCE: Final = 1e-4
#: The same for models with 16-bit floats: a few units in their last place, since onnxruntime keeps 32 bits
#: between the operators of a whole model where a cut rounds to 16.
HALF_TOLERANCE: Final = 4e-3
#: No model is so sensitive to rounding that more is allowed.
MOST_TOLERANCE: Final = 0.1


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


def tolerance_for(dtypes: Iterable[int]) -> float:
    """Return what to allow a model with tensors of those types."""
    return HALF_TOLERANCE if HALF.intersection(dtypes) else TOLERANCE


def compare(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], tolerance: float = TOLERANCE) -> Verification:
    """Compare outputs of the same names."""
    return Verification(tuple(_difference(name, value, actual[name]) for name, value in expected.items()), tolerance)


def _difference(name: str, expected: np.ndarray, actual: np.ndarray) -> OutputDifference:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return OutputDifference(name, False, float('inf'), float('inf'))
    if expected.dtype == object:  # strings
        same = np.array_equal(expected, actual)
        return OutputDifference(name, same, 0.0 if same else np.inf, 0.0 if same else np.inf)
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

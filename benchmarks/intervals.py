# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""95 % bootstrap intervals (percentiles; Efron and Tibshirani, An Introduction to the Bootstrap, 1993), seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Floats

_DRAWS = 4000
_TAILS = (2.5, 97.5)


def _draws(values: Sequence[float], statistic: Callable[..., Any], seed: int) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng([seed, 23]).integers(0, len(sample), (_DRAWS, len(sample)))
    return np.asarray(statistic(sample[picks], axis=1), dtype=np.float64)


def _between(draws: Floats) -> list[float]:
    return [float(value) for value in np.percentile(draws, _TAILS)]


def interval(values: Sequence[float], statistic: Callable[..., Any] = np.median) -> list[float]:
    """Return the ends of the interval of a statistic of a sample.

    :param statistic: as `numpy.median`: takes ``axis``.
    """
    return _between(_draws(values, statistic, 0))


def mean_and_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of a sample, such as paired differences by seed, and the ends of its interval."""
    low, high = interval(values, np.mean)
    return float(np.mean(values)), low, high


def quantile_interval(values: Sequence[float], share: float) -> list[float]:
    """Return the ends of the interval of a quantile."""
    return interval(values, lambda sample, axis: np.quantile(sample, share, axis=axis))


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ends of the interval of the ratio of two samples' medians."""
    return _between(_draws(above, np.median, 1) / _draws(below, np.median, 2))


def difference_interval(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Return the ends of the interval of the difference of two samples' medians."""
    return _between(_draws(one, np.median, 1) - _draws(other, np.median, 2))

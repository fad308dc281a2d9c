# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fits a power model to samples of activity and watts, with the fit's error.

Linear least squares with coefficients that are not negative (Lawson and Hanson 1974, scipy's ``nnls``); the
clock's exponent is the best of a grid. The error of prediction is that of leaving out one sample at a time,
which needs no second fit: residual / (1 - leverage) (Allen's PRESS, Technometrics 16, 1974).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError

from .model import USUAL_EXPONENT, Activity, PowerModel

_EXPONENTS: Final = tuple(1 + 0.1 * i for i in range(21))
_LEAST_CLOCK_RANGE: Final = 0.1
_NAMES: Final = ('idle_watts', 'core_watts', 'gpu_watts', 'joules_per_byte')
_LEAST_SAMPLES: Final = 2


@dataclass(frozen=True)
class Fit:
    """A fitted model and how good it is.

    :param model: its ``relative_error`` is the predictions' root mean square error over the mean of the watts.
    :param standard_errors: of each coefficient that was fitted; NaN where there is no sample to spare.
    :param rms_watts: of the residuals.
    :param predicted_rms_watts: of the predictions of each sample from all others; NaN likewise.
    :param largest_watts: largest absolute residual.
    :param fixed: coefficients that the samples say nothing of, which were taken from elsewhere.
    """

    model: PowerModel
    standard_errors: Mapping[str, float]
    rms_watts: float
    predicted_rms_watts: float
    largest_watts: float
    fixed: tuple[str, ...]


def fit(samples: Sequence[tuple[Activity, float]], *, prior: PowerModel | None = None, source: str) -> Fit:
    """Return the model that explains the samples best.

    A coefficient whose activity does not vary in the samples is not fitted: it is the prior's, or 0
    (clock_exponent: 2).

    :param samples: activities with the watts that were measured meanwhile.
    :param prior: where to take from what the samples do not tell.
    :param source: where the samples are from.
    :raises UserError: if there are too few samples, one is not finite, or the load was never varied.
    """
    known = [(a, w) for a, w in samples if all(map(math.isfinite, (*vars(a).values(), w)))]
    if len(known) < _LEAST_SAMPLES:
        raise UserError(f'{len(known)} of {len(samples)} samples are complete: {_LEAST_SAMPLES} or more are needed')
    columns = _columns(known, 1.0)
    varied = [True] + [float(np.ptp(column)) > 1e-9 for column in columns[1:]]
    if not varied[1]:
        raise UserError('all samples have the same CPU load: vary it, at least between idle and all cores busy')
    rest = PowerModel(0.0, 0.0) if prior is None else prior
    watts = np.array([w for _, w in known])
    for name, column, free in zip(_NAMES, columns, varied, strict=True):
        if not free:
            watts = watts - getattr(rest, name) * column
    ratios = [a.clock_ratio for a, _ in known if a.busy_cores > 0]
    clocks_vary = max(ratios) - min(ratios) > _LEAST_CLOCK_RANGE and len(known) > sum(varied)
    exponents = _EXPONENTS if clocks_vary else (rest.clock_exponent if prior else USUAL_EXPONENT,)
    best = min((_solve(known, watts, varied, exponent) for exponent in exponents), key=lambda s: s.squares)
    return _result(best, watts, varied, rest, np.array([w for _, w in known]), source, clocks_vary=clocks_vary)


@dataclass(frozen=True)
class _Solution:
    exponent: float
    design: NDArray[np.float64]
    values: NDArray[np.float64]
    squares: float


def _columns(samples: Sequence[tuple[Activity, float]], exponent: float) -> list[NDArray[np.float64]]:
    return [
        np.ones(len(samples)),
        np.array([a.busy_cores * a.clock_ratio**exponent for a, _ in samples]),
        np.array([a.gpu_share for a, _ in samples]),
        np.array([a.radio_bytes_per_second for a, _ in samples]),
    ]


def _solve(samples: Sequence[tuple[Activity, float]], watts: NDArray[np.float64], varied: Sequence[bool],
           exponent: float) -> _Solution:  # fmt: skip
    from scipy.optimize import nnls

    used = [column for column, free in zip(_columns(samples, exponent), varied, strict=True) if free]
    scales = [float(np.abs(column).max()) for column in used]  # bytes a second are large numbers
    scaled = np.stack([column / scale for column, scale in zip(used, scales, strict=True)], axis=1)
    values, norm = nnls(scaled, watts)
    return _Solution(exponent, np.stack(used, axis=1), values / np.array(scales), float(norm) ** 2)


def _result(best: _Solution, watts: NDArray[np.float64], varied: Sequence[bool], rest: PowerModel,
            measured: NDArray[np.float64], source: str, *, clocks_vary: bool) -> Fit:  # fmt: skip
    residuals = watts - best.design @ best.values
    spare = len(watts) - best.design.shape[1] - int(clocks_vary)
    active = best.values > 0  # a coefficient at its bound of 0 has no freedom
    inverse = np.linalg.pinv(best.design[:, active])
    leverage = np.einsum('ij,ji->i', best.design[:, active], inverse)
    variance = best.squares / spare if spare > 0 else math.nan
    errors = np.full(len(best.values), math.nan)
    errors[active] = np.sqrt(variance * np.einsum('ij,ij->i', inverse, inverse))
    left_out = np.where(leverage < 1 - 1e-9, residuals / np.maximum(1 - leverage, 1e-9), math.nan)
    predicted = math.nan if spare <= 0 or np.isnan(left_out).all() else float(np.sqrt(np.nanmean(left_out**2)))
    fitted = [name for name, free in zip(_NAMES, varied, strict=True) if free]
    values = dict(zip(fitted, map(float, best.values), strict=True))
    model = PowerModel(
        **{name: values.get(name, float(getattr(rest, name))) for name in _NAMES},
        clock_exponent=best.exponent,
        relative_error=predicted / float(measured.mean()) if measured.mean() > 0 else math.nan,
        source=source,
    )
    return Fit(
        model=model,
        standard_errors=dict(zip(fitted, map(float, errors), strict=True)),
        rms_watts=float(np.sqrt(np.mean(residuals**2))),
        predicted_rms_watts=predicted,
        largest_watts=float(np.abs(residuals).max()),
        fixed=tuple(name for name in _NAMES if name not in fitted) + (() if clocks_vary else ('clock_exponent',)),
    )

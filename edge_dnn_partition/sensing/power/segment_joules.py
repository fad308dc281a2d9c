# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Joules of each segment of a model on a device, learned from what the meter says of the stages run.

A stage takes the sum of its segments' joules less what their boundary overheads save, so each settled window of the meter is
one linear
equation in them. They are fitted by Bayesian linear regression (Bishop, Pattern Recognition and Machine Learning, section
3.3) with a prior at the device's active watts times each segment's seconds, whose weight makes few windows change little;
what was seen is forgotten exponentially, and a window far off counts less (Huber 1964). Time is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PRIOR_SPREAD: Final = 0.3
"""Relative standard deviation of a segment's watts from the device's: segments differ in how hard they drive a core."""

_WINDOW_SPREAD: Final = 0.5
"""Of one window, beside the meter's error: what the meter averages over, and other work beside the stages."""

_BIAS: Final = 0.03
"""Of an estimate, however many windows it rests on: idleness and the meter's scale do not average out."""

_HUBER: Final = 2.0
_LEAST_RUNS: Final = 5.0
"""Whole runs under the meter, not forgotten yet, after which a segment's joules count as measured."""

_MOST: Final = 1e9
"""Joules or runs of one window; more is nonsense."""

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class SegmentEstimate:
    """Joules above idleness of one run of each node, ``(nodes,)`` each: the preprocessing, then the segments.

    :param deviation: standard error of each.
    :param measured: whether the meter has said something of a node; else it is the device's watts times its seconds.
    """

    joules: Floats
    deviation: Floats
    measured: NDArray[np.bool_]


class SegmentJoules:
    """The regression of one device and model.

    :param boundaries: cut indices between which the segments lie, one more than there are segments.
    :param node_seconds: of the preprocessing (0: it is not run here) and of each segment, as profiled.
    :param seam_seconds: saved at each inner boundary by the segments beside it on one device, one less than segments.
    :param half_life_seconds: after which what was seen counts half.
    :raises ValueError: if the lengths do not fit.
    """

    def __init__(
        self, boundaries: Sequence[int], node_seconds: Sequence[float], seam_seconds: Sequence[float], *,
        half_life_seconds: float = 600.0,
    ) -> None:  # fmt: skip
        if len(node_seconds) != len(boundaries) or len(seam_seconds) != max(0, len(boundaries) - 2):
            raise ValueError('seconds and boundary overheads do not fit the boundaries')
        self.boundaries = tuple(boundaries)
        self._seconds: Floats = np.array(node_seconds, dtype=np.float64)
        self._overheads: Floats = np.array(seam_seconds, dtype=np.float64)
        self._half_life = half_life_seconds
        size = len(self._seconds)
        self._information: Floats = np.zeros((size, size))
        self._moment: Floats = np.zeros(size)
        self._runs: Floats = np.zeros(size)
        self._at = math.nan

    def row(self, preprocess: bool, layers: Ranges) -> Floats | None:
        """Return how often each node's joules are in a run of a stage, ``(nodes,)``; None if it is cut elsewhere.

        A boundary overhead within the stage takes its share of either segment beside it.
        """
        inside = np.zeros(len(self._seconds))
        inside[0] = preprocess
        place = {cut: index for index, cut in enumerate(self.boundaries)}
        for start, stop in layers:
            if start not in place or stop not in place:
                return None
            inside[1 + place[start] : 1 + place[stop]] = 1.0
        row = inside.copy()
        both = inside[1:-1] * inside[2:]
        for part in (slice(1, -1), slice(2, None)):
            seconds = self._seconds[part]
            row[part] -= both * np.divide(self._overheads / 2, seconds, out=np.zeros_like(seconds), where=seconds > 0)
        return row

    def observe(
        self, now: float, runs: Iterable[tuple[Floats, float]], joules: float, error_joules: float,
        watts: float, deviation_watts: float,
    ) -> None:  # fmt: skip
        """Take in what the stages took together in a window of the meter; what is not finite is left aside.

        :param now: seconds.
        :param runs: rows of the stages that ran in it, and which part of a run fell into it (several runs: more than 1).
        :param joules: above idleness, without other work.
        :param error_joules: standard error of that.
        :param watts: of the device above idleness while a stage runs, for the prior; likewise its deviation.
        """
        if not (0 <= joules <= _MOST and 0 <= error_joules <= _MOST):
            return
        x, ran = np.zeros(len(self._seconds)), np.zeros(len(self._seconds))
        for row, part in runs:
            x += row * part
            ran += (row > 0) * part
        if not (x > 0).any() or not np.abs(x).max() <= _MOST:
            return
        prior = self.estimate(now, watts, deviation_watts)
        expected = float(x @ prior.joules) if prior is not None else joules
        sigma = math.hypot(error_joules, _WINDOW_SPREAD * max(expected, 1e-9))
        residual = abs(joules - expected)
        weight = min(1.0, _HUBER * sigma / residual) / sigma**2 if residual > 0 else sigma**-2
        self._forget(now)
        self._information += weight * np.outer(x, x)
        self._moment += weight * joules * x
        self._runs += ran

    def estimate(self, now: float, watts: float, deviation_watts: float) -> SegmentEstimate | None:
        """Return what each node takes; None while the device's watts are unknown.

        :param now: seconds.
        :param watts: of the device above idleness while a stage runs; likewise its deviation.
        """
        if not 0 < watts <= _MOST:
            return None
        keep = self._kept(now)
        believed = watts * self._seconds
        common = deviation_watts * self._seconds if abs(deviation_watts) <= _MOST else np.zeros_like(believed)
        known = np.flatnonzero(believed > 0)
        joules, deviation = believed.copy(), np.zeros_like(believed)
        if known.size:
            at = np.ix_(known, known)
            # Scaled by what is believed, the prior's covariance has no entries of very different size.
            scale = believed[known]
            shared = common[known] / scale
            covariance = np.diag(np.full(known.size, _PRIOR_SPREAD**2)) + np.outer(shared, shared)
            information = np.linalg.inv(covariance) + keep * self._information[at] * np.outer(scale, scale)
            residual = keep * (self._moment[known] - self._information[at] @ believed[known]) * scale
            spread = np.linalg.pinv(information, hermitian=True)  # as good as exact samples leave it singular to rounding
            joules[known] = np.maximum(0.0, believed[known] + scale * (spread @ residual))
            deviation[known] = scale * np.sqrt(np.maximum(0.0, np.diag(spread)))
        return SegmentEstimate(joules, np.hypot(deviation, _BIAS * joules), keep * self._runs >= _LEAST_RUNS)

    def _kept(self, now: float) -> float:
        """The share of what was seen that still counts."""
        return 0.5 ** (max(0.0, now - self._at) / self._half_life) if math.isfinite(self._at) else 1.0

    def _forget(self, now: float) -> None:
        keep = self._kept(now)
        self._information *= keep
        self._moment *= keep
        self._runs *= keep
        self._at = now if not math.isfinite(self._at) else max(self._at, now)

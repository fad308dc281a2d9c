# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a latency scatters from frame to frame: the tail of a sum of devices' and links' times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from .problem import Floats


@dataclass(frozen=True)
class Tail:
    """A lognormal distribution, shifted by what is certain.

    :param middle_seconds: the median of what scatters.
    :param deviation: the standard deviation of its logarithm.
    :param certain_seconds: what is added to it.
    """

    middle_seconds: float
    deviation: float
    certain_seconds: float = 0.0

    def quantile(self, reach: float) -> float:
        """Return the seconds that lie so many standard deviations above the middle."""
        return self.certain_seconds + self.middle_seconds * math.exp(reach * self.deviation)


CERTAIN: Final = Tail(0.0, 0.0)
"""Of a problem in which nothing scatters."""


def sum_of_lognormals(parts: Floats, deviations: Floats, certain: float = 0.0) -> Tail:
    """Return the distribution of a sum of independent times, each lognormal about what is predicted.

    By matching mean and variance (Fenton, "The sum of log-normal probability distributions in scatter transmission systems",
    IRE Transactions on Communications Systems 8, 1960).

    :param parts: the medians, seconds.
    :param deviations: of their logarithms; what has none counts as certain.
    :param certain: seconds that do not scatter.
    """
    scatters = (parts > 0) & (deviations > 0)
    certain += float(parts[~scatters].sum())
    if not scatters.any():
        return Tail(0.0, 0.0, certain)
    largest = float(parts[scatters].max())
    squares = np.exp(deviations[scatters] ** 2)
    means = parts[scatters] / largest * np.sqrt(squares)
    mean, variance = float(means.sum()), float((means**2 * (squares - 1)).sum())
    square = math.log1p(variance / mean**2)
    return Tail(largest * mean * math.exp(-square / 2), math.sqrt(square), certain)

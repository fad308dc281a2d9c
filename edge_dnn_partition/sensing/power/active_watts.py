# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a device draws above idleness while it is busy, learned from what its stages took by the meter.

``joules = watts * busy core-seconds``: weighted least squares through the origin, recursive with exponential forgetting
(Ljung, System Identification, section 11.2); an observation far off counts less (Huber 1964), so that a minute of other
work does not carry the estimate away, and the estimate stays within bounds.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from .attribution import Energy

_HUBER: Final = 2.0
"""Standard deviations beyond which an observation's weight falls."""

_SPREAD: Final = 0.1
"""Of an observation, beside the meter's error: stages differ in how hard they drive a core."""



_FORGET: Final = 0.99
"""The weight of what was known when one more observation comes: about 100 of them are kept."""

_LEAST: Final = 5
"""Observations after which the device's watts count as measured."""

_MOST_RANGES: Final = 64

_MOST: Final = 1e9
"""Seconds or joules of one observation; more is nonsense."""


class ActiveWatts:
    """Watts a busy core adds, recursively fitted.

    :param prior_watts: what is believed before, such as a power model's; NaN: nothing.
    :param prior_deviation: standard deviation of that.
    :param most_watts: the estimate's upper bound; the lower one is 0.
    """

    def __init__(
        self, prior_watts: float = math.nan, prior_deviation: float = math.nan, *, most_watts: float = 1000.0
    ) -> None:
        known = math.isfinite(prior_watts) and prior_deviation > 0
        self._prior = (prior_watts, prior_deviation**-2) if known else (0.0, 0.0)
        self._most = most_watts
        self._information = self._moment = self._square = self._weight = 0.0
        self.observations = 0

    @property
    def watts(self) -> float:
        """The estimate; NaN: nothing is known."""
        information = self._prior[1] + self._information
        if information <= 0:
            return math.nan
        return min(self._most, max(0.0, (self._prior[0] * self._prior[1] + self._moment) / information))

    @property
    def deviation(self) -> float:
        """Standard deviation of the estimate, wider where observations contradict each other; NaN: nothing is known."""
        information = self._prior[1] + self._information
        if information <= 0:
            return math.nan
        excess = self._square / self._weight if self._weight > 0 else 1.0
        return math.sqrt(max(1.0, excess) / information)

    def observe(self, core_seconds: float, joules: float, error_joules: float = 0.0) -> None:
        """Take in what one run, or several, took; what is unknown or not positive in time is left aside."""
        if not (0 < core_seconds <= _MOST and 0 <= joules <= _MOST):
            return
        now = self.watts
        expected = now * core_seconds if math.isfinite(now) else joules
        error = min(abs(error_joules), _MOST) if math.isfinite(error_joules) else expected
        sigma = math.hypot(error, _SPREAD * max(expected, joules, 1e-9))
        residual = joules - expected
        weight = min(1.0, _HUBER * sigma / abs(residual)) if residual else 1.0
        self._information = _FORGET * self._information + weight * (core_seconds / sigma) ** 2
        self._moment = _FORGET * self._moment + weight * core_seconds * joules / sigma**2
        self._square = _FORGET * self._square + weight * (residual / sigma) ** 2
        self._weight = _FORGET * self._weight + weight
        self.observations += 1


class StageWatts:
    """The same by layer range: a range that ran often enough has its own watts, any other the device's.

    :param prior_watts: of the device.
    :param prior_deviation: likewise.
    """

    def __init__(
        self, prior_watts: float = math.nan, prior_deviation: float = math.nan
    ) -> None:
        self.device = ActiveWatts(prior_watts, prior_deviation)
        self._ranges: OrderedDict[Hashable, ActiveWatts] = OrderedDict()

    @property
    def measured(self) -> bool:
        """True once enough was seen by the meter."""
        return self.device.observations >= _LEAST

    def observe(self, layers: Hashable, core_seconds: float, joules: float, error_joules: float = 0.0) -> None:
        """Take in what a run of a layer range took."""
        fit = self._ranges.get(layers)
        if fit is None:
            fit = self._ranges[layers] = ActiveWatts()
            if len(self._ranges) > _MOST_RANGES:
                self._ranges.popitem(last=False)
        self._ranges.move_to_end(layers)
        fit.observe(core_seconds, joules, error_joules)
        self.device.observe(core_seconds, joules, error_joules)

    def fit(self, layers: Hashable) -> ActiveWatts:
        """Return the fit that counts for a layer range."""
        own = self._ranges.get(layers)
        return own if own is not None and own.observations >= _LEAST else self.device

    def energy(self, layers: Hashable, core_seconds: float) -> Energy:
        """Predict a run's joules with their standard error."""
        fit = self.fit(layers)
        joules = fit.watts * core_seconds
        error = math.hypot(fit.deviation * core_seconds, _SPREAD * joules)
        return Energy(joules, error, 'measured' if self.measured else 'modelled')

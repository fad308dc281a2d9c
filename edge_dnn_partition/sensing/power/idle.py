# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a device draws when nothing runs, learnt from its meter while it is quiet."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Final

_TO_DEVIATION: Final = 1.4826
"""Of a normal distribution, the standard deviation over the median absolute deviation."""


class IdlePower:
    """The median of the watts in quiet moments.

    :param guess_watts: counts until enough was seen, such as a power model's; NaN: unknown until then.
    :param guess_error_watts: standard error of that.
    :param quiet_share: of all cores; busier moments tell nothing of idleness.
    :param least: how many quiet moments are enough.
    :param window: how many of the last ones count.
    """

    def __init__(
        self,
        guess_watts: float = math.nan,
        guess_error_watts: float = math.nan,
        *,
        quiet_share: float = 0.05,
        least: int = 5,
        window: int = 60,
    ) -> None:
        self._guess = (guess_watts, guess_error_watts)
        self._quiet, self._least = quiet_share, least
        self._watts: deque[float] = deque(maxlen=window)

    def add(self, watts: float, busy_share: float) -> None:
        """Take in a moment.

        :param watts: of the meter.
        :param busy_share: of all cores, 0 to 1.
        """
        if math.isfinite(watts) and busy_share <= self._quiet:
            self._watts.append(watts)

    @property
    def measured(self) -> bool:
        """True if the watts are the meter's, not the guess."""
        return len(self._watts) >= self._least

    @property
    def watts(self) -> float:
        """What it draws when nothing runs."""
        return median(self._watts) if self.measured else self._guess[0]

    @property
    def error_watts(self) -> float:
        """Standard error of that."""
        if not self.measured:
            return self._guess[1]
        middle = median(self._watts)
        spread = median(abs(value - middle) for value in self._watts)
        return _TO_DEVIATION * spread / math.sqrt(len(self._watts))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A device's power from its running totals of energy, which its worker publishes."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_SECONDS: Final = 3.0
"""Totals come in steps, as stages are settled."""


@dataclass
class MeanPower:
    """One device's totals over the last seconds that were covered; new ones of another incarnation begin anew."""

    kind: str = ''
    _incarnation: int = 0
    _totals: deque[tuple[float, float]] = field(default_factory=deque)

    def record(self, incarnation: int, kind: str, covered_seconds: float, joules: float) -> None:
        """Record a total.

        :param kind: ``measured``, ``modelled``, or empty for neither.
        :param covered_seconds: the time in which ``joules`` were drawn, since the start.
        """
        if incarnation != self._incarnation or kind != self.kind:
            self._incarnation, self.kind = incarnation, kind
            self._totals.clear()
        if not math.isfinite(joules) or (self._totals and covered_seconds <= self._totals[-1][0]):
            return
        self._totals.append((covered_seconds, joules))
        while len(self._totals) > 2 and self._totals[1][0] <= covered_seconds - WINDOW_SECONDS:
            self._totals.popleft()

    @property
    def watts(self) -> float:
        """The mean over the window; NaN until two totals are there."""
        if len(self._totals) < 2:
            return math.nan
        (begin, first), (end, last) = self._totals[0], self._totals[-1]
        return max(0.0, (last - first) / (end - begin))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The largest value of the last while, in constant time a value (a monotonic queue)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class WindowedMax:
    """Time is passed in and must not fall.

    :param seconds: how far it looks back.
    """

    seconds: float
    _values: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now: float, value: float) -> float:
        """Take a value in; return the largest one that is no older than the window."""
        while self._values and (self._values[-1][1] <= value or self._values[0][0] < now - self.seconds):
            if self._values[-1][1] <= value:
                self._values.pop()
            else:
                self._values.popleft()
        self._values.append((now, value))
        return self._values[0][1]

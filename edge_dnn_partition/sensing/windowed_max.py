# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The largest value of the last while, in constant time a value (a monotonic queue), and the largest that was held."""

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


@dataclass
class HeldMax:
    """The largest value of the last while that what is measured did not fall below for so long; a single outlier is none.

    :param seconds: how far it looks back.
    :param held_seconds: for how long a value must hold.
    """

    seconds: float
    held_seconds: float = 3.0
    _since: float | None = None
    _negative: WindowedMax = field(init=False)
    _most: WindowedMax = field(init=False)

    def __post_init__(self) -> None:
        self._negative, self._most = WindowedMax(self.held_seconds), WindowedMax(self.seconds)

    def add(self, now: float, value: float) -> float:
        """Take a value in; return the largest one that was held; 0 if it has been looked at for too short a time."""
        self._since = now if self._since is None else self._since
        least = -self._negative.add(now, -value)
        return self._most.add(now, least if now - self._since >= self.held_seconds else 0.0)

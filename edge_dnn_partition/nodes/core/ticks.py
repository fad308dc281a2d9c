# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a node does at intervals, or soon: kept by the thread that spins it, which needs to wake only once for all that is due.

A timer of rclpy wakes three threads' worth each time: its executor has a thread for each clock that waits, wakes the one that
spins, and is woken by it to wait again (measured: 226 wake-ups a second for the 75 ticks of a frame source). Here the spin
itself ends when something is due.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_TOLERANCE_SECONDS: Final = 0.0005
"""A wait may end so much too early."""


class Tick:
    """Something done at intervals, on a grid of the steady clock: what has one period, or twice it, falls together."""

    def __init__(self, ticks: Ticks, seconds: float, callback: Callable[[], None]) -> None:
        self._ticks, self.callback = ticks, callback
        self.period_seconds = seconds
        self.due = math.inf

    @property
    def running(self) -> bool:
        """Whether it will be done again."""
        return self.due < math.inf

    def start(self) -> None:
        """Do it from now on; nothing if it is done already."""
        if not self.running:
            self.next(self._ticks.clock())

    def stop(self) -> None:
        """Do it no more."""
        self.due = math.inf

    def set_period(self, seconds: float) -> None:
        """Do it at other intervals from now on; nothing if they are the same."""
        if seconds != self.period_seconds:
            self.period_seconds = seconds
            if self.running:
                self.next(self._ticks.clock())

    def hasten(self, seconds: float = 0.0) -> None:
        """Do it in so many seconds if that is earlier, once, then at its intervals; may be called from any thread."""
        if self.running and (due := self._ticks.clock() + seconds) < self.due:
            self.due = due
            self._ticks.on_change(due)

    def next(self, now: float) -> None:
        """Put it on the next point of its grid."""
        self.due = (math.floor((now + _TOLERANCE_SECONDS) / self.period_seconds) + 1) * self.period_seconds
        self._ticks.on_change(self.due)


class Ticks:
    """The ticks of one node. Used in the thread that spins it, but for `soon` and `Tick.hasten`.

    :param clock: seconds, steady.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.wake: Callable[[], None] = lambda: None
        """Ends the wait of the thread that spins; set by who does."""
        self.next_at = math.inf
        """No tick is due before; `run` may find none due then."""
        self._ticks: list[Tick] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._running = False

    def every(self, seconds: float, callback: Callable[[], None], *, start: bool = True) -> Tick:
        """Return a new tick.

        :param callback: does not raise.
        """
        tick = Tick(self, seconds, callback)
        self._ticks.append(tick)
        if start:
            tick.start()
        return tick

    def remove(self, tick: Tick) -> None:
        """Do something no more, and forget it."""
        tick.stop()
        with suppress(ValueError):
            self._ticks.remove(tick)

    def soon(self, callback: Callable[[], None]) -> None:
        """Do something once, at the next opportunity; may be called from any thread."""
        self._soon.append(callback)
        self.on_change(-math.inf)

    def on_change(self, due: float) -> None:
        """Note that something is due then."""
        if due < self.next_at:
            self.next_at = due
            if not self._running:
                self.wake()

    def seconds_left(self, most: float) -> float:
        """Return how long the thread may wait, at most."""
        self.next_at = -math.inf if self._soon else min((tick.due for tick in self._ticks), default=math.inf)
        return min(most, max(0.0, self.next_at - self.clock()))

    def run(self) -> None:
        """Do what is due."""
        if self._running:  # a callback that is done here receives a message
            return
        self._running = True
        try:
            for _ in range(len(self._soon)):
                self._soon.popleft()()
            for tick in [*self._ticks]:
                now = self.clock()
                if tick.due <= now + _TOLERANCE_SECONDS:
                    tick.next(now)
                    tick.callback()
        finally:
            self._running = False
            self.seconds_left(0.0)

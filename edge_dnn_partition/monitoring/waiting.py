# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Says what a start waits for, so that one that takes long is told from one that hangs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 3.0


class WaitingLog:
    """Logs what is waited for after 3 s, then after twice as long each time, and after 3 s again once it is something else.

    :param log: takes a line.
    """

    def __init__(self, log: Callable[[str], object]) -> None:
        self._log = log
        self._what = ''
        self._due, self._period_seconds = math.inf, FIRST_SECONDS
        self._began = math.nan

    def waiting(self, what: str, now: float) -> None:
        """Record what is waited for now; call it about once a second.

        :param now: seconds, steady clock.
        """
        if math.isnan(self._began):
            self._began = now
        if what != self._what:
            self._what, self._period_seconds = what, FIRST_SECONDS
            self._due = min(self._due, now + FIRST_SECONDS)
        if now >= self._due:
            self._log(f'{what} ({now - self._began:.0f} s)')
            self._due = now + self._period_seconds
            self._period_seconds *= 2

    def over(self) -> None:
        """Record that nothing is waited for."""
        self._what, self._due, self._began = '', math.inf, math.nan

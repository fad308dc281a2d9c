# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the stage that a worker runs is overdue: seen while it runs, long before its frame's report is there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

LEAST_SECONDS: Final = 0.1
"""A stage that is late by less is no news: what follows of it is not worth a change of plan before its frame is back."""
REMEMBER_SECONDS: Final = 2.0
"""So long after a stage its time is still told, if no other follows: by then the speed probe of an idle device is read anew."""


@dataclass(frozen=True)
class _Run:
    begin: float
    profiled: float
    end: float | None = None

    def factor(self, until: float) -> float:
        took = until - self.begin
        return took / self.profiled if took - self.profiled >= LEAST_SECONDS else 0.0


@dataclass
class StageWatch:
    """Watches one stage after the other; `factor` may be asked from another thread.

    :param clock: seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _now: _Run | None = None
    _last: _Run | None = None

    @contextlib.contextmanager
    def watching(self, profiled_seconds: float) -> Iterator[None]:
        """Watch a stage while the context is entered.

        :param profiled_seconds: what it is to take; 0: not known, then it is not watched.
        """
        begin = self.clock()
        self._now = _Run(begin, profiled_seconds) if profiled_seconds > 0 else None
        try:
            yield
        finally:
            self._last = _Run(begin, profiled_seconds, self.clock()) if profiled_seconds > 0 else None
            self._now = None

    def factor(self, now: float) -> float:
        """Return the time of the stage under way, or of the last one, over its profiled time; 0 if that is not overdue."""
        present, last = self._now, self._last
        found = 0.0
        if last is not None and last.end is not None and now - last.end <= REMEMBER_SECONDS:
            found = last.factor(last.end)
        return max(found, present.factor(now)) if present is not None else found

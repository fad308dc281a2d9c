# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A log that says the same trouble once, and then how often it came again."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

FIRST_SECONDS: Final = 5.0
LAST_SECONDS: Final = 60.0
_KINDS: Final = 256
"""So many kinds are told apart; more at a time would make a log of their own."""
_SUMMARY_LENGTH: Final = 300


@dataclass
class _Kind:
    """What came of one kind since its last line."""

    error: bool
    said_at: float
    window_seconds: float = FIRST_SECONDS
    count: int = 0
    last: str = ''


class RepeatedLog:
    """Logs the first of a kind at once; then, for as long as it comes, its number after 5 s, 10 s, … and each 60 s.

    A kind that has not come for a whole such window is new again. May be called from any thread.

    :param logger: has ``warning`` and ``error``, which take a text.
    :param clock: seconds, steady.
    """

    def __init__(self, logger: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._clock = logger, clock
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def warning(self, kind: str, text: str) -> None:
        """Log a warning, or count it.

        :param kind: what is one kind, such as the place that it comes from.
        """
        self._take(kind, text, error=False)

    def failure(self, what: str) -> None:
        """Log the exception that is being handled as an error with its traceback, or count it.

        :param what: in words; with the exception's type and place it is the kind.
        """
        text = traceback.format_exc()
        place = [line for line in text.splitlines() if line.startswith('  File "')][-1:]
        kind = text.rstrip().rpartition('\n')[2].partition(':')[0]
        self._take(f'{what} {kind} {place}', f'{what}:\n{text}', error=True)

    def flush(self, *, ending: bool = False) -> None:
        """Say the numbers that are due; all of them at the end. To be called every second or so."""
        now = self._clock()
        with self._lock:
            due = {k: s for k, s in self._kinds.items() if ending or now - s.said_at >= s.window_seconds}
            lines = [(state.error, _again(state, now)) for state in due.values() if state.count]
            for kind, state in due.items():
                if ending or not state.count:
                    del self._kinds[kind]
                else:
                    window = min(LAST_SECONDS, 2 * state.window_seconds)
                    self._kinds[kind] = _Kind(state.error, now, window)
        for error, line in lines:
            self._say(line, error=error)

    def _take(self, kind: str, text: str, *, error: bool) -> None:
        with self._lock:
            state = self._kinds.get(kind)
            if state is not None:
                state.count += 1
                state.last = text
                return
            if len(self._kinds) >= _KINDS:
                del self._kinds[min(self._kinds, key=lambda known: self._kinds[known].said_at)]
            self._kinds[kind] = _Kind(error, self._clock())
        self._say(text, error=error)

    def _say(self, text: str, *, error: bool) -> None:
        if error:  # rclpy's logger wants one level for each place that it is called from
            self._logger.error(text)
        else:
            self._logger.warning(text)


def _again(state: _Kind, now: float) -> str:
    """Return the line that counts; of a traceback the last line, which names the exception."""
    last = state.last.rstrip().rpartition('\n')[2][:_SUMMARY_LENGTH]
    seconds = max(1, math.ceil(now - state.said_at))
    return f'... and {state.count} more of this in the last {seconds} s: {last}'

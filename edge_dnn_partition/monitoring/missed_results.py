# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which results a reader of the topic result has missed, and which come a second time, by the numbers that they carry."""

from __future__ import annotations

from typing import Any


class MissedResults:
    """Counts what was published between two results that came, and knows what comes again.

    What went before the first one is not counted.
    """

    def __init__(self) -> None:
        self.again = 0
        """Results that came a second time, around a kill of the frame source."""
        self.missed = 0
        """Results that were published while this reader listened and that it has not received."""
        self._last: tuple[int, int] | None = None
        self._frame_number = -1

    def is_new(self, result: Any) -> bool:
        """Return whether a result is of a frame that has none here; to be asked before `received`.

        A frame source that is killed while it publishes a result can't know whether it went out: it publishes that again, as
        ``redelivered``. Results come in the frames' order, so the last one's number decides.
        """
        new = not (result.redelivered and result.frame_number <= self._frame_number)
        self.again += not new
        return new

    def received(self, result: Any) -> int:
        """Take a result in (Result); return how many were missed between it and the one before.

        Of a frame source that has restarted, those before its first one count; the last ones of the run before are not known.
        """
        incarnation, sequence = int(result.incarnation), int(result.sequence)
        self._frame_number = max(self._frame_number, int(result.frame_number))
        before = self._last
        self._last = incarnation, sequence
        if before is None:
            return 0
        missed = sequence - 1 - (before[1] if before[0] == incarnation else 0)
        self.missed += max(0, missed)
        return max(0, missed)

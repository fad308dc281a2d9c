# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How many results a reader of the topic result has missed, by the numbers that they carry."""

from __future__ import annotations

from typing import Any


class MissedResults:
    """Counts what was published between two results that came. What went before the first one is not counted."""

    def __init__(self) -> None:
        self.missed = 0
        """Results that were published while this reader listened and that it has not received."""
        self._last: tuple[int, int] | None = None

    def received(self, result: Any) -> int:
        """Take a result in (Result); return how many were missed between it and the one before.

        Of a frame source that has started anew, those before its first one count; the last ones of the run before are not known.
        """
        incarnation, sequence = int(result.incarnation), int(result.sequence)
        before = self._last
        self._last = incarnation, sequence
        if before is None:
            return 0
        missed = sequence - 1 - (before[1] if before[0] == incarnation else 0)
        self.missed += max(0, missed)
        return max(0, missed)

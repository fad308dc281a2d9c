# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What probing an idle link may cost: a share of what the link carries. Time is passed in."""

from __future__ import annotations

import math
from typing import Final

from edge_dnn_partition.sensing.windowed_max import WindowedMax

REMEMBER_SECONDS: Final = 120.0
"""For so long the most that a link was seen to carry counts: one that is down now is looked for as often as before."""
LONGEST_SECONDS: Final = 30.0
"""A link that answers nothing at all is asked after so long in any case; who shares it gets nothing through either."""


class ProbeBudget:
    """A token bucket of bytes for the probes of one link; it holds what one probe costs, and is full at first.

    Over any time ``t`` at most ``share`` times the bytes that the link carries in ``t``, and two probes, are granted: on a
    slow link probes are small (`affordable`) and then rare. A probe that showed another rate than was believed is
    confirmed by a second one at once, which the next ones wait for. Beyond that only a link that answers nothing is
    asked, once every :data:`LONGEST_SECONDS`.

    :param share: of the link, from 0 (no probes at all) to 1.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._credit = math.inf
        self._at = -math.inf
        self._granted_at = -math.inf
        self._most = WindowedMax(REMEMBER_SECONDS)

    def affordable(self, bytes_per_second: float) -> float:
        """Return how large a probe may be, in bytes on the wire, for one every :data:`LONGEST_SECONDS`."""
        return self.share * bytes_per_second * LONGEST_SECONDS

    def grant(
        self, now: float, size_bytes: float, bytes_per_second: float, *, silent: bool = False, doubtful: bool = False
    ) -> bool:
        """Return whether a probe may be sent now, and count it if so.

        :param size_bytes: what it costs on the wire.
        :param bytes_per_second: what the link is believed to carry.
        :param silent: nothing that was sent to it of late was answered.
        :param doubtful: what it showed last was not what is believed of it: the probe may be paid for later.
        """
        capacity = self._most.add(now, bytes_per_second)
        elapsed = now - self._at
        earned = self.share * capacity * elapsed if math.isfinite(elapsed) else 0.0
        self._credit, self._at = min(self._credit + earned, size_bytes), now
        overdue = silent and now - self._granted_at >= LONGEST_SECONDS
        needed = 0.0 if doubtful else size_bytes
        if self.share <= 0 or (self._credit < needed and not overdue):
            return False
        self._credit = max(self._credit - size_bytes, -size_bytes)
        self._granted_at = now
        return True

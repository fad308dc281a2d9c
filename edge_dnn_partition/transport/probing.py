# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When an idle link is probed, and how: by what the scheduler says that a measurement is worth. Time is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_dnn_partition.sensing.link import LinkEstimator
from edge_dnn_partition.sensing.windowed_max import WindowedMax

from .fragments import HEAD_BYTES, HEADER_BYTES, PROBE_FRAGMENTS, in_packets, packets_of, probe_fragment_size

if TYPE_CHECKING:
    from .link_model import EstimateGuard

REMEMBER_SECONDS: Final = 120.0
"""The budget follows the most that the link carried within this time: one that is down is probed as often as before."""
LONGEST_SECONDS: Final = 30.0
"""A link that acknowledges nothing is probed this often in any case; whoever shares it gets nothing through either."""


class ProbeBudget:
    """A token bucket of bytes for the probes of one link; it holds what one probe costs, and is full at first.

    In any time ``t`` it grants at most ``share`` times the bytes that the link carries in ``t``, and two probes: one that showed
    another rate than the estimate is confirmed by a second one at once, which the next ones wait for.

    :param share: of the link, from 0 (no probes) to 1.
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
        :param bytes_per_second: the estimated rate.
        :param silent: nothing has been acknowledged of late.
        :param doubtful: the last measurement differs from the estimate: the probe may be paid for later.
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


SOON_SECONDS: Final = 0.4
"""How often a link is probed that a better plan would need, with probes of what its share allows in that time."""
HOLD_UP_SECONDS: Final = 0.3
"""Such a probe takes no longer at the estimated rate: frames may wait behind it."""
LEAST_FRAGMENTS: Final = 2
"""The spacing of two packets shows that a slow link has become several times faster; a second, larger probe confirms it."""
SHORT_SECONDS: Final = 0.003
"""Packets of a small probe that arrive closer to each other than this show only that the link carries so much."""
MORE: Final = 2.0
"""What a probe looks for at least, over the estimated rate, so that a rise beyond all earlier rates is found."""
UNWORTHY: Final = 0.05
"""Share of the ceiling for a link that has been measured, and on which nothing could be gained at present."""
UNTOLD: Final = 0.25
"""Share for all links while no scheduler says which ones are worth it."""
TOLD_SECONDS: Final = 5.0
"""What the scheduler says expires after this time."""
MOST_OF_BUSY: Final = 1 / 3
"""Of the pace, for probes of a link that a better plan would need and on which something is held up."""


@dataclass(frozen=True)
class Probe:
    """How a probe is sent.

    :param bytes_per_second: the rate that it looks for; 0: a little more than the estimate.
    """

    fragments: int
    fragment_bytes: int
    bytes_per_second: float

    @property
    def cost_bytes(self) -> float:
        """What it takes on the wire."""
        return self.fragments * (self.fragment_bytes + HEADER_BYTES) + HEAD_BYTES


class LinkProber:
    """Decides on the probes of one link; not thread safe."""

    def __init__(self) -> None:
        self._budget = ProbeBudget(0.0)
        self._told_at = -math.inf
        self._share = self._hoped = 0.0
        self._news = False
        """The link is worth probing and was not before."""
        self._probed_at = -math.inf
        self._settled = False
        """The link has been measured often enough."""

    def on_exploration(self, now: float, share: float, bytes_per_second: float) -> None:
        """Record what the scheduler wants to know.

        :param share: of the ceiling, from 0 to 1: what knowing more of the link is worth.
        :param bytes_per_second: what the link may carry, for a better plan.
        """
        self._news = share > UNWORTHY and (self._news or self._share <= UNWORTHY)
        self._told_at, self._share, self._hoped = now, share, bytes_per_second

    def next_probe(
        self, now: float, link: LinkEstimator, guard: EstimateGuard, *, ceiling: float, period: float, rate: float | None = None,
        busy: bool = False,
    ) -> Probe | None:  # fmt: skip
        """Return the probe that is due now, and count it; None if none is.

        :param ceiling: the share of the link that probes may take at most, from 0 to 1.
        :param period: the least seconds between probes that nothing depends on.
        :param rate: that fragments are paced to.
        :param busy: something is on its way there, and is held up.
        """
        explored = now - self._told_at <= TOLD_SECONDS
        self._settled |= link.settled
        wanted = explored and self._share > UNWORTHY and link.estimate.measured
        if not (link.settled if wanted else self._settled):
            worth = 1.0
        else:
            worth = max(self._share, UNWORTHY) if explored else UNTOLD
        hurry = (link.doubtful and worth > UNWORTHY) or (wanted and self._news)  # what that costs is paid for later
        if now - self._probed_at < (SOON_SECONDS if wanted else period) and not hurry:
            return None
        believed, seen = link.estimate.bytes_per_second, guard.seen(now, link.estimate)
        self._budget.share = ceiling * worth
        bold = 0.0 if guard.shy(now) else max(seen, self._hoped if wanted else 0.0, MORE * believed)
        probe = self._shape(believed if link.estimate.measured else rate, believed, seen, bold, wanted=wanted)
        if busy and (not wanted or now - self._probed_at < probe.cost_bytes / (MOST_OF_BUSY * (rate or believed))):
            return None
        if not self._budget.grant(now, probe.cost_bytes, believed, silent=link.silent, doubtful=hurry):
            return None
        self._probed_at, self._news = now, False
        return probe

    def _shape(self, rate: float | None, believed: float, seen: float, bold: float, *, wanted: bool) -> Probe:
        if not wanted:
            return Probe(PROBE_FRAGMENTS, probe_fragment_size(rate, self._budget.affordable(believed)), bold)
        most = min(self._budget.affordable(max(believed, seen)) * SOON_SECONDS / LONGEST_SECONDS, believed * HOLD_UP_SECONDS)
        timed_bytes = min(max(bold, MORE * believed) * SHORT_SECONDS, believed * HOLD_UP_SECONDS)
        timed = packets_of(math.ceil(timed_bytes / (PROBE_FRAGMENTS - 1)) + HEAD_BYTES)
        size = max(probe_fragment_size(rate, most), in_packets(timed) - HEAD_BYTES)
        least = LEAST_FRAGMENTS if (LEAST_FRAGMENTS - 1) * size >= timed_bytes else PROBE_FRAGMENTS
        return Probe(min(max(least, int(most / (size + HEADER_BYTES))), PROBE_FRAGMENTS), size, bold)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""By how much a host's telemetry says that its worker is slowed down, before a frame has paid for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_MOST_PRESSURE: Final = 0.9
_MOST_FIRST: Final = 0.95
"""Of the cores; what comes first leaves some time to others in the end."""
MOST: Final = 20.0
"""More is not believed of telemetry alone."""


@dataclass(frozen=True)
class HostLoad:
    """What telemetry says of a host; NaN where it says nothing.

    :param cores: how many there are; 0: unknown.
    :param busy_cores: how many are at work, the worker's own included.
    :param own_cores: how many the worker keeps at work itself.
    :param clock_limit_hertz: the highest clock that the cores may take now; below ``clock_max_hertz`` they are throttled.
    :param first_cores: of the busy ones, how many are taken by what comes before the worker and does not share with it.
    :param memory_pressure: share of the time in which some task waited for memory, 0 to 1.
    """

    cores: int = 0
    busy_cores: float = math.nan
    own_cores: float = math.nan
    clock_limit_hertz: float = math.nan
    clock_max_hertz: float = math.nan
    memory_pressure: float = math.nan
    first_cores: float = 0.0


@dataclass(frozen=True)
class Quota:
    """How much CPU time a worker's control group (cgroup) gives it and what runs beside it.

    In each period all of them may use ``cores`` times its seconds; what wants to run beyond is halted until the next one begins.

    :param cores: NaN or not above 0: no quota.
    :param period_seconds: of the quota.
    :param others_cores: how many cores the group's other processes keep busy.
    """

    cores: float = math.nan
    period_seconds: float = math.nan
    others_cores: float = 0.0

    def stretched(self, seconds: float, busy_cores: float, share: float = 0.5) -> float:
        """Return what a run takes on average that would take ``seconds`` without the quota.

        A run within what is left of a period's share is not halted. A longer one is, for the rest of each period whose share it
        uses up. Averaged over where in a period it begins, on a full share, it takes ``seconds * demand / cores`` less one such
        rest, within ``rest ** 2 / (2 * period)``: with ``b`` the part of a period that runs, ``seconds / b - 1`` rests on average.

        :param busy_cores: that the run keeps busy.
        :param share: how much of a period's share is left when the run begins, of 1; -1: none, and a whole rest is to come.
        """
        demand = busy_cores + max(0.0, self.others_cores)
        if not (self.cores > 0 and self.period_seconds > 0 and demand > self.cores):
            return seconds
        rest_seconds = self.period_seconds * (1.0 - self.cores / demand)
        return max(seconds, seconds * demand / self.cores - share * rest_seconds)

    def slowdown(self, seconds: float, busy_cores: float, share: float = 0.5) -> float:
        """Return how many times as long a run takes under the quota, from 1 to :data:`MOST`; see `stretched`."""
        return min(MOST, self.stretched(seconds, busy_cores, share) / seconds) if seconds > 0 else 1.0

    def comparable(self, measured: float, alone: float, busy_cores: float) -> float:
        """Return the part of a measured run that the quota does not explain: ``alone`` if it may explain all that is above that.

        How much of the share is left when a run begins differs from one to the next, and with it what the run takes; that says
        nothing of the device.

        :param measured: seconds that the run took.
        :param alone: what it is believed to take without the quota.
        """
        least, most = (self.stretched(alone, busy_cores, share) for share in (1.0, -1.0))
        return alone * (measured / least if measured < least else measured / most if measured > most else 1.0)


def host_factor(load: HostLoad, threads: int) -> float:
    """Return how many times as long the worker's runs take than on a host that is its own, from 1 to :data:`MOST`.

    Three causes multiply: a clock that is held down; other processes, with which the worker's threads share the cores
    fairly where there are not enough for all (as Linux's scheduler does), but for those that come first: they leave it the
    rest of the time (preemptive priority; Kleinrock, Queueing Systems II, 3.4); and waits for memory. What is unknown counts as
    no cause. The present clock does not count, since that of idle cores is low by itself.
    """
    factor = 1.0
    if 0 < load.clock_limit_hertz < load.clock_max_hertz:
        factor *= load.clock_max_hertz / load.clock_limit_hertz
    first = min(load.first_cores, _MOST_FIRST * load.cores)
    others = max(0.0, load.busy_cores - load.own_cores - first)
    if load.cores > 0 and others + first > 0:
        factor *= max(1.0, (min(threads, load.cores) + others) / (load.cores - first))
    if load.memory_pressure > 0:
        factor /= 1.0 - min(load.memory_pressure, _MOST_PRESSURE)
    return min(factor, MOST)

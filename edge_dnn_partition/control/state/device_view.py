# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler knows of one device: how fast it is now, how fast it may be, what its host leaves it. Time is passed in."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.compute import TELLING, ComputeEstimator
from edge_dnn_partition.sensing.contention import Quota
from edge_dnn_partition.sensing.windowed_max import HeldMax

from .sharing import OthersUse

SEEN_SECONDS: Final = 120.0
"""A link may carry again what it was measured to carry within so long."""
MORE: Final = 1.3
"""A link must have carried so many times its estimate for that to be hoped for."""
GIVEN_CHANCE: Final = 0.25
"""The chance that a link carries what the fleet file says, or a device is as its profile says, where it was not so of late."""
_OTHERS_READINGS: Final = 3


@dataclass
class DeviceView:
    """What is known of one device.

    :param busy_cores: what its worker keeps busy of this machine while it runs a stage.
    """

    busy_cores: float = 1.0
    profile: Profile | None = None
    compute: ComputeEstimator = field(default_factory=ComputeEstimator)
    decode: ComputeEstimator = field(default_factory=ComputeEstimator)
    incarnation: int = 0
    seen_at: float = float('-inf')
    cpu_percent: float = math.nan
    memory_available_bytes: float = math.nan
    memory_total_bytes: float = math.nan
    """What its processes may have of memory together."""
    least_resident_bytes: float = math.inf
    """What its worker has held at least: what it needs besides stages."""
    quota: Quota = field(default_factory=Quota)
    """Of CPU time, that its worker runs under."""
    temperature_celsius: float = math.nan
    own_cores: float = math.nan
    """How many cores the worker keeps busy."""
    others: OthersUse = field(default_factory=OthersUse)
    """What other fleets of the group keep busy of its host."""
    _beside: deque[float] = field(default_factory=lambda: deque(maxlen=_OTHERS_READINGS))
    _speed: HeldMax = field(default_factory=lambda: HeldMax(SEEN_SECONDS))

    def factor(self, now: float) -> float:
        """Return its time now over its profiled time."""
        return self.compute.factor(now) * self.quota_factor

    def hope(self, now: float) -> tuple[float, float] | None:
        """Return how many times as fast as estimated it may be, by what it was lately or by its profile, and the chance."""
        factor = self.compute.factor(now)
        seen = self._speed.add(now, 1 / factor) * factor
        return (seen, 1.0) if seen > MORE else (factor, GIVEN_CHANCE) if factor > MORE else None

    def on_quota(self, quota: Quota, used_cores: float) -> None:
        """Record the quota; what runs beside the worker counts if it stays, and a small change does not.

        The worker's own use and the group's are measured at different times, so that one reading alone may take the former
        for somebody else's.

        :param used_cores: of all that are under the quota; NaN: unknown.
        """
        beside = used_cores - self.own_cores
        if math.isfinite(beside):
            self._beside.append(max(0.0, beside))
        present = replace(quota, others_cores=min(self._beside, default=0.0))
        same = (self.quota.cores, self.quota.period_seconds) == (quota.cores, quota.period_seconds)
        demands = [self.busy_cores + each.others_cores for each in (self.quota, present)]
        if not same or abs(math.log(demands[1] / demands[0])) > TELLING:
            self.quota = present

    def on_stage(self, now: float, measured_seconds: float, profiled_seconds: float) -> None:
        """Record a stage's time, without what the quota explains of it."""
        alone = profiled_seconds * self.compute.idle_factor
        if measured_seconds > 0 and alone > 0:
            measured_seconds = self.quota.comparable(measured_seconds, alone, self.busy_cores)
        self.compute.stage(now, measured_seconds, profiled_seconds)

    def on_overdue(self, now: float, factor: float) -> None:
        """Record that a stage takes longer than its profile says, without what the quota explains of it."""
        self.compute.overdue(now, factor / self._halted(-1.0))

    @property
    def quota_factor(self) -> float:
        """How many times as long any stage is taken to take under the quota: as long as the whole model would.

        A stage that is shorter is halted less; but a plan that has less of it here must not find the device so much faster
        that it is given more again, and a device that runs nothing must not look as if it had no quota.
        """
        return self._halted(0.5)

    def _halted(self, share: float) -> float:
        if self.profile is None or not self.quota.cores > 0:
            return 1.0
        seconds = self.profile.total_seconds + (self.profile.preprocess_seconds or 0.0)
        return self.quota.slowdown(seconds, self.busy_cores, share)

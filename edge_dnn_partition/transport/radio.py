# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a hop takes on the radios of its two ends: the fleet file's radio watts for as long as its bytes are on the air.

Always modelled, as the planner models it; no meter tells a radio's share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from edge_dnn_partition.planning.fleet.fleet import Fleet

from .timing import HopTime


class Radio:
    """The radios of a fleet.

    :param watts: by device, while it sends or receives; those of which nothing is known are not in it.
    :param rates: bytes per second by pair of devices, for hops that say none themselves.
    """

    def __init__(self, watts: Mapping[str, float], rates: Mapping[frozenset[str], float]) -> None:
        self._watts, self._rates = dict(watts), dict(rates)

    @classmethod
    def of_fleet(cls, fleet: Fleet) -> Radio:
        """Return the radios as a fleet file gives them."""
        given = {name: d.power.radio for name, d in fleet.devices.items() if 'radio' in d.power.model_fields_set}
        return cls(given, {frozenset(link.between): link.rate for link in fleet.links})

    def seconds(self, hop: HopTime) -> float:
        """Return how long a hop's bytes were on the air: by the rate that they came at, else by the fleet file's; NaN: unknown."""
        if hop.sender == hop.receiver:
            return 0.0
        if hop.spread_bytes > 0 and hop.spread_seconds > 0:
            return hop.size * hop.spread_seconds / hop.spread_bytes
        rate = self._rates.get(frozenset((hop.sender, hop.receiver)), math.nan)
        return hop.size / rate if rate > 0 else math.nan

    def joules_at(self, hop: HopTime, device: str) -> float:
        """Return what a hop took on one device; NaN if its radio is unknown."""
        if device not in (hop.sender, hop.receiver) or hop.sender == hop.receiver:
            return 0.0
        return self._watts.get(device, math.nan) * self.seconds(hop)

    def joules(self, hop: HopTime) -> float:
        """Return what a hop took on those of its ends whose radio is known; NaN if neither is."""
        if hop.sender == hop.receiver:
            return 0.0
        known = [self._watts[end] for end in (hop.sender, hop.receiver) if end in self._watts]
        return math.fsum(known) * self.seconds(hop) if known else math.nan

    def total(self, hops: Iterable[HopTime]) -> float:
        """Return what several hops took; NaN if one is unknown, or there is none."""
        known = [self.joules(hop) for hop in hops]
        return math.fsum(known) if known else math.nan

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How long a frame's stages and hops took, by each device's own monotonic clock, and what its hops took on the radios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from edge_dnn_partition.planning.fleet.fleet import Fleet


@dataclass(frozen=True)
class StageTime:
    """One stage of one frame; ``cpu_seconds`` leaves emulated slowness out, ``run_seconds`` does not.

    ``joules`` are above idleness, with their standard error; NaN: unknown.
    """

    device: str
    stage: int
    queue_seconds: float
    decode_seconds: float
    run_seconds: float
    cpu_seconds: float
    joules: float = math.nan
    deviation_joules: float = math.nan
    energy_measured: bool = False


@dataclass(frozen=True)
class HopTime:
    """One message; ``spread_*`` is what arrived after its first fragment, and in what time."""

    sender: str
    receiver: str
    from_stage: int
    size: int
    encode_seconds: float
    spread_seconds: float
    spread_bytes: int


_Time = TypeVar('_Time', StageTime, HopTime)


def merged(have: tuple[_Time, ...], new: Iterable[_Time]) -> tuple[_Time, ...]:
    """Return the known timings and those of ``new`` that are not among them; a frame repeats what it has reported before.

    NaN counts as equal to NaN here: else a device that a frame visits twice would double its timings.
    """
    found = {_fields(item): item for item in have}
    for item in new:
        found.setdefault(_fields(item), item)
    return tuple(found.values())


def _fields(item: StageTime | HopTime) -> tuple[object, ...]:
    return tuple(None if isinstance(value, float) and math.isnan(value) else value for value in vars(item).values())


def frame_energy(stages: Iterable[StageTime]) -> tuple[float, float, bool]:
    """Return a frame's joules over its stages, their standard error, and whether all rest on meters.

    A stage that is unknown makes the whole unknown. Errors are added: those of one device's stages go together.
    """
    known = tuple(stages)
    if not known:
        return math.nan, math.nan, False
    return (math.fsum(stage.joules for stage in known), math.fsum(stage.deviation_joules for stage in known),
            all(stage.energy_measured for stage in known))  # fmt: skip


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

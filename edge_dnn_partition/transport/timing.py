# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame tells about its way: seconds by each device's own steady clock."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar


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
    """One message; ``spread_*`` is what came after its first fragment, and in what time."""

    sender: str
    receiver: str
    from_stage: int
    size: int
    encode_seconds: float
    spread_seconds: float
    spread_bytes: int


_Time = TypeVar('_Time', StageTime, HopTime)


def merged(have: tuple[_Time, ...], new: Iterable[_Time]) -> tuple[_Time, ...]:
    """Return what is known with what is new of ``new``: a frame brings along what it has told before.

    What is unknown (NaN) is equal to what is unknown, which it is not to ``==``: else each device that a frame comes by
    again would double what it tells.
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

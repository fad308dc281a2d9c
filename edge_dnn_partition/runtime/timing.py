# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame tells about its way: seconds by each device's own steady clock."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


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
    """One bundle; ``spread_*`` is what came after its first piece, and in what time."""

    sender: str
    receiver: str
    from_stage: int
    size: int
    encode_seconds: float
    spread_seconds: float
    spread_bytes: int


def frame_energy(stages: Iterable[StageTime]) -> tuple[float, float, bool]:
    """Return a frame's joules over its stages, their standard error, and whether all rest on meters.

    A stage that is unknown makes the whole unknown. Errors are added: those of one device's stages go together.
    """
    known = tuple(stages)
    if not known:
        return math.nan, math.nan, False
    return (math.fsum(stage.joules for stage in known), math.fsum(stage.deviation_joules for stage in known),
            all(stage.energy_measured for stage in known))  # fmt: skip

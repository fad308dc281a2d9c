# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame tells about its way: seconds by each device's own steady clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageTime:
    """One stage of one frame; ``cpu_seconds`` leaves emulated slowness out, ``run_seconds`` does not."""

    device: str
    stage: int
    queue_seconds: float
    decode_seconds: float
    run_seconds: float
    cpu_seconds: float


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

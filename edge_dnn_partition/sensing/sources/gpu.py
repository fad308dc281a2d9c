# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a GPU reading holds, whoever it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GpuReading:
    """A GPU's use; NaN: unknown.

    :param name: of the GPU.
    :param percent: of the last interval in which it ran something, 0 to 100.
    :param memory_used_bytes: of its own memory, or on a Jetson of the shared one.
    :param memory_total_bytes: likewise.
    :param celsius: its temperature.
    :param hertz: its clock.
    """

    name: str
    percent: float = math.nan
    memory_used_bytes: float = math.nan
    memory_total_bytes: float = math.nan
    celsius: float = math.nan
    hertz: float = math.nan

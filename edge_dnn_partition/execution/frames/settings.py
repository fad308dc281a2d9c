# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a user may set of the frame source."""

from __future__ import annotations

from dataclasses import dataclass, field

from .repetition import Patience


@dataclass(frozen=True)
class Settings:
    """What a frame source's user may set at any time; see its parameters of the same names.

    :param max_in_flight: 0: as many as the plan can use.
    :param max_age: seconds; 0: any.
    """

    max_in_flight: int = 0
    max_age: float = 0.0
    hedge: bool = False
    hedge_share: float = 0.5
    patience: Patience = field(default_factory=Patience)

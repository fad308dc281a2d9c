# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""jtop's total as a power meter, on Jetsons whose rails this package does not find."""

from __future__ import annotations

import math
from typing import Final

from edge_dnn_partition.sensing.jtop import Jtop
from edge_dnn_partition.sensing.source import Unavailable

from .ina3221 import find_rails
from .meter import Meter, reading_of
from .reading import PowerIntegral, PowerReading

_STEP_WATTS: Final = 0.04


class JtopMeter(Meter):
    """Asks jtop's service for the board's power.

    :param jtop: the connection, which the GPU's source shares.
    :param root: of sysfs: where it has the rails, jtop would read the same ones.
    """

    name = 'jtop_meter'
    period_seconds = 0.5

    def __init__(self, jtop: Jtop, root: str = '') -> None:
        self._jtop, self._root = jtop, root
        self._total = PowerIntegral()

    def probe(self) -> str:
        """Say that jtop has a total."""
        if find_rails(self._root):
            raise Unavailable('the INA3221 is read without jtop')
        self._jtop.open()
        if not math.isfinite(self._jtop.total_watts()):
            raise Unavailable('jtop has no total power')
        return "jtop's total"

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the board's power."""
        self._total.update(now_seconds, self._jtop.total_watts())
        return (
            reading_of(self._total, 'jtop', 'board', resolution_watts=_STEP_WATTS, resolution_joules=_STEP_WATTS),
        )

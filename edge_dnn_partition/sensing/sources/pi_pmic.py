# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The power management chip of the Raspberry Pi 5, through ``vcgencmd pmic_read_adc``.

It measures the rails that it makes, not what comes in: losses and what hangs on the 5 V directly (USB, HATs)
are not in it. The total is estimated from the sum of the rails by a line that was fitted against a meter
at the plug, so it is good for a bare board; the note says so.
"""

from __future__ import annotations

import math
import re
from typing import Final

from edge_dnn_partition.sensing.files import Run, run_command, text_or_empty
from edge_dnn_partition.sensing.power.reading import Meter, PowerIntegral, PowerReading
from edge_dnn_partition.sensing.source import Unavailable

_COMMAND: Final = ('vcgencmd', 'pmic_read_adc')
_LINE: Final = re.compile(r'^\s*(\S+)_([AV])\s+(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$', re.MULTILINE)

SLOPE: Final = 1.1327
OFFSET_WATTS: Final = 0.6444
"""Plug watts by the sum of the rails: github.com/jfikar/RPi5-power, fitted on a Pi 5 between idle and full load."""

_STEP_WATTS: Final = 0.02
"""A step of the currents' converter (0.98 mA) on a dozen rails of 0.6 to 5 V, added in squares, times the slope."""


def rail_watts(text: str) -> float:
    """Return the sum over the rails that have both a current and a voltage, in watts.

    :raises Unavailable: if there is none.
    """
    values = {(match[1], match[2]): float(match[3]) for match in _LINE.finditer(text)}
    rails = [amperes * values[name, 'V'] for (name, kind), amperes in values.items() if kind == 'A' and (name, 'V') in values]
    if not rails:
        raise Unavailable(f'pmic_read_adc said {" ".join(text.split())[:60]!r}: no rail with current and voltage')
    return math.fsum(rails)


class PiPmicMeter(Meter):
    """Estimates what a Raspberry Pi 5 draws from its rails.

    :param root: of proc, to tell the board.
    :param run: runs ``vcgencmd``.
    """

    name = 'pi_pmic'
    period_seconds = 0.5

    def __init__(self, root: str = '', run: Run = run_command) -> None:
        self._root, self._run = root, run
        self._total = PowerIntegral()

    def probe(self) -> str:
        """Say that the chip answers."""
        model = text_or_empty(f'{self._root}/proc/device-tree/model')
        if not re.search(r'Raspberry Pi (5|500|Compute Module 5)', model):
            raise Unavailable('only a Raspberry Pi 5 measures its own rails')
        try:
            text = self._run(_COMMAND)
        except OSError as error:
            advice = 'sudo apt install libraspberrypi-bin, and add the user to the group video'
            raise Unavailable(f'{" ".join(_COMMAND)}: {error}', advice) from error
        rail_watts(text)
        return f'{model}, total estimated from its rails'

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the board's estimated power."""
        self._total.update(now_seconds, SLOPE * rail_watts(self._run(_COMMAND)) + OFFSET_WATTS)
        note = f'{SLOPE:g} x sum of the rails + {OFFSET_WATTS:g} W; without what hangs on the 5 V (USB, HATs)'
        return (self._total.reading('pi_pmic', 'board', _STEP_WATTS, note=note),)

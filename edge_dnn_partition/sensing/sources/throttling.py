# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the device holds its clocks back, and why: the Raspberry Pi's firmware, Intel's counters, cooling devices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.sensing.files import Run, listing, read_number, read_text, run_command, text_or_empty
from edge_dnn_partition.sensing.source import Source, Unavailable

PI_FLAGS: Final = {
    0: 'under_voltage',
    1: 'frequency_capped',
    2: 'throttled',
    3: 'soft_temperature_limit',
    16: 'under_voltage_since_boot',
    17: 'frequency_capped_since_boot',
    18: 'throttled_since_boot',
    19: 'soft_temperature_limit_since_boot',
}
"""Bits of ``vcgencmd get_throttled``, from Raspberry Pi's documentation of vcgencmd."""

_PI_FILE: Final = '/sys/devices/platform/soc/soc:firmware/get_throttled'
_COMMAND: Final = ('vcgencmd', 'get_throttled')


@dataclass(frozen=True)
class ThrottlingReading:
    """What holds the clocks back now, and on a Raspberry Pi what has since it was started; empty: nothing."""

    flags: tuple[str, ...] = ()


def pi_flags(text: str) -> tuple[str, ...]:
    """Return the flags of ``throttled=0x50005`` or ``50005``.

    :raises Unavailable: if the text is neither.
    """
    match = re.fullmatch(r'(?:throttled=)?(?:0x)?([0-9a-fA-F]+)', text.strip())
    if match is None:
        raise Unavailable(f'get_throttled said {text.strip()[:40]!r}, which is no number')
    bits = int(match[1], 16)
    return tuple(name for bit, name in PI_FLAGS.items() if bits >> bit & 1)


class ThrottlingSource(Source[ThrottlingReading]):
    """Reads the Raspberry Pi's firmware, or Intel's throttle counters, and the cooling devices of the CPU.

    :param root: of sysfs.
    :param run: runs ``vcgencmd`` where the kernel has no file for it.
    """

    name = 'throttling'
    period_seconds = 1.0

    def __init__(self, root: str = '', run: Run = run_command) -> None:
        self._root, self._run = root, run
        self._pi = ''
        self._counters: dict[str, float] = {}
        self._cooling: list[tuple[str, str]] = []

    def probe(self) -> str:
        """Find who tells."""
        found = []
        self._pi = self._find_pi()
        if self._pi:
            found.append('the firmware')
        base = f'{self._root}/sys/devices/system/cpu'
        files = [f'{cpu}/thermal_throttle/package_throttle_count' for cpu in listing(base)]
        self._counters = {path: value for path in files if (value := read_number(path, low=0)) >= 0}
        if self._counters:
            found.append("Intel's thermal counters")
        self._cooling = []
        for device in listing(f'{self._root}/sys/class/thermal'):
            kind = text_or_empty(f'{device}/type')
            if '/cooling_device' in device and ('cpu' in kind.lower() or kind == 'Processor'):
                self._cooling.append((kind, f'{device}/cur_state'))
        if self._cooling:
            found.append(', '.join(dict.fromkeys(kind for kind, _ in self._cooling)))
        if not found:
            raise Unavailable('no firmware, counter or cooling device tells of throttling')
        return ' and '.join(found)

    def read(self, now_seconds: float) -> ThrottlingReading:
        """Return the present flags."""
        flags: list[str] = []
        if self._pi:
            flags += pi_flags(self._run(_COMMAND) if self._pi == _COMMAND[0] else read_text(self._pi))
        counters = {path: read_number(path, low=0) for path in self._counters}
        if any(value > self._counters[path] for path, value in counters.items()):
            flags.append('throttled')
        self._counters = {path: v if v >= 0 else self._counters[path] for path, v in counters.items()}
        if any(read_number(path) > 0 for _, path in self._cooling):
            flags.append('cooling')
        return ThrottlingReading(tuple(dict.fromkeys(flags)))

    def _find_pi(self) -> str:
        """Return the file or command that answers, empty if neither does."""
        path = f'{self._root}{_PI_FILE}'
        if text_or_empty(path):
            return path
        if 'Raspberry Pi' in text_or_empty(f'{self._root}/proc/device-tree/model'):
            try:
                pi_flags(self._run(_COMMAND))
            except (OSError, Unavailable):
                return ''
            return _COMMAND[0]
        return ''

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Quantities with their units, as people write them in YAML: ``40 Mbit/s``, ``2 ms``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from .errors import UserError

_SI: Final = {'': 1.0, 'k': 1e3, 'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}
_BINARY: Final = {'Ki': 2.0**10, 'Mi': 2.0**20, 'Gi': 2.0**30, 'Ti': 2.0**40}

_UNITS: Final[dict[str, dict[str, float]]] = {
    'rate': {f'{p}bit/s': f / 8 for p, f in _SI.items()}
    | {f'{p}bps': f / 8 for p, f in _SI.items()}
    | {f'{p}B/s': f for p, f in (_SI | _BINARY).items()},
    'time': {'s': 1.0, 'ms': 1e-3, 'us': 1e-6, 'min': 60.0},
    'size': {f'{p}B': f for p, f in (_SI | _BINARY).items()},
    'power': {'W': 1.0, 'mW': 1e-3, 'kW': 1e3},
}
_NUMBER: Final = re.compile(r'^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*$')


def is_number(value: object) -> bool:
    """Return whether a value is a number without a unit, as such or as text."""
    if isinstance(value, str):
        match = _NUMBER.match(value)
        return match is not None and not match[2]
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def units_of(kind: str) -> list[str]:
    """Return some units of a kind of quantity, the smallest first; see `parse`."""
    units = _UNITS[kind]
    return sorted(units, key=units.__getitem__)[:6]


def shortened(value: object, most: int = 60) -> str:
    """Return a value as text of at most so many characters, for an error."""
    text = str(value)
    return text if len(text) <= most else f'{text[: most - 1]}…'


def parse(kind: str, value: str | float, *, what: str = 'value') -> float:
    """Return ``value`` in the base unit of ``kind``.

    :param kind: ``rate`` (bytes per second), ``time`` (seconds), ``size`` (bytes)
        or ``power`` (watts).
    :param value: a number that is in the base unit already, or text with a unit.
    :param what: the name that an error gives to the value.
    :raises UserError: if the text is no number with a unit of that kind, or negative.
    """
    units = _UNITS[kind]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number, factor = _as_float(value), 1.0
    else:
        match = _NUMBER.match(str(value))
        if match is None or (match[2] and match[2] not in units):
            meant = f'did you mean {match[1]} {unit}?' if match is not None and (unit := _meant(match[2], units)) else ''
            advice = meant or f'write a number and a unit ({", ".join(units_of(kind))}, …)'
            raise UserError(f'{what}: {shortened(repr(value))} is not a {kind}; {advice}')
        number, factor = float(match[1]), units[match[2]] if match[2] else 1.0
    if not 0 <= number * factor < math.inf:
        raise UserError(f'{what}: {shortened(repr(value))} must be finite and not negative')
    return number * factor


def _meant(written: str, units: Mapping[str, float]) -> str:
    """Return the unit of another spelling, such as ``Mbit``, ``mb/s``, ``4G`` or ``msec``; empty if it is not plain which."""
    plain = written.casefold()
    if plain == 'm' or (plain == 'mb/s' and written != 'Mb/s'):  # milli or mega or minutes; bits or bytes
        return ''
    if written.endswith('b/s'):
        plain = f'{plain[:-3]}bit/s'
    known = {unit.casefold(): unit for unit in sorted(units, key=len)}
    for spelling in (plain, f'{plain}/s', f'{plain}b', plain.removesuffix('ec'), plain.removesuffix('ond').removesuffix('ec')):
        if spelling in known:
            return known[spelling]
    return ''


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def format_bytes(count: float) -> str:
    """Return ``count`` bytes for people, as in ``98.3 kB``."""
    for prefix, factor in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if count >= factor:
            return f'{count / factor:.1f} {prefix}B'
    return f'{count:.0f} B'


def format_rate(bytes_per_second: float) -> str:
    """Return a rate for people, as in ``18.9 Mbit/s``."""
    bits = bytes_per_second * 8
    for prefix, factor in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if bits >= factor:
            return f'{bits / factor:.3g} {prefix}bit/s'
    return f'{bits:.0f} bit/s'

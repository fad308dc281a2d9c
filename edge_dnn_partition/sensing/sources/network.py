# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Signal and bit rate of Wi-Fi interfaces, as the kernel's wireless extensions tell them."""

from __future__ import annotations

import fcntl
import math
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge_dnn_partition.sensing.files import listing, number, read_number, read_text
from edge_dnn_partition.sensing.source import Source, Unavailable

BitRate = Callable[[str], float]
"""Bits per second of the interface of that name, NaN if it does not tell."""

_SIOCGIWRATE: Final = 0x8B21
_REQUEST: Final = struct.Struct('16siBBH16x')  # struct iwreq: the name, then struct iw_param in a union


def parse_signals(text: str) -> dict[str, float]:
    """Return the signal in dBm by interface, from the text of ``/proc/net/wireless``.

    Its third number is the level; drivers that count from 0 to 255 mean 256 more than dBm.
    """
    signals = {}
    for line in text.splitlines()[2:]:
        name, separator, values = line.partition(':')
        words = values.split()
        if not separator or len(words) < 3:
            continue
        level = number(words[2].rstrip('.'))
        if level > 0:
            level -= 256
        signals[name.strip()] = level if -150 <= level < 0 else math.nan
    return signals


def read_signals(root: str = '') -> dict[str, float]:
    """Return the signal in dBm of each Wi-Fi interface; empty without one.

    :param root: of proc.
    """
    try:
        return parse_signals(read_text(f'{root}/proc/net/wireless'))
    except OSError:
        return {}


def ask_bit_rate(interface: str) -> float:
    """Return the bit rate in bits per second at which a Wi-Fi interface sent last, NaN if it does not tell."""
    request = _REQUEST.pack(interface.encode()[:15], 0, 0, 0, 0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            answer = fcntl.ioctl(handle, _SIOCGIWRATE, request)
    except OSError:
        return math.nan
    rate = _REQUEST.unpack(answer)[1]
    return float(rate) if rate > 0 else math.nan


_LINK_SECONDS: Final = 1.0
"""Link rates and signals are read this often at most: a driver takes its locks for them."""

_WRAP: Final = 2**32
_LARGEST_RATE: Final = 1.25e8
"""Bytes per second that an interface of unknown rate is believed to carry when a counter went back."""


@dataclass(frozen=True)
class Interface:
    """A network interface since the reading before; NaN: unknown.

    :param name: such as ``eth0``.
    :param sent_bytes_per_second: NaN in the first reading.
    :param received_bytes_per_second: likewise.
    :param drops_per_second: packets that it dropped in either direction.
    :param link_bytes_per_second: what the link is set to carry: Ethernet's speed, Wi-Fi's last bit rate.
    :param signal_dbm: how strong Wi-Fi's access point is heard; NaN for any other.
    """

    name: str
    sent_bytes_per_second: float = math.nan
    received_bytes_per_second: float = math.nan
    drops_per_second: float = math.nan
    link_bytes_per_second: float = math.nan
    signal_dbm: float = math.nan


class Counters(NamedTuple):
    """An interface's counters, which only rise until they wrap or the interface is made anew."""

    sent_bytes: int
    received_bytes: int
    drops: int


def parse_counters(text: str) -> dict[str, Counters]:
    """Return the counters by interface from the text of ``/proc/net/dev``; a line that is nonsense is left out."""
    found = {}
    for line in text.splitlines()[2:]:
        name, separator, rest = line.rpartition(':')
        try:
            values = [int(word) for word in rest.split()]
        except ValueError:
            continue
        if separator and len(values) >= 16:
            found[name.strip()] = Counters(values[8], values[0], values[3] + values[11])
    return found


def counter_rate(before: int, after: int, seconds: float, largest: float = _LARGEST_RATE) -> float:
    """Return a counter's rate per second, NaN if it cannot be told.

    A counter that went back has 32 bits and has wrapped around, if the rate that follows is one that the
    link can carry; else the interface was made anew.
    """
    if not seconds > 0:
        return math.nan
    if after >= before:
        return (after - before) / seconds
    rate = (after + _WRAP - before) / seconds
    return rate if before < _WRAP and rate <= largest else math.nan


class NetworkSource(Source[tuple[Interface, ...]]):
    """Reads ``/proc/net/dev``, ``/proc/net/wireless`` and ``/sys/class/net/*/speed``.

    :param root: of proc and sysfs.
    :param bit_rate: asks the driver of a Wi-Fi interface.
    """

    name = 'network'

    def __init__(self, root: str = '', bit_rate: BitRate = ask_bit_rate) -> None:
        self._root, self._bit_rate = root, bit_rate
        self._before: tuple[float, Mapping[str, Counters]] = (math.nan, {})
        self._links: dict[str, tuple[float, float]] = {}
        self._links_at = -math.inf

    def probe(self) -> str:
        """Name the interfaces."""
        self._before = (math.nan, {})
        self._links_at = -math.inf
        names = parse_counters(read_text(f'{self._root}/proc/net/dev'))
        if not names:
            raise Unavailable('/proc/net/dev names no interface')
        wireless = read_signals(self._root)
        return ', '.join(f'{name} (Wi-Fi)' if name in wireless else name for name in names)

    def read(self, now_seconds: float) -> tuple[Interface, ...]:
        """Return all present interfaces by name; rates of one that is new are unknown."""
        then, before = self._before
        after = parse_counters(read_text(f'{self._root}/proc/net/dev'))
        self._before = (now_seconds, after)
        if now_seconds - self._links_at >= _LINK_SECONDS:
            self._links, self._links_at = self._read_links(), now_seconds
        seconds = now_seconds - then
        return tuple(self._interface(name, before.get(name), after[name], seconds) for name in sorted(after))

    def _interface(self, name: str, before: Counters | None, after: Counters, seconds: float) -> Interface:
        link, signal = self._links.get(name, (math.nan, math.nan))
        if before is None:
            return Interface(name, link_bytes_per_second=link, signal_dbm=signal)
        largest = 1.1 * link if math.isfinite(link) else _LARGEST_RATE
        return Interface(
            name,
            counter_rate(before.sent_bytes, after.sent_bytes, seconds, largest),
            counter_rate(before.received_bytes, after.received_bytes, seconds, largest),
            counter_rate(before.drops, after.drops, seconds, 1e6),
            link,
            signal,
        )

    def _read_links(self) -> dict[str, tuple[float, float]]:
        """Return link rate (bytes per second) and signal (dBm) by interface."""
        signals = read_signals(self._root)
        links = {}
        for folder in listing(f'{self._root}/sys/class/net'):
            name = folder.rpartition('/')[2]
            if name in signals:
                links[name] = (self._bit_rate(name) / 8, signals[name])
            elif name != 'lo':
                links[name] = (read_number(f'{folder}/speed', scale=1e6 / 8, low=1), math.nan)  # -1: not known
        return links

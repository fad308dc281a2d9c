# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Signal and bit rate of Wi-Fi interfaces, as the kernel's wireless extensions tell them."""

from __future__ import annotations

import fcntl
import math
import socket
import struct
from collections.abc import Callable
from typing import Final

from edge_dnn_partition.sensing.files import number, read_text

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

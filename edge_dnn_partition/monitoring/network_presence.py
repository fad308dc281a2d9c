# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Who is on the network: DDS participants in every ROS domain, by what they announce by multicast, and the devices of a fleet.

Machines in different domains do not discover each other, and so cannot tell why. But the port that announcements go to
follows from the domain (OMG DDSI-RTPS 2.5, 9.6.2.3), and the first bytes of each say whose DDS it is.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

_GROUP: Final = '239.255.0.1'
_FIRST_PORT: Final = 7400
_PORTS_EACH: Final = 250
_VENDORS: Final = {b'\x01\x01': 'Connext', b'\x01\x03': 'OpenDDS', b'\x01\x0f': 'Fast DDS', b'\x01\x10': 'Cyclone DDS'}
SAFE_DOMAINS: Final = range(102)
"""Those that Linux leaves free of the ports that it gives to clients."""
CLOCK_SECONDS: Final = 0.1
"""A clock that is so much ahead is reported: messages cannot arrive before they were sent."""
DELAY_SECONDS: Final = 0.5
"""Messages that arrive so late are delayed, or from a clock that is behind: one side alone cannot distinguish these."""


@dataclass(frozen=True, order=True)
class Presence:
    """Somebody on the network: an IPv4 address, the ROS domain, and whose DDS it is."""

    domain: int
    address: str
    middleware: str


def middleware_of(vendor: bytes) -> str:
    """Return whose DDS it is by the two bytes that begin a participant's GUID and that its packets carry."""
    return _VENDORS.get(vendor, f'DDS of vendor {vendor.hex()}')


def port_of(domain: int) -> int:
    """Return the UDP port that participants of a domain announce themselves at."""
    return _FIRST_PORT + _PORTS_EACH * domain


def listen(seconds: float, *, domains: Iterable[int] = SAFE_DOMAINS, interfaces: Sequence[str] | None = None) -> list[Presence]:
    """Return who announced himself; Fast DDS does so every three seconds, Cyclone DDS every thirty at most.

    :param domains: to listen for; those whose port cannot be had are left out.
    :param interfaces: IPv4 addresses of this machine; None for all.
    """
    found: set[Presence] = set()
    with contextlib.ExitStack() as stack:
        sockets = {}
        addresses = own_addresses() if interfaces is None else interfaces
        for domain in domains:
            with contextlib.suppress(OSError):
                sockets[stack.enter_context(_socket(port_of(domain), addresses))] = domain
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for ready in select.select(list(sockets), [], [], left)[0]:
                data, (address, *_) = ready.recvfrom(65535)
                if data[:4] == b'RTPS' and len(data) >= 20:
                    found.add(Presence(sockets[ready], address, middleware_of(data[6:8])))
    return sorted(found)


def own_addresses() -> list[str]:
    """Return this machine's IPv4 addresses."""
    import psutil

    return [a.address for addresses in psutil.net_if_addrs().values() for a in addresses if a.family == socket.AF_INET]


def _socket(port: int, addresses: Sequence[str]) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if os.name == 'posix' and hasattr(socket, 'SO_REUSEPORT'):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((_GROUP, port))
        for address in addresses:
            with contextlib.suppress(OSError):  # an interface that is down
                made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(_GROUP) + socket.inet_aton(address))
    except OSError:
        made.close()
        raise
    return made


@dataclass
class DeviceLiveness:
    """What a device's messages show.

    :param nodes: that it runs.
    :param middlewares: whose DDS they use.
    :param models: hashes of the worker's model file.
    :param lateness: seconds from sending, by the sender's clock, to arrival, by this machine's; the least of all messages.
    """

    nodes: set[str] = field(default_factory=set)
    middlewares: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    lateness: float | None = None
    messages: int = 0
    unsealed: int = 0
    """Those without a valid seal, where the fleet has a key."""

    def on_message(self, node: str, sent_ns: int, received_ns: int, model: str = '') -> None:
        """Record a message; the times are in nanoseconds since 1970."""
        self.nodes.add(node)
        self.messages += 1
        if model:
            self.models.add(model)
        if sent_ns and received_ns:
            late = (received_ns - sent_ns) * 1e-9
            self.lateness = late if self.lateness is None else min(self.lateness, late)

    @property
    def clock(self) -> str:
        """What is wrong with its clock, in words; empty if nothing is, or it is not known."""
        if self.lateness is None:
            return ''
        if self.lateness < -CLOCK_SECONDS:
            return f'is {-self.lateness:.2f} s ahead of this machine, or more'
        if self.lateness > DELAY_SECONDS:
            return f'is {self.lateness:.2f} s behind this machine, or its messages take that long (clock or delay)'
        return ''

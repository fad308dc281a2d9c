# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The rate and queue of one direction of a link, and the ``tc`` commands that make the kernel keep to them.

Each receiver has an interface on the router, with an ``htb`` at its root. A class of that htb,
with a ``bfifo`` for its queue, is the link from one sender; a ``u32`` filter on the sender's
address leads to it. Everything else passes unshaped. (``tbf`` knows no senders, and not every
kernel has ``netem``.)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.errors import UserError

#: A full packet as the shaper counts it: an MTU of 1500 and the Ethernet header.
PACKET_BYTES: Final = 1514
#: How late the shaper's timer may wake up before the link falls behind its rate.
TIMER_SECONDS: Final = 0.002
#: How much time of a link one super-packet (segmentation offload) may take.
_SUPER_PACKET_SECONDS: Final = 0.0001
#: Above this many packets in one, nothing gets faster.
MOST_PACKETS_AT_ONCE: Final = 16
_LEAST_BITS_PER_SECOND: Final = 8e3
_MOST_BITS_PER_SECOND: Final = 1e11


@dataclass(frozen=True)
class Shape:
    """One direction of a link.

    Without a delay, what is between two packets is the time that they take, and the queue.

    :param bits_per_second: its rate, headers included: of 1514 bytes, TCP leaves 1448 for the payload.
    :param queue_seconds: the time that a full queue takes to drain; what finds it full is dropped.
        No queue is shorter than two full packets.
    :param delay_seconds: what every packet is late beside that; above 0 it needs the kernel's ``netem``.
    :raises UserError: if the rate is outside 8 kbit/s to 100 Gbit/s, or the queue or the delay is negative or not finite.
    """

    bits_per_second: float
    queue_seconds: float = 0.1
    delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not _LEAST_BITS_PER_SECOND <= self.bits_per_second <= _MOST_BITS_PER_SECOND:
            raise UserError(f'bits_per_second: {self.bits_per_second} must be from 8e3 to 1e11')
        for name in ('queue_seconds', 'delay_seconds'):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f'{name}: {getattr(self, name)} must be finite and not below 0')

    @property
    def queue_bytes(self) -> int:
        """What the queue holds: at least two full packets."""
        return min(max(round(self.bits_per_second / 8 * self.queue_seconds), 2 * PACKET_BYTES), 2**32 - 1)

    @property
    def queue(self) -> str:
        """The queue as ``tc`` makes it: one that counts bytes; with a delay one that counts packets, those on the way too."""
        if self.delay_seconds <= 0:
            return f'bfifo limit {self.queue_bytes}'
        on_the_way = self.bits_per_second / 8 * self.delay_seconds
        packets = math.ceil((self.queue_bytes + on_the_way) / PACKET_BYTES)
        return f'netem delay {round(self.delay_seconds * 1e6)}us limit {packets}'

    @property
    def burst_bytes(self) -> int:
        """What may leave at once after a pause, and another packet, which is paid for later: what the timer may be late for."""
        return math.ceil(self.bits_per_second / 8 * TIMER_SECONDS)

    @property
    def packets_at_once(self) -> int:
        """How many packets a sender may put into one super-packet.

        One on links below 240 Mbit/s: 64 kB at once would overrun a short queue whole. More on
        faster ones, where packet by packet the machine, not the link, would set TCP's rate.
        """
        packets = int(self.bits_per_second / 8 * _SUPER_PACKET_SECONDS / PACKET_BYTES)
        return min(max(packets, 1), MOST_PACKETS_AT_ONCE)


@dataclass(frozen=True)
class Counters:
    """What a shaped link has done since it was first shaped.

    :param sent_bytes: what left the queue, Ethernet headers included.
    :param sent_packets: in how many packets.
    :param dropped_packets: what found the queue full; packets into a cut link are not counted.
    """

    sent_bytes: int
    sent_packets: int
    dropped_packets: int


@dataclass(frozen=True)
class ShapedLink:
    """The commands for the link of one sender, as lines for ``tc -batch``.

    :param interface: the router's interface toward the receiver.
    :param minor: the sender's class there, 1 to 65535.
    :param sender_address: the IPv4 address that the sender's packets carry.
    """

    interface: str
    minor: int
    sender_address: str

    @property
    def _class(self) -> str:
        return f'dev {self.interface} parent 1: classid 1:{self.minor:x}'

    @property
    def _queue(self) -> str:
        return f'dev {self.interface} parent 1:{self.minor:x} handle {self.minor + 0x1000:x}:'

    def add(self, shape: Shape) -> list[str]:
        """Commands that shape an unshaped link."""
        flow = f'flowid 1:{self.minor:x}'
        return [
            f'class add {self._class} {_htb(shape)}',
            f'qdisc add {self._queue} {shape.queue}',
            f'filter add dev {self.interface} parent 1: protocol ip prio 1 u32 match ip src {self.sender_address}/32 {flow}',
        ]

    def change(self, shape: Shape) -> list[str]:
        """Commands that give a shaped link another shape, with a delay if it had one; what is in its queue stays there."""
        return [f'class change {self._class} {_htb(shape)}', f'qdisc change {self._queue} {shape.queue}']

    def flush(self, shape: Shape) -> list[str]:
        """Commands that drop what is in the queue; the class and its counters stay."""
        kind = shape.queue.partition(' ')[0]
        return [f'qdisc del {self._queue} {kind}', f'qdisc add {self._queue} {shape.queue}']

    def counters(self, class_statistics: str) -> Counters:
        """Find this link in the text that ``tc -s class show dev INTERFACE`` printed.

        (Text, because iproute2 prints classes as text even where JSON is asked for.)

        :raises UserError: if it is not there.
        """
        found = re.search(
            rf'^class htb 1:{self.minor:x} .*\n\s*Sent (\d+) bytes (\d+) pkts? \(dropped (\d+),', class_statistics, re.MULTILINE
        )
        if found is None:
            raise UserError(f'tc shows no class 1:{self.minor:x} on {self.interface}; was the namespace changed by hand?')
        return Counters(*map(int, found.groups()))


def root(interface: str) -> str:
    """The command that readies one of the router's interfaces for shaped links: all else passes unshaped."""
    return f'qdisc add dev {interface} root handle 1: htb default 0'


def _htb(shape: Shape) -> str:
    rate = round(shape.bits_per_second)
    burst = shape.burst_bytes
    return f'htb rate {rate}bit ceil {rate}bit burst {burst} cburst {burst} quantum {PACKET_BYTES}'

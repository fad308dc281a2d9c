# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Delay and loss on the hosts of `Namespaces` where the kernel has no netem: ``python hop_delay.py RECEIVER SECONDS`` on a host.

A TUN device takes the packets that leave for the receiver, and a raw socket sends them on when their time has come: so TCP and QUIC
see the round trip themselves. Packets of both TCP and UDP arrive in their order.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from edge_dnn_partition.testbed.namespaces import Namespaces

_TUNSETIFF: Final = 0x400454CA
_TUN_WITHOUT_HEADER: Final = 0x1001
_MARK: Final = 7
_MOST_BYTES: Final = 65536


def delay(network: Namespaces, sender: str, receiver: str, seconds: float) -> None:
    """Delay what one host sends to another from now on; ends with the network.

    :raises RuntimeError: if the machine has no TUN devices.
    """
    command = [sys.executable, __file__, network.address(receiver), str(seconds)]
    process = network.popen(sender, command, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != 'ready\n':
        raise RuntimeError('packets cannot be delayed here: there is no /dev/net/tun')


def lose(network: Namespaces, receiver: str, percent: int) -> None:
    """Lose so many of the packets that arrive at a host; ends with the network.

    :raises RuntimeError: if nftables refuses.
    """
    rules = (
        'table netdev loss { chain arriving { type filter hook ingress device "eth0" priority 0; '
        f'numgen random mod 100 < {percent} drop; }}; }}'
    )
    process = network.popen(receiver, ['nft', rules], stderr=subprocess.PIPE, text=True)
    _, words = process.communicate(timeout=10)
    if process.returncode:
        raise RuntimeError(f'packets cannot be lost here: {words.strip()}')


def _tun(receiver: str) -> int:
    """Return a TUN device that packets to the receiver go to, unless they have the mark."""
    device = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack('16sH', b'slow', _TUN_WITHOUT_HEADER))
    source = _output('ip', '-o', '-4', 'address', 'show', 'dev', 'eth0').split()[3].partition('/')[0]
    gateway = _output('ip', 'route', 'show', 'default').split()[2]
    for command in (
        'link set slow up txqueuelen 10000', f'rule add fwmark {_MARK} table {_MARK}',
        f'route add default via {gateway} dev eth0 table {_MARK}', f'route add {receiver}/32 dev slow src {source}',
    ):  # fmt: skip
        subprocess.run(['ip', *command.split()], check=True)
    return device


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Delay packets until the process is ended."""
    receiver, seconds = sys.argv[1], float(sys.argv[2])
    device = _tun(receiver)
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _MARK)
    waiting: deque[tuple[float, bytes]] = deque()
    look: Any = selectors.DefaultSelector()
    look.register(device, selectors.EVENT_READ)
    print('ready', flush=True)
    while True:
        look.select(max(0.0, waiting[0][0] - time.monotonic()) if waiting else None)
        due = time.monotonic() + seconds
        try:
            while True:
                packet = os.read(device, _MOST_BYTES)
                if packet[0] >> 4 == 4:
                    waiting.append((due, packet))
        except BlockingIOError:
            pass
        while waiting and waiting[0][0] <= time.monotonic():
            out.sendto(waiting.popleft()[1], (receiver, 0))


if __name__ == '__main__':
    sys.exit(main())

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a process says that it is ready and not hung to who started it: systemd's protocol (sd_notify(3)).

systemd speaks it to a unit; ``up`` and the launch files speak it to the nodes (`watchdog`).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

_SIGNS_WITHIN_LIMIT: Final = 5
LONG_SECONDS: Final = 600.0
"""So long may loading a model take, and whatever else is done between two signs of life on purpose."""


class Notifier:
    """Tells the starter, if there is one that listens; costs nothing else, and never fails or waits.

    :param environment: with ``NOTIFY_SOCKET``, and ``WATCHDOG_USEC`` if signs of life are wanted.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        address = given.get('NOTIFY_SOCKET', '')
        self._address = '\0' + address[1:] if address.startswith('@') else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        limit = given.get('WATCHDOG_USEC', '')
        self._limit_seconds = int(limit) / 1e6 if limit.isdecimal() else 0.0
        self._next_at = float('-inf')

    def say(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``."""
        if self._socket is not None:
            with suppress(OSError):  # who started this has gone, or does not keep up
                self._socket.sendto('\n'.join(assignments).encode(), socket.MSG_DONTWAIT, self._address)

    def alive(self, *more: str) -> None:
        """Give a sign of life, with further assignments; may be called often."""
        now = time.monotonic()
        if self._limit_seconds and now >= self._next_at:
            self._next_at = now + self._limit_seconds / _SIGNS_WITHIN_LIMIT
            self.say('WATCHDOG=1', *more)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Within the block no sign of life is to be waited for, but for ten minutes."""
        if self._limit_seconds:
            self.say(f'WATCHDOG_USEC={LONG_SECONDS * 1e6:.0f}', 'WATCHDOG=1')
        try:
            yield
        finally:
            if self._limit_seconds:
                self.say(f'WATCHDOG_USEC={self._limit_seconds * 1e6:.0f}', 'WATCHDOG=1')

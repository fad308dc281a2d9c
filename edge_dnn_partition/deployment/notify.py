# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a process tells its starter that it is ready and alive: systemd's protocol (sd_notify(3)).

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
_PATIENCE_SECONDS: Final = 1.0
LONG_SECONDS: Final = 600.0
"""Limit for work that blocks heartbeats on purpose, such as loading a model."""


class Notifier:
    """Notifies the starter, if one listens; never fails and rarely waits.

    A busy starter may queue as few as ten messages (``net.unix.max_dgram_qlen``): important ones wait for a place, and a
    heartbeat, which may be lost, repeats the present state.

    :param environment: with ``NOTIFY_SOCKET``, and ``WATCHDOG_USEC`` if heartbeats are wanted.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        address = given.get('NOTIFY_SOCKET', '')
        self._address = '\0' + address[1:] if address.startswith('@') else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        limit = given.get('WATCHDOG_USEC', '')
        self._limit_seconds = int(limit) / 1e6 if limit.isdecimal() else 0.0
        self._next_at = float('-inf')
        self._ready: tuple[str, ...] = ()

    def ready(self) -> None:
        """Report that startup has finished."""
        self._ready = ('READY=1',)
        self._send(*self._ready, wait_seconds=_PATIENCE_SECONDS)

    def alive(self, *more: str) -> None:
        """Send a heartbeat, with further assignments such as ``STATUS=…``; may be called often."""
        now = time.monotonic()
        if self._limit_seconds and now >= self._next_at:
            self._next_at = now + self._limit_seconds / _SIGNS_WITHIN_LIMIT
            self._send(*self._ready, _limit(self._limit_seconds), 'WATCHDOG=1', *more)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Extend the limit for heartbeats to ten minutes within the block."""
        if self._limit_seconds:
            self._send(_limit(LONG_SECONDS), 'WATCHDOG=1', wait_seconds=_PATIENCE_SECONDS)
        try:
            yield
        finally:
            if self._limit_seconds:
                self._send(_limit(self._limit_seconds), 'WATCHDOG=1')

    def _send(self, *assignments: str, wait_seconds: float = 0.0) -> None:
        if self._socket is not None:
            with suppress(OSError):  # who started this has gone, or does not keep up
                self._socket.settimeout(wait_seconds)
                self._socket.sendto('\n'.join(assignments).encode(), self._address)


def _limit(seconds: float) -> str:
    return f'WATCHDOG_USEC={seconds * 1e6:.0f}'

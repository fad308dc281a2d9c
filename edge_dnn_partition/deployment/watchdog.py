# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a process tells its starter that it is ready and alive, and how the starter ends one that hangs.

The protocol is systemd's (sd_notify(3)): a node sends (`Notifier`), systemd, ``up`` or a launch file listens (`Watchdog`).
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BEATS_WITHIN_LIMIT: Final = 5
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

    def shared(self, count: int) -> list[Notifier]:
        """Return notifiers for so many parts of this process: it is ready when all are, alive while all are, and busy if one is."""
        return [self] if count == 1 else [_Part(whole, part) for whole in (_Whole(self, count),) for part in range(count)]

    def ready(self) -> None:
        """Report that startup has finished."""
        self._ready = ('READY=1',)
        self._send(*self._ready, wait_seconds=_PATIENCE_SECONDS)

    def alive(self, *more: str) -> None:
        """Send a heartbeat, with further assignments such as ``STATUS=…``; may be called often."""
        now = time.monotonic()
        if self._limit_seconds and now >= self._next_at:
            self._next_at = now + self._limit_seconds / _BEATS_WITHIN_LIMIT
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


class _Whole:
    """What the parts of a process have reported; each has its thread."""

    def __init__(self, notifier: Notifier, count: int) -> None:
        self._notifier, self._count = notifier, count
        self._lock = threading.Lock()
        self._ready: set[int] = set()
        self._alive: set[int] = set()
        self._busy = ExitStack()
        self._working = 0

    def ready(self, part: int) -> None:
        with self._lock:
            self._ready.add(part)
            if len(self._ready) == self._count:
                self._notifier.ready()

    def alive(self, part: int, *more: str) -> None:
        with self._lock:
            self._alive.add(part)
            if len(self._alive) == self._count:
                self._alive.clear()
                self._notifier.alive(*more)

    def work(self, change: int) -> None:
        with self._lock:
            self._working += change
            if change > 0 and self._working == 1:
                self._busy.enter_context(self._notifier.busy())
            elif not self._working:
                self._busy.close()


class _Part(Notifier):
    """One thread's notifier, of a process that has several; see `Notifier.shared`."""

    def __init__(self, whole: _Whole, part: int) -> None:
        super().__init__({})
        self._whole, self._part = whole, part

    def ready(self) -> None:
        self._whole.ready(self._part)

    def alive(self, *more: str) -> None:
        self._whole.alive(self._part, *more)

    @contextmanager
    def busy(self) -> Iterator[None]:
        self._whole.work(1)
        try:
            yield
        finally:
            self._whole.work(-1)


def _limit(seconds: float) -> str:
    return f'WATCHDOG_USEC={seconds * 1e6:.0f}'


HANG_SECONDS: Final = 10.0
"""A process without a heartbeat for this long hangs; it sends five in that time."""
_ABORT_SECONDS: Final = 2.0
"""Time between SIGABRT, which prints where it hangs, and SIGKILL."""
_GAP_SECONDS: Final = HANG_SECONDS / 2
"""After a gap this long the watchdog itself was stopped: its processes are given that time."""
_CREDENTIALS: Final = struct.Struct('3i')


@dataclass
class _Process:
    """What is known of one process, by the steady clock."""

    beat_at: float
    limit_seconds: float = LONG_SECONDS
    ready: bool = False
    aborted_at: float = float('inf')


class Watchdog:
    """Watches processes that have its `environment`; call `look` several times a second.

    :param limit_seconds: how long a process that is ready may be silent.
    :param clock: seconds, steady.
    :param state: returns the state of a process by its number as ps(1) has it; empty if it is gone.
    :param kill: sends a signal to a process.
    """

    def __init__(
        self,
        limit_seconds: float = HANG_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        state: Callable[[int], str] | None = None,
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        self._limit_seconds, self._clock, self._state, self._kill = limit_seconds, clock, state or _state, kill
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        name = f'edge_dnn_partition-{os.getpid()}-{secrets.token_hex(8)}'
        self._socket.bind(f'\0{name}')
        self.environment: Final = {'NOTIFY_SOCKET': f'@{name}', 'WATCHDOG_USEC': f'{limit_seconds * 1e6:.0f}'}
        """What a process needs to be watched."""
        self._processes: dict[int, _Process] = {}
        self._looked_at = clock()

    def started(self, pid: int) -> None:
        """Watch a process from its start; one that sends a heartbeat is watched in any case."""
        self._processes[pid] = _Process(self._clock())

    def ready(self, pid: int) -> bool:
        """Return whether a process has reported that it is ready."""
        return pid in self._processes and self._processes[pid].ready

    def look(self) -> dict[int, str]:
        """Read the heartbeats and end processes that hang; return a line for each, once, by process number."""
        now = self._clock()
        if now - self._looked_at > _GAP_SECONDS:
            for process in self._processes.values():
                process.beat_at += now - self._looked_at
        self._looked_at = now
        self._listen(now)
        hung = {}
        for pid, process in list(self._processes.items()):
            state = self._state(pid)
            if state in ('', 'Z', 'X'):
                del self._processes[pid]
            elif now - process.aborted_at >= _ABORT_SECONDS:
                self._end(pid, signal.SIGKILL)
                process.aborted_at = now
            elif now - process.beat_at >= process.limit_seconds and process.aborted_at == float('inf') and state != 't':
                how = 'is stopped (SIGSTOP)' if state == 'T' else 'hangs'
                hung[pid] = f'{how}: no heartbeat for {now - process.beat_at:.0f} s; ending it'
                process.aborted_at = now
                self._end(pid, signal.SIGABRT)
        return hung

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def _end(self, pid: int, number: int) -> None:
        with suppress(ProcessLookupError):
            self._kill(pid, number)

    def _listen(self, now: float) -> None:
        while True:
            try:
                text, more, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_DONTWAIT)
            except OSError:
                return
            for level, kind, data in more:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self._on_message(_CREDENTIALS.unpack(data)[0], text.decode(errors='replace'), now)

    def _on_message(self, pid: int, text: str, now: float) -> None:
        process = self._processes.setdefault(pid, _Process(now))
        process.beat_at = now
        for line in text.splitlines():
            name, _, value = line.partition('=')
            if name == 'READY':
                process.ready, process.limit_seconds = True, self._limit_seconds
            elif name == 'WATCHDOG_USEC' and process.ready and value.isdecimal():
                process.limit_seconds = int(value) / 1e6


def _state(pid: int) -> str:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except (OSError, IndexError):
        return ''

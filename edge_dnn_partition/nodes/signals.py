# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and SIGHUP ask a process to end; it does so with code 0 within two seconds.

This module imports neither rclpy nor numpy, so that ``install()`` can run before
those are imported: a signal that comes while they load is kept, not lost. The
handlers do nothing; the interpreter's wake-up pipe (`signal.set_wakeup_fd`, written
by the C handler even while Python code cannot run) carries the signal to a thread,
which sets an event. Setting an event within a handler could deadlock on the event's
own lock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from edge_dnn_partition.nodes import deadman

LIMIT_SECONDS: Final = 1.6
"""How long an orderly end may take before the process is ended by force; 2 s are promised."""

DEADMAN_SECONDS: Final = 1.9
"""When the process ends if not even the force could be used, since no Python code can run."""

_SHARED_MEMORY: Final = Path('/dev/shm')  # noqa: S108  where Fast DDS puts its files
_LOCKS: Final = Path('/proc/locks')
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Let the wake-up pipe do the work."""


class StopSignals:
    """Whether this process has been asked to end, and the watchdog that sees to it.

    Make it through `install`, in the main thread.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._begun = False
        self.code = 0
        """The exit code, also of an end by force: 0 unless the node failed before it was asked to end."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._thread = threading.Thread(target=self._watch, name='stop_signals', daemon=True)

    def is_set(self) -> bool:
        """Return whether the process is to end."""
        return self._asked.is_set()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the process is to end; return whether it is."""
        return self._asked.wait(timeout_seconds)

    def ask(self) -> None:
        """Ask the process to end, as a signal would. May be called from any thread."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of requests already
            os.write(self._writer, b'\0')

    def begin(self) -> bool:
        """Say that there is something to take down from now on; return false if the process is to end.

        Until then (while modules are being imported) a signal ends the process at once.
        """
        with self._lock:
            self._begun = not self.is_set()
            return self._begun

    def install(self) -> None:
        """Catch the signals, in the main thread; see the module's `install`."""
        self._thread.start()
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, _ignore)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _watch(self) -> None:
        while True:
            received = os.read(self._reader, 64)
            if any(number == 0 or number in _SIGNALS for number in received):
                break
        deadline = time.monotonic() + LIMIT_SECONDS
        with self._lock:
            self._asked.set()
            if not self._begun:
                os._exit(self.code)
        deadman.exit_after(DEADMAN_SECONDS, self.code)
        # An orderly end takes this thread with it, at the latest when the interpreter is finalised.
        time.sleep(max(0.0, deadline - time.monotonic()))
        end_by_force(self.code)


def end_by_force(code: int = 0) -> NoReturn:
    """End this process at once, leaving no Fast DDS file of its own."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write('edge_dnn_partition: no orderly end, ending by force\n')
    leave(code)


def leave(code: int) -> NoReturn:
    """End this process without taking the interpreter and its libraries apart, which takes some 0.3 s.

    For a process whose work is taken down already; Fast DDS files that it still has are removed.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        remove_shared_memory()
    finally:
        os._exit(code)


def own_shared_memory(folder: Path = _SHARED_MEMORY, locks: Path = _LOCKS) -> list[Path]:
    """Return the Fast DDS files in shared memory that belong to this process.

    A process keeps an exclusive flock on ``<file>_el`` as long as it lives (Fast DDS,
    RobustExclusiveLock); the multicast port is shared by the processes of a domain and so not
    exclusive unless this is the last of them. Data-sharing files (``fast_datasharing*``) do not
    come up: rmw_fastrtps turns data sharing off unless an XML profile asks for it.

    :param folder: where shared memory is, for tests.
    :param locks: the kernel's list of locks, for tests.
    """
    holders: dict[int, set[int]] = {}
    try:
        for line in locks.read_text().splitlines():
            words = line.split()
            if len(words) >= 6 and words[1] == 'FLOCK':
                holders.setdefault(int(words[5].split(':')[2]), set()).add(int(words[4]))
    except (OSError, ValueError, IndexError):
        return []
    own: list[Path] = []
    for lock in folder.glob('fastrtps_*_el'):
        try:
            only_ours = holders.get(lock.stat().st_ino) == {os.getpid()}
        except OSError:
            continue
        if only_ours:
            name = lock.name.removesuffix('_el')
            own += [lock, folder / name, folder / f'sem.{name}_mutex']
    return [path for path in own if path.exists()]


def remove_shared_memory() -> None:
    """Remove what `own_shared_memory` finds; what cannot be removed stays for Fast DDS to clean up."""
    for path in own_shared_memory():
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


_installed: list[StopSignals] = []


def hold() -> None:
    """Hold signals back until `install`: they are kept by the kernel, and through exec, too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def install() -> StopSignals:
    """Install the handlers, once per process; call it in the main thread, before importing rclpy."""
    if not _installed:
        _installed.append(StopSignals())
        _installed[0].install()
    return _installed[0]

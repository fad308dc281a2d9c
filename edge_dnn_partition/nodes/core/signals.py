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
import ctypes
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final, NoReturn

from edge_dnn_partition.transport.shared_memory import remove_leftovers, remove_own

LIMIT_SECONDS: Final = 1.6
"""How long an orderly end may take before the process is ended by force; 2 s are promised."""

DEADMAN_SECONDS: Final = 1.9
"""When the process ends if not even the force could be used, since no Python code can run."""

_SIGEV_THREAD: Final = 2
_CLOCK_MONOTONIC: Final = 1

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
        exit_after(DEADMAN_SECONDS, self.code)  # first: what is asked to end may never let this thread go on
        with self._lock:
            self._asked.set()
            if not self._begun:
                os._exit(self.code)
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
        remove_own()
        remove_leftovers()
    finally:
        os._exit(code)


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


class _Event(ctypes.Structure):
    """``struct sigevent`` of Linux, 64 bytes; ``value`` is the union sigval, of which ``_exit`` takes the int."""

    _fields_ = (
        ('value', ctypes.c_size_t),
        ('signal', ctypes.c_int),
        ('notify', ctypes.c_int),
        ('function', ctypes.c_void_p),
        ('attributes', ctypes.c_void_p),
        ('reserved', ctypes.c_char * 32),
    )


class _Time(ctypes.Structure):
    """``struct itimerspec``: an interval of zero (once), and the time until it goes off."""

    _fields_ = (
        ('interval_seconds', ctypes.c_long),
        ('interval_nanoseconds', ctypes.c_long),
        ('seconds', ctypes.c_long),
        ('nanoseconds', ctypes.c_long),
    )


def exit_after(seconds: float, code: int) -> bool:
    """End this process with ``code`` after a time, even if no Python code can run any more; nothing calls it off.

    A call into a library that holds the interpreter's lock and never returns (rclpy holds it while it publishes and destroys)
    stops every Python thread, a watchdog among them. A POSIX timer that notifies by a thread of the C library's own does not
    need that lock; what it calls is ``_exit`` itself. See timer_create(2) and sigevent(7).

    :param seconds: from now, by the steady clock.
    :param code: the exit code.
    :returns: whether the timer runs; false where the C library has none.
    """
    library = ctypes.CDLL(None)
    try:
        event = _Event(value=code, notify=_SIGEV_THREAD)
        event.function = ctypes.cast(library._exit, ctypes.c_void_p)  # noqa: SLF001  its name in C
        timer = ctypes.c_void_p()
        if library.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) != 0:
            return False
        time = _Time(seconds=int(seconds), nanoseconds=round(seconds % 1 * 1e9))
        return bool(library.timer_settime(timer, 0, ctypes.byref(time), None) == 0)
    except (AttributeError, OSError):
        return False

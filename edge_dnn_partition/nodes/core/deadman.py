# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Ends this process at a given time even if no Python code can run any more.

A call into a library that holds the interpreter's lock and never returns (rclpy holds it
while it publishes and destroys) stops every Python thread, a watchdog among them. A POSIX
timer that notifies by a thread of the C library's own does not need that lock; what it
calls is ``_exit`` itself. See timer_create(2) and sigevent(7).
"""

from __future__ import annotations

import ctypes
from typing import Final

_SIGEV_THREAD: Final = 2
_CLOCK_MONOTONIC: Final = 1


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
    """End this process with ``code`` after a time, whatever it does then; nothing calls it off.

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
        return library.timer_settime(timer, 0, ctypes.byref(time), None) == 0
    except (AttributeError, OSError):
        return False

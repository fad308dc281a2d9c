# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A slower device, played by this machine: each run is followed by a sleep in proportion.

Sleeping ``(f - 1)`` times the CPU time that a run took makes it take ``f`` times as long, run
by run, however short it is. A CPU quota does so only on average: its throttling falls outside
a run of a few milliseconds.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import open_private
from edge_dnn_partition.errors import UserError

#: Less than this no system can sleep.
_LEAST_SLEEP_SECONDS: Final = 1e-6
#: What one sleep may owe to the next; a longer delay came from elsewhere.
_LARGEST_DEBT_SECONDS: Final = 0.005
#: So long the share of a device that others use as well is taken to stay.
_SHARE_SECONDS: Final = 0.002


class Dilation:
    """Sleeps after each run so that it takes ``factor`` times as long.

    The time to pass in is the run's *busy* time (``Engine.last_busy_seconds``): the CPU time
    of the thread where it ran on one thread, so that what other processes took from the
    machine is not multiplied; its wall time where it ran on several, which multiplies the
    disturbance too. Emulated devices should therefore run with one thread. What the run waited
    for a core, since other emulated devices had it, is taken off the sleep: the device that
    is played has its cores for itself.

    ``pause`` is called by the thread that runs; ``factor`` may be set, and ``interrupt``
    called, from any other: both reach a pause under way.

    Where workers of several fleets play one device, each gets its share of the time while they are at work together.

    :param factor: how many times slower the device is; 1 is this machine itself.
    :param other_factor: the same, on top of it, for what is given without its own seconds.
    :param clock: returns seconds, and never goes back.
    :param shared: with whom the device is shared; None: with nobody.
    :raises UserError: if the factor is below 1 or not finite.
    """

    def __init__(
        self, factor: float = 1.0, *, other_factor: float = 1.0, clock: Callable[[], float] = time.perf_counter,
        shared: SharedDevice | None = None,
    ) -> None:  # fmt: skip
        self._factor, self._other_factor = _checked(factor), _checked(other_factor)
        self._clock, self._shared = clock, shared
        self._condition = threading.Condition()
        self._interrupted = False
        self._debt_seconds = 0.0

    @property
    def factor(self) -> float:
        """How many times slower than this machine the device is now."""
        return self._factor

    @factor.setter
    def factor(self, value: float) -> None:
        with self._condition:
            self._factor = _checked(value)
            self._condition.notify_all()

    def at_work(self) -> AbstractContextManager[None]:
        """Return a block in which the device works for this process."""
        return nullcontext() if self._shared is None else self._shared.at_work()

    def _pause_shared(self, shared: SharedDevice, work_seconds: float, taken_seconds: float) -> float:
        """Sleep until the device has done its work at the shares of the time that it gives."""
        start = last = self._clock()
        done = taken_seconds * shared.share()
        with self._condition:
            while not self._interrupted and (left := self._factor * work_seconds - done) > _LEAST_SLEEP_SECONDS:
                share = shared.share()
                self._condition.wait(min(left / share, _SHARE_SECONDS))
                now = self._clock()
                done, last = done + (now - last) * share, now
        return last - start

    def pause(self, busy_seconds: float, taken_seconds: float = 0.0, work_seconds: float | None = None) -> float:
        """Sleep for what the slower device would still be computing.

        A sleep that lasted too long shortens the next one, by 5 ms at most.

        :param busy_seconds: the time that the run took of the machine.
        :param taken_seconds: how long it took, waiting for a core included; less than ``busy_seconds``: as long as that.
        :param work_seconds: what the device that is played takes for it by its own figures, at factor 1; None: in proportion.
        :returns: the seconds slept.
        """
        work = busy_seconds * self._other_factor if work_seconds is None else work_seconds
        if self._shared is not None:
            return self._pause_shared(self._shared, work, max(busy_seconds, taken_seconds))
        start = self._clock()
        taken = max(busy_seconds, taken_seconds)
        with self._condition:
            while not self._interrupted:
                owed = self._factor * work - taken - self._debt_seconds
                left = owed - (self._clock() - start)
                if left <= _LEAST_SLEEP_SECONDS:
                    break
                self._condition.wait(left)
            slept = self._clock() - start
            late = slept - (self._factor * work - taken - self._debt_seconds)
            self._debt_seconds = min(max(late, 0.0), _LARGEST_DEBT_SECONDS) if self._factor * work > busy_seconds else 0.0
        return slept

    def interrupt(self) -> None:
        """End a pause under way and make every later one empty: the process is to end."""
        with self._condition:
            self._interrupted = True
            self._condition.notify_all()


def _checked(factor: float) -> float:
    if not (math.isfinite(factor) and factor >= 1):
        raise UserError(f'slowdown: {factor} must be a finite number of at least 1')
    return float(factor)


_SLOT: Final = struct.Struct('<qd')  # process, weight while at work
_SLOTS: Final = 32


def weight_of(niceness: int) -> float:
    """Return the weight of a process as Linux has it: a step of niceness is a quarter (kernel/sched/core.c)."""
    return float(1.25**-niceness)


def device_file(group: str, host: str) -> Path:
    """Return the file of a host that a group shares, of the fleets that hear each other."""
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    return Path(tempfile.gettempdir()) / f'edge_dnn_partition-{os.getuid()}-{domain}-{group}-{host}'


class SharedDevice:
    """This process's place among those that share a device.

    :param path: the same for all of them.
    :param niceness: of this process on it.
    :raises UserError: if the file cannot be used, or more than 32 processes share it.
    """

    def __init__(self, path: Path, niceness: int = 0) -> None:
        self._weight = weight_of(niceness)
        try:
            with os.fdopen(open_private(path), 'r+b') as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.truncate(_SLOT.size * _SLOTS)
                self._map = mmap.mmap(file.fileno(), _SLOT.size * _SLOTS)
                try:
                    self._place = self._claim()
                finally:
                    fcntl.flock(file, fcntl.LOCK_UN)  # the map keeps the file open
        except (OSError, ValueError) as error:
            raise UserError(f'{path}: the emulated device that fleets share cannot be used ({error})') from error

    def _claim(self) -> int:
        for place in range(_SLOTS):
            process, _ = _SLOT.unpack_from(self._map, place * _SLOT.size)
            if process == 0 or not _lives(process):
                _SLOT.pack_into(self._map, place * _SLOT.size, os.getpid(), 0.0)
                return place
        raise OSError(f'{_SLOTS} processes share it already, the most that it allows')

    def _say(self, weight: float) -> None:
        _SLOT.pack_into(self._map, self._place * _SLOT.size, os.getpid(), weight)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Take part of the device's time within the block."""
        self._say(self._weight)
        try:
            yield
        finally:
            self._say(0.0)

    def share(self) -> float:
        """Return what part of the device's time this process gets now, if it is at work."""
        whole = self._weight
        for place in range(_SLOTS):
            process, weight = _SLOT.unpack_from(self._map, place * _SLOT.size)
            if place != self._place and weight > 0 and _lives(process):
                whole += weight
        return self._weight / whole


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True

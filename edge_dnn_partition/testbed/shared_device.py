# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""One played device that the workers of several fleets share, each in a process of its own.

Its time is divided among those at work as Linux divides a core: by weights, which go with niceness (generalized processor
sharing; Parekh and Gallager 1993). Who is at work stands in a small file that all of them have mapped.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import open_private
from edge_dnn_partition.errors import UserError

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

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Files in shared memory: Fast DDS's own ones of this process, and those that nobody uses any more.

A participant makes a file for each port that it listens at. One that sends to a port whose listener has just gone
makes that file anew and never removes it, so that a fleet that ends leaves a few files behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from pathlib import Path
from typing import Final

FOLDER: Final = Path('/dev/shm')  # noqa: S108  where Fast DDS puts its files
DEAD_SECONDS: Final = 0.2
"""A port's files that are younger may be those of a participant that is just starting."""
_LOCKS: Final = Path('/proc/locks')
_PORT: Final = re.compile(r'fastrtps_port\d+')
_BUFFER_LOCK: Final = re.compile(r'fastrtps_[0-9a-f]{16}_el')


def own_files(folder: Path = FOLDER, locks: Path = _LOCKS) -> list[Path]:
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


own_segments: set[Path] = set()
"""The segments of tensors (`transport.segments`) of this process."""


def remove_own() -> None:
    """Remove this process's files; what cannot be removed stays for others to clean up."""
    for path in (*own_files(), *own_segments):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def dead_ports(folder: Path = FOLDER, *, now: float | None = None) -> list[Path]:
    """Return the files of ports that nobody listens at, as ``fastdds shm clean`` would find them.

    A listener keeps a flock on ``<port>_el`` or ``<port>_sl``; the lock is tried, and not looked up in
    ``/proc/locks``, which does not show the processes of other containers on the same shared memory.

    :param now: seconds since 1970; None for the present time.
    """
    at = time.time() if now is None else now
    found: list[Path] = []
    for port in sorted(path for path in folder.glob('fastrtps_port*') if _PORT.fullmatch(path.name)):
        files = [port, *(folder / f'{port.name}_{end}' for end in ('el', 'sl')), folder / f'sem.{port.name}_mutex']
        there = [path for path in files if path.exists()]
        with contextlib.suppress(OSError):
            old = all(_is_old(path, at) for path in there)
            if old and not any(_is_held(path) for path in there[1:] if path.name.endswith(('_el', '_sl'))):
                found += there
    return found


def dead_segments(folder: Path = FOLDER, *, now: float | None = None) -> list[Path]:
    """Return the segments of tensors (`transport.segments`) whose owner has died."""
    at = time.time() if now is None else now
    found: list[Path] = []
    for path in sorted(folder.glob('edp_segment_*')):
        with contextlib.suppress(OSError):
            if _is_old(path, at) and not _is_held(path):
                found.append(path)
    return found


def dead_buffers(folder: Path = FOLDER, *, now: float | None = None) -> list[Path]:
    """Return the buffers of participants that were killed: 8 MB each with the profiles of `deployment.dds_profile`."""
    at = time.time() if now is None else now
    found: list[Path] = []
    for lock in sorted(path for path in folder.glob('fastrtps_*_el') if _BUFFER_LOCK.fullmatch(path.name)):
        with contextlib.suppress(OSError):
            if _is_old(lock, at) and not _is_held(lock):
                found += [path for path in (lock.with_name(lock.name.removesuffix('_el')), lock) if path.exists()]
    return found


def remove_leftovers(folder: Path = FOLDER) -> None:
    """Remove what `dead_ports`, `dead_buffers` and `dead_segments` find."""
    with contextlib.suppress(OSError):
        for path in (*dead_ports(folder), *dead_buffers(folder), *dead_segments(folder)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _is_old(path: Path, now: float) -> bool:
    """True also of a file of the future: the wall clock was set back since it was made."""
    return abs(now - path.stat().st_ctime) >= DEAD_SECONDS


def open_own(path: Path) -> int:
    """Open a file in shared memory, where everybody may put one; return its descriptor.

    :raises OSError: if it is a link or another user's, who could cut it short while it is read (SIGBUS).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid():
        return descriptor
    os.close(descriptor)
    raise PermissionError(errno.EPERM, "is another user's", str(path))


def _is_held(path: Path) -> bool:
    descriptor = open_own(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

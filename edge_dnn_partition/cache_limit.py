# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How much of the disk the cache takes: what was used longest ago goes first, and nothing that a running process needs.

Prepared models, stages, optimised copies and what was fetched from other devices share one limit; notes on models (profiles,
hashes) are limited in number, since a disk may run out of files as well. Plans and what was learned are there once for each fleet
and stay, as do the zoo's models, which are made only on request and which fleet files name. All that is deleted is made or fetched
again when it is needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_dnn_partition import units
from edge_dnn_partition.cache import places
from edge_dnn_partition.errors import UserError

VARIABLE: Final = 'EDGE_DNN_PARTITION_CACHE_LIMIT'
_DEFAULT_BYTES: Final = 2 * 10**9
_LARGE: Final = ('prepared', 'stages', 'optimised', 'blobs')
_NOTES: Final = ('profiles', 'hashes')
_MOST_NOTES: Final = 1000
_FRESH_SECONDS: Final = 300.0
"""What was looked up so lately may be about to be loaded."""
_UNFINISHED_SECONDS: Final = 86400.0
"""After this time what a process was writing is taken for a leftover."""
_MOST_HELD: Final = 256

_held: dict[Path, int] = {}


def limit_bytes() -> int:
    """Return how much large files of the cache may take: ``$EDGE_DNN_PARTITION_CACHE_LIMIT``, such as ``8 GB``; else 2 GB.

    :raises UserError: if the variable is no size.
    """
    given = os.environ.get(VARIABLE)
    return int(units.parse('size', given, what=VARIABLE)) if given else _DEFAULT_BYTES


def hold(folder: Path) -> bool:
    """Mark a prepared model's folder as in use until this process ends; return whether it is still there."""
    with contextlib.suppress(OSError):
        os.utime(folder)  # fails in a cache that may not be written
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return folder.exists()
    with contextlib.suppress(OSError):  # a network's file system without locks: nothing is deleted there either
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    if (before := _held.pop(folder, None)) is not None:
        os.close(before)
    _held[folder] = descriptor
    if len(_held) > _MOST_HELD:
        os.close(_held.pop(next(iter(_held))))
    return folder.exists()


def limit_cache() -> None:
    """Delete what was used longest ago until the cache is within its limit; see `hold` for what stays in any case."""
    try:
        limit = limit_bytes()
    except UserError:  # the doctor says it
        limit = _DEFAULT_BYTES
    for folders in zip(*(places(name) for name in _LARGE), strict=False):
        entries = [entry for folder in folders for entry in _entries(folder)]
        _delete(entries, sum(entry.size for entry in entries) - limit)
    for folder in (place for name in _NOTES for place in places(name)):
        notes = list(_entries(folder))
        _delete([_Entry(note.used, 1, note.paths) for note in notes], len(notes) - _MOST_NOTES)


def used_bytes() -> int:
    """Return how much large files of the cache take."""
    return sum(entry.size for name in _LARGE for entry in _entries(places(name)[0]))


@dataclass(frozen=True)
class _Entry:
    """What goes as a whole: a prepared model's folder, or a model's file with its weights beside it."""

    used: float
    size: int
    paths: tuple[Path, ...]

    @property
    def may_go(self) -> bool:
        unfinished = self.paths[0].name.startswith('.') or self.paths[0].parent.name.startswith('.')
        return time.time() - self.used > (_UNFINISHED_SECONDS if unfinished else _FRESH_SECONDS)


def _entries(folder: Path) -> Iterator[_Entry]:
    whole = folder.name == 'prepared'
    found: dict[Path, list[tuple[Path, os.stat_result]]] = {}
    for path in folder.rglob('*'):
        try:
            status = path.stat()
        except OSError:
            continue
        if whole:
            found.setdefault(folder / path.relative_to(folder).parts[0], []).append((path, status))
        elif path.is_file():
            found.setdefault(path.with_suffix('') if path.suffix == '.data' else path, []).append((path, status))
    for entry, files in found.items():
        # A model goes before its weights: without it, what is left is not taken for a whole stage.
        paths = (entry,) if whole else tuple(sorted(path for path, _ in files))
        yield _Entry(max(status.st_mtime for _, status in files), sum(status.st_size for _, status in files), paths)


def _delete(entries: Iterable[_Entry], excess: int) -> None:
    for entry in sorted(entries, key=lambda entry: (entry.used, entry.paths)):
        if excess <= 0:
            return
        if entry.may_go and (_delete_folder(entry) if entry.paths[0].is_dir() else _delete_files(entry)):
            excess -= entry.size


def _delete_files(entry: _Entry) -> bool:
    """Delete a model; who has it open can go on reading it."""
    try:
        for path in entry.paths:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    if entry.paths[0].parent.name not in (*_LARGE, *_NOTES):
        with contextlib.suppress(OSError):  # others are left in it
            entry.paths[0].parent.rmdir()
    return True


def _delete_folder(entry: _Entry) -> bool:
    """Delete a folder unless a process holds it; it is moved away at once, so that no part of it is found."""
    (folder,) = entry.paths
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_mtime > entry.used:  # used meanwhile
            return False
        gone = folder.with_name(f'.old-{os.getpid()}-{folder.name}')
        folder.rename(gone)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(gone, ignore_errors=True)
    return True

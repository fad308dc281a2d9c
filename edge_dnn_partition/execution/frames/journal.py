# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The accepted frames without a result, on disk, so that a frame source that was killed can account for them."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import can_write, cannot_write, write_atomic

from .shadow_run import FIRST_NUMBER

_RECORD: Final = struct.Struct('<cQ')
_ACCEPTED: Final = b'+'
_PUBLISHING: Final = b'~'
_FINISHED: Final = b'-'
_LAST: Final = b'='
_COMPACT_BYTES: Final = 1 << 16
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0


class _Patience:
    """Retries a write that the disk refused, later each time."""

    def __init__(self, folder: Path, without: str, clock: Callable[[], float]) -> None:
        self._folder, self._without, self._clock = folder, without, clock
        self._retry_at, self._wait_seconds = float('-inf'), _FIRST_WAIT_SECONDS

    def write(self, attempt: Callable[[], int]) -> bool:
        """Write something, if it is not too early for that; return whether it was written.

        :param attempt: returns how many bytes that were.
        """
        now = self._clock()
        if now < self._retry_at:
            return False
        try:
            size = attempt()
        except OSError as error:
            self._retry_at = now + self._wait_seconds
            self._wait_seconds = min(_LONGEST_WAIT_SECONDS, 2 * self._wait_seconds)
            cannot_write(self._folder, error, self._without)
            return False
        if self._wait_seconds > _FIRST_WAIT_SECONDS:
            self._wait_seconds = _FIRST_WAIT_SECONDS
            can_write(self._folder, size)
        return True


class Journal:
    """A file to which a record is appended for each frame that is accepted or finished; not thread safe.

    What has been written survives the end of the process, however it comes, not that of the machine (nothing waits for
    the disk). A record that was cut short is left out. Where the disk is full, or may not be written, frames go on without
    (`cache.troubles` says so), and the file is written anew, whole, when it can be.

    :param path: the file; what it holds from before is in ``runs``.
    :param inputs: a folder in which each frame's inputs are kept until it is finished; None keeps none.
    :param clock: seconds, steady.
    """

    def __init__(self, path: Path, inputs: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._inputs = path, inputs
        self._handle: int | None = None
        self._size = 0
        self._records = _Patience(path.parent, 'the frames under way cannot be reported after a kill', clock)
        self._kept = _Patience(inputs or path.parent, 'frames under way cannot be sent again after a kill', clock)
        self.runs, self.last, self._publishing = _read(path)
        """In how many earlier runs each frame was under way that was accepted and has no result, oldest first; the largest number
        of any frame, 0 if there was none: new ones are numbered above it, even if the wall clock was set back meanwhile."""
        self._open: dict[int, int] = {frame_number: runs + 1 for frame_number, runs in self.runs.items()}
        if not self._records.write(self._begin) and _read(path)[0]:  # they would be reported again at each start
            self.runs = {}
            self._open.clear()
            self._publishing.clear()

    @property
    def unfinished(self) -> tuple[int, ...]:
        """Frames of earlier runs that were accepted and have no result, oldest first."""
        return tuple(self.runs)

    def may_be_published(self, frame_number: int) -> bool:
        """Return whether an earlier run was killed while it published a frame's result, which may or may not have gone out."""
        return frame_number in self._publishing

    def accepted(self, frame_number: int, inputs: Callable[[], bytes]) -> None:
        """Note a frame; ``inputs`` returns what is to be kept of it, if anything is kept."""
        self._open[frame_number] = 1
        self.last = max(self.last, frame_number)
        self._records.write(lambda: self._append(_ACCEPTED, frame_number))
        if self._inputs is not None:
            self._kept.write(lambda: self._keep(frame_number, inputs()))

    def publishing(self, frame_number: int) -> None:
        """Note that a frame's result is being published; unknown frames are ignored."""
        if frame_number in self._open and frame_number not in self._publishing:
            self._publishing.add(frame_number)
            self._records.write(lambda: self._append(_PUBLISHING, frame_number))

    def finished(self, frame_number: int) -> None:
        """Note that a frame's result has been published; unknown frames are ignored."""
        if frame_number not in self._open:
            return
        del self._open[frame_number]
        self._publishing.discard(frame_number)
        self._records.write(lambda: self._append(_FINISHED, frame_number))
        if self._inputs is not None:
            with contextlib.suppress(OSError):
                self._file(frame_number).unlink(missing_ok=True)

    def inputs(self, frame_number: int) -> bytes | None:
        """Return what was kept of a frame; None if nothing was."""
        if self._inputs is None:
            return None
        with contextlib.suppress(OSError):
            return self._file(frame_number).read_bytes()
        return None

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _file(self, frame_number: int) -> Path:
        assert self._inputs is not None
        return self._inputs / f'frame_{frame_number}'

    def _keep(self, frame_number: int, content: bytes) -> int:
        assert self._inputs is not None
        self._inputs.mkdir(parents=True, exist_ok=True)
        write_atomic(self._file(frame_number), content)
        return len(content)

    def _append(self, kind: bytes, frame_number: int) -> int:
        if self._handle is None:
            return self._begin()
        record = _RECORD.pack(kind, frame_number)
        try:
            if os.write(self._handle, record) != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self.close()
            return self._begin()
        self._size += len(record)
        if self._size > _COMPACT_BYTES:
            self.close()
            self._begin()
        return len(record)

    def _begin(self) -> int:
        """Write what is under way into a new file and go on with that; return its size."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        under_way = (_RECORD.pack(_ACCEPTED, frame_number) * runs for frame_number, runs in self._open.items())
        publishing = (_RECORD.pack(_PUBLISHING, frame_number) for frame_number in self._open if frame_number in self._publishing)
        content = _RECORD.pack(_LAST, self.last) + b''.join(under_way) + b''.join(publishing)
        try:
            write_atomic(self._path, content)
        except OSError:
            if not self._path.exists():
                raise
            # What ends from now on must not be sent again after a kill; and to empty a file makes room on a full disk.
            os.truncate(self._path, 0)
            write_atomic(self._path, content)
        self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size = len(content)
        return self._size


def _read(path: Path) -> tuple[dict[int, int], int, set[int]]:
    """Return the runs of each frame that has no result, the largest number, and which of those frames' results may be out."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}, 0, set()
    content = content[: len(content) // _RECORD.size * _RECORD.size]
    frames: dict[int, int] = {}
    publishing: set[int] = set()
    last = 0
    for kind, frame_number in _RECORD.iter_unpack(content):
        if frame_number >= FIRST_NUMBER:
            continue  # damaged
        last = max(last, frame_number)
        if kind == _ACCEPTED:
            frames[frame_number] = frames.get(frame_number, 0) + 1
        elif kind == _PUBLISHING:
            publishing.add(frame_number)
        elif kind == _FINISHED:
            frames.pop(frame_number, None)
    return frames, last, publishing & frames.keys()

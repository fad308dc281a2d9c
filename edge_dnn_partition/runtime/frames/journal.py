# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which accepted frames have no result yet, on disk, so that a frame source that was killed can account for them."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import write_atomic

from .shadow_run import FIRST_NUMBER

_RECORD: Final = struct.Struct('<cQ')
_ACCEPTED: Final = b'+'
_FINISHED: Final = b'-'
_LAST: Final = b'='
_COMPACT_BYTES: Final = 1 << 16


class Journal:
    """A file to which a record is appended for each frame that is accepted or finished; not thread safe.

    What has been written survives the end of the process, however it comes, not that of the machine (nothing waits for
    the disk). A record that was cut short is left out.

    :param path: the file; what it holds from before is in ``unfinished``.
    :param pictures: a folder in which each frame's picture is kept until it is finished; None keeps none.
    :raises OSError: if the file cannot be written.
    """

    def __init__(self, path: Path, pictures: Path | None = None) -> None:
        self._path, self._pictures = path, pictures
        self.runs, self.last = _read(path)
        """In how many earlier runs each frame was under way that was accepted and has no result, oldest first; the largest number
        of any frame, 0 if there was none: new ones are numbered above it, even if the wall clock was set back meanwhile."""
        self._open: dict[int, int] = {frame_id: runs + 1 for frame_id, runs in self.runs.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
        self._compact()

    @property
    def unfinished(self) -> tuple[int, ...]:
        """Frames of earlier runs that were accepted and have no result, oldest first."""
        return tuple(self.runs)

    def accepted(self, frame_id: int, picture: Callable[[], bytes]) -> None:
        """Note a frame; ``picture`` returns what is to be kept of it, if anything is kept."""
        if self._pictures is not None:
            write_atomic(self._file(frame_id), picture())
        self._open[frame_id] = 1
        self.last = max(self.last, frame_id)
        self._append(_ACCEPTED, frame_id)

    def finished(self, frame_id: int) -> None:
        """Note that a frame has had its result; unknown frames are fine."""
        if frame_id not in self._open:
            return
        del self._open[frame_id]
        self._append(_FINISHED, frame_id)
        if self._pictures is not None:
            self._file(frame_id).unlink(missing_ok=True)

    def picture(self, frame_id: int) -> bytes | None:
        """Return what was kept of a frame; None if nothing was."""
        if self._pictures is None:
            return None
        with contextlib.suppress(OSError):
            return self._file(frame_id).read_bytes()
        return None

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def _file(self, frame_id: int) -> Path:
        assert self._pictures is not None
        return self._pictures / f'frame_{frame_id}'

    def _append(self, kind: bytes, frame_id: int) -> None:
        self._size += os.write(self._handle, _RECORD.pack(kind, frame_id))
        if self._size > _COMPACT_BYTES:
            os.close(self._handle)
            self._compact()

    def _compact(self) -> None:
        under_way = (_RECORD.pack(_ACCEPTED, frame_id) * runs for frame_id, runs in self._open.items())
        write_atomic(self._path, _RECORD.pack(_LAST, self.last) + b''.join(under_way))
        self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._size = self._path.stat().st_size


def _read(path: Path) -> tuple[dict[int, int], int]:
    try:
        content = path.read_bytes()
    except OSError:
        return {}, 0
    content = content[: len(content) // _RECORD.size * _RECORD.size]
    frames: dict[int, int] = {}
    last = 0
    for kind, frame_id in _RECORD.iter_unpack(content):
        if frame_id >= FIRST_NUMBER:
            continue  # damaged
        last = max(last, frame_id)
        if kind == _ACCEPTED:
            frames[frame_id] = frames.get(frame_id, 0) + 1
        elif kind == _FINISHED:
            frames.pop(frame_id, None)
    return frames, last

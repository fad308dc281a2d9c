# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages between processes of one device: the tensors lie in shared memory, and only their name travels.

The sender copies a message into a segment once; the receiver's tensors are views of it. A segment's first byte says
whether it is in use: the sender sets it, and the receiver clears it when the last view is gone. So a segment is returned
without a message, and none can be lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import mmap
import os
import re
import secrets
import struct
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.errors import WireError

from .shared_memory import FOLDER, open_own, own_segments

HEADER_BYTES: Final = 64
LEAST_BYTES: Final = 16_000
"""A smaller message is as quick in a fragment."""
_NAME: Final = re.compile(r'edp_segment_[0-9a-z_]{1,60}')
MessageName = tuple[int, int]
"""The sender's incarnation, and the message's number."""
NO_MESSAGE: Final = (0, 0)
_MESSAGE: Final = struct.Struct('<QI')
_MESSAGE_AT: Final = 8
_FREE: Final = 0
_IN_USE: Final = 1
_KEPT: Final = 32


class Segment:
    """One segment of shared memory, on the sender's side.

    :param path: where its file is to be.
    :param capacity: bytes that fit behind its header.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        self.path, self.capacity = path, capacity
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        own_segments.add(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as long as the owner lives
            os.posix_fallocate(self._file, 0, HEADER_BYTES + capacity)  # an error here, and not SIGBUS later
            self._map = mmap.mmap(self._file, HEADER_BYTES + capacity)
        except OSError:
            self.remove()
            raise

    @property
    def name(self) -> str:
        """What a receiver opens it by."""
        return self.path.name

    @property
    def free(self) -> bool:
        """True if nobody reads it."""
        return self._map[0] == _FREE

    def fill(self, size: int, message: MessageName = NO_MESSAGE) -> memoryview:
        """Mark it as in use, by a message, and return its first ``size`` bytes, to be written."""
        _MESSAGE.pack_into(self._map, _MESSAGE_AT, *message)
        self._map[0] = _IN_USE
        return memoryview(self._map)[HEADER_BYTES : HEADER_BYTES + size]

    def remove(self) -> None:
        """Remove its file; who has it open keeps what is in it."""
        own_segments.discard(self.path)
        with contextlib.suppress(OSError):
            self.path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._file)


class SegmentPool:
    """The segments that one process fills for one receiver.

    :param max_bytes: of all of them together.
    """

    def __init__(self, folder: Path = FOLDER, *, max_bytes: int = 256 << 20) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._names = (f'edp_segment_{os.getpid()}_{secrets.token_hex(4)}_{n}' for n in itertools.count())
        self._segments: list[Segment] = []

    def take(self, size: int) -> Segment | None:
        """Return a free segment for ``size`` bytes, or None: it must travel in fragments."""
        fitting = [s for s in self._segments if s.free and size <= s.capacity <= max(4 * size, 1 << 20)]
        if fitting:
            return min(fitting, key=lambda s: s.capacity)
        capacity = max(1 << 16, 1 << (size - 1).bit_length())
        for spare in [s for s in self._segments if s.free]:
            if self._held() + capacity <= self._max_bytes:
                break
            self._segments.remove(spare)
            spare.remove()
        if self._held() + capacity > self._max_bytes:
            return None
        try:
            segment = Segment(self._folder / next(self._names), capacity)
        except OSError:
            return None  # no room in shared memory, or no shared memory
        self._segments.append(segment)
        return segment

    def clear(self) -> None:
        """Remove all: the receiver has died, or this process ends."""
        segments, self._segments = self._segments, []
        for segment in segments:
            segment.remove()

    def _held(self) -> int:
        return sum(segment.capacity for segment in self._segments)


class SegmentReader:
    """Opens the segments that other processes name. Keeps the last few mapped."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._maps: OrderedDict[str, mmap.mmap] = OrderedDict()

    def open(self, name: str, size: int, message: MessageName = NO_MESSAGE) -> Any | None:
        """Return a segment's first ``size`` bytes as a buffer; None if it is not to be found here.

        The segment counts as in use until the buffer and all views of it are gone.

        :raises WireError: if the name or the size cannot be, or another message lies there: to give it back would spoil that one.
        """
        if not _NAME.fullmatch(name):
            raise WireError(f'{name[:80]!r} is not a name of a shared-memory segment')
        mapped = self._maps.get(name)
        if mapped is None:
            mapped = self._map(name)
            if mapped is None:
                return None
            self._maps[name] = mapped
        self._maps.move_to_end(name)
        while len(self._maps) > _KEPT:
            self._maps.popitem(last=False)
        if size < 1 or HEADER_BYTES + size > len(mapped):
            raise WireError(f'the segment {name} holds {len(mapped) - HEADER_BYTES} bytes, not {size}')
        if _MESSAGE.unpack_from(mapped, _MESSAGE_AT) != message:
            raise WireError(f'the segment {name} holds another message')
        buffer = (ctypes.c_ubyte * size).from_buffer(mapped, HEADER_BYTES)
        weakref.finalize(buffer, _giver(mapped))
        return buffer

    def _map(self, name: str) -> mmap.mmap | None:
        try:
            descriptor = open_own(self._folder / name)
        except OSError:
            return None
        try:
            return mmap.mmap(descriptor, 0)
        except (OSError, ValueError):
            return None
        finally:
            os.close(descriptor)


def _giver(mapped: mmap.mmap) -> Callable[[], None]:
    def give_back() -> None:
        mapped[0] = _FREE

    return give_back

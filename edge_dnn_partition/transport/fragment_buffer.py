# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A message's buffer: a large one takes memory as its fragments come, whatever total they claim."""

from __future__ import annotations

import contextlib
import mmap
from typing import Final

import numpy as np

_PAGE_BYTES: Final = 4096
_MAPPED_FROM: Final = 1 << 22
"""Larger buffers come from the system each, and go back to it; smaller ones from what the process has, which costs less."""


class FragmentBuffer:
    """``data`` holds what was written, and anything elsewhere: it is to be read when all of it was.

    A small one counts in full from the start, since what a process has set aside stays with it; a large one as it is written.

    :param size: in bytes.
    """

    def __init__(self, size: int) -> None:
        self._mapped = size >= _MAPPED_FROM
        self.data = _mapped(size) if self._mapped else np.empty(size, np.uint8).data
        self.held_bytes = 0 if self._mapped else size

    def write(self, offset: int, data: memoryview | bytes) -> int:
        """Write a fragment that was not there; return how many bytes more are held."""
        size = len(data)
        self.data[offset : offset + size] = data
        if not self._mapped:
            return 0
        held = max(size, _PAGE_BYTES)
        self.held_bytes += held
        return held


def _mapped(size: int) -> memoryview:
    mapped = mmap.mmap(-1, size)  # not in large pages, of which one fragment would take a whole one
    if hasattr(mmap, 'MADV_NOHUGEPAGE'):
        with contextlib.suppress(OSError):  # a kernel without them
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
    return memoryview(mapped)

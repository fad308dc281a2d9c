# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle's buffer, which takes memory as its pieces come, whatever total they claim."""

from __future__ import annotations

import contextlib
import mmap
from typing import Final

import numpy as np

_PAGE_BYTES: Final = 4096
_LARGE_PAGE_BYTES: Final = 1 << 21
_LARGE_PAGES_FROM: Final = 1 << 22
"""numpy asks for large pages from here on."""
_MAPPED_FROM: Final = 1 << 25
"""Larger buffers come from the system each, in small pages; smaller ones from what the process has, which costs less."""


class PieceBuffer:
    """``data`` holds what was written, and anything elsewhere: it is to be read when all of it was.

    :param size: in bytes.
    """

    def __init__(self, size: int) -> None:
        self.data = np.empty(size, np.uint8).data if size < _MAPPED_FROM else _mapped(size)
        self.held_bytes = 0
        """What the system has set aside for it, about: whole pages."""
        self._large_pages: set[int] | None = set() if _LARGE_PAGES_FROM <= size < _MAPPED_FROM else None
        self._least = min(_PAGE_BYTES, size)

    def write(self, offset: int, data: memoryview | bytes) -> int:
        """Write a piece that was not there; return how many bytes more are held."""
        size = len(data)
        self.data[offset : offset + size] = data
        pages = self._large_pages
        if pages is None:
            held = max(size, self._least)
        else:
            before = len(pages)
            pages.update(range(offset // _LARGE_PAGE_BYTES, (offset + size) // _LARGE_PAGE_BYTES + 1))
            held = (len(pages) - before) * _LARGE_PAGE_BYTES
        self.held_bytes += held
        return held


def _mapped(size: int) -> memoryview:
    mapped = mmap.mmap(-1, size)
    if hasattr(mmap, 'MADV_NOHUGEPAGE'):
        with contextlib.suppress(OSError):  # a kernel without them
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
    return memoryview(mapped)

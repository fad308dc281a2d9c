# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a process holds in memory: its peak, and whether given bytes are in it (Linux; other users' processes need root)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1 << 24


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident since it began, or since `forget_peak`."""
    for line in Path(f'/proc/{pid}/status').read_text(encoding='utf-8').splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) * 1024
    raise OSError(f'process {pid} has no memory')


def forget_peak(pid: int) -> None:
    """Let the peak begin again at what is resident now."""
    Path(f'/proc/{pid}/clear_refs').write_text('5', encoding='ascii')


def found(pid: int, wanted: Mapping[str, bytes]) -> set[str]:
    """Return the names of the byte strings that are somewhere in a process's memory, files that it has mapped included.

    :param wanted: short strings by name; of such as come nowhere by chance.
    """
    left = dict(wanted)
    overlap = max(map(len, wanted.values()), default=1) - 1
    maps = Path(f'/proc/{pid}/maps').read_text(encoding='utf-8').splitlines()
    with Path(f'/proc/{pid}/mem').open('rb', buffering=0) as memory:
        for line in maps:
            span, permissions, *rest = line.split(maxsplit=5)
            if 'r' not in permissions or (rest and rest[-1].startswith(('[v', '/dev/'))):
                continue
            start, stop = (int(end, 16) for end in span.split('-'))
            with contextlib.suppress(OSError, ValueError, OverflowError):  # a region that has gone, or cannot be read
                for at in range(start, stop, _CHUNK_BYTES):
                    memory.seek(at)
                    content = memory.read(min(_CHUNK_BYTES + overlap, stop - at))
                    left = {name: text for name, text in left.items() if text not in content}
    return set(wanted) - set(left)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A file whose age says whether a fleet's processes are well, for who cannot hear `sd_notify(3)`: a container's health check."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from edge_dnn_partition.errors import UserError

SECONDS: Final = 5.0


class Beacon:
    """Writes its file anew every five seconds while it is told that all is well.

    :param path: a file of an earlier process is removed: it said nothing of this one.
    :raises UserError: if the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._next_at = float('-inf')
        try:
            self._path.write_text('starting\n', encoding='utf-8')
            self._path.unlink()
        except OSError as error:
            raise UserError(f'--health-file {path}: {error.strerror}') from error

    def alive(self, now: float, status: str) -> None:
        """All is well; may be called often."""
        if now >= self._next_at:
            self._next_at = now + SECONDS
            with suppress(OSError):  # a full disk: the file then says what is so, that something is wrong
                self._path.write_text(status + '\n', encoding='utf-8')

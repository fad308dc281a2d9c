# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The one way from the command line to a terminal: names in files and messages cannot steer it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

from edge_dnn_partition.text import printable


class PrintableStream:
    """A text stream that writes control characters out, and what its encoding lacks as well."""

    def __init__(self, stream: IO[str]) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        """Write a text; return the number of its characters."""
        encoding = getattr(self.raw, 'encoding', None) or 'utf-8'
        self.raw.write(printable(text).encode(encoding, 'backslashreplace').decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after another."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw(stream: IO[str]) -> IO[str]:
    """Return the stream behind a `PrintableStream`, for colours of our own."""
    return stream.raw if isinstance(stream, PrintableStream) else stream


@contextlib.contextmanager
def printable_streams() -> Iterator[None]:
    """Let all that is written to stdout and stderr meanwhile go through a `PrintableStream`."""
    out: Any = PrintableStream(sys.stdout)
    err: Any = PrintableStream(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield

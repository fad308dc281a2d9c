# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tables and progress bars in the terminal, in rich's colours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 (here it is tamed)
from rich.segment import Segment
from rich.text import Text

from edge_dnn_partition.cli.terminal import raw
from edge_dnn_partition.text import printable

_UNWRAPPED: Final = 2000


class PrintableConsole(Console):
    """rich's console, whose own colours and movements pass, and no one else's."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text in colours, written out before it is measured for its column."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what rich makes of something, its texts written out."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console on stdout or stderr. A plain `Console` would have its colours written out.

    :param width: None: the terminal's, or ``COLUMNS``. In a pipe or a file nothing is wrapped: a row is a line.
    """
    stream = raw(sys.stderr if stderr else sys.stdout)
    if width is None and not (stream.isatty() or 'COLUMNS' in os.environ):
        width = _UNWRAPPED
    return PrintableConsole(file=stream, width=width)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the pages that scripts write have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Return text that does not end a cell of a table, and is no tag."""
    parts = text.replace('|', '\\|').split('`')
    return '`'.join(part if i % 2 else re.sub(r'<(?=[a-zA-Z/])', '&lt;', part) for i, part in enumerate(parts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [head, ['---'] * len(head), *rows]
    return [f'| {" | ".join(map(cell, line))} |' if i != 1 else f'|{"|".join(line)}|' for i, line in enumerate(lines)]

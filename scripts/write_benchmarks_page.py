# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Write docs/benchmarks.md: a section for each benchmark from its file's first words and the JSON in docs/benchmarks/."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from markdown import table

CHECKOUT = Path(__file__).resolve().parent.parent
HEAD = """# Benchmarks

What each measures, its command, the figures that were asked for beside those measured, and what they say. Every figure is from
the JSON in [benchmarks/](benchmarks), which also holds the machine, the versions and every single case. This page is written by
`scripts/write_benchmarks_page.py` from those files. Latencies and rates depend on the machine: measure them on yours.
"""


def figure(value: Any) -> str:
    """Return a number as people write it."""
    return f'{value:.4g}' if isinstance(value, (int, float)) else str(value)


def section(name: str, words: str, document: dict[str, Any]) -> str:
    """Return a benchmark's section."""
    machine = document['machine']
    lines = [f'## {name}', '', words, '', f'`{document["command"]}` (on {machine["cpu"]}, {machine["cores"]} cores)', '']
    if document['targets']:
        rows = []
        for target in document['targets']:
            asked, unit = figure(target['asked']), target['unit']
            asked = asked if not unit or unit in asked else f'{asked} {unit}'
            measured = 'none' if target['measured'] is None else f'{figure(target["measured"])} {unit}'.strip()
            rows.append((target['name'], asked, measured, 'yes' if target['met'] else '**no**'))
        lines += [*table(('figure', 'asked', 'measured', 'reached'), rows), '']
    lines += [document.get('conclusion', ''), '', f'![{name}](benchmarks/{name}.png)', '']
    return '\n'.join(lines)


def main() -> None:
    """Write the page."""
    sections = []
    for path in sorted((CHECKOUT / 'benchmarks').glob('bench_*.py')):
        name = path.stem.removeprefix('bench_')
        measured = CHECKOUT / 'docs' / 'benchmarks' / f'{name}.json'
        if measured.exists():
            words = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
            sections.append(section(name, words, json.loads(measured.read_text(encoding='utf-8'))))
    (CHECKOUT / 'docs' / 'benchmarks.md').write_text('\n'.join([HEAD, *sections]), encoding='utf-8')


if __name__ == '__main__':
    main()

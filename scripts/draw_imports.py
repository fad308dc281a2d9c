# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Draw docs/imports.png: which room imports which, from grimp's graph (import-linter's), in the order that pyproject.toml gives.

With ``--table`` it prints the files and lines of each room instead. The image's metadata names the pairs that are drawn.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from markdown import table

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE: Final = 'edge_dnn_partition'
IMAGE = CHECKOUT / 'docs' / 'imports.png'
_INK, _BLUE, _GREY, _PAPER = '#1d2733', '#2563a8', '#6b7785', '#f4f6f8'


def rooms() -> list[str]:
    """Return the rooms as import-linter's first contract orders them: each may import only those after it."""
    text = (CHECKOUT / 'pyproject.toml').read_text(encoding='utf-8').partition('[[tool.importlinter.contracts]]')[2]
    rows = re.findall(r'"([^"]+)"', text.partition('layers = [')[2].partition(']')[0])
    names = [name.strip().removeprefix(f'{PACKAGE}.') for row in rows for name in row.split('|')]
    return [name for name in names if (CHECKOUT / PACKAGE / name).is_dir()]


def imports() -> dict[str, int]:
    """Return how many modules of one room import from another, as ``importer > imported``."""
    sys.path.insert(0, str(CHECKOUT))
    import grimp

    graph, known = grimp.build_graph(PACKAGE), rooms()
    found: Counter[str] = Counter()
    for module in graph.modules:
        importer = _room(module)
        targets = {_room(target) for target in graph.find_modules_directly_imported_by(module)} - {importer}
        found.update(f'{importer} > {target}' for target in targets if importer in known and target in known)
    return dict(found)


def _room(module: str) -> str:
    return module.partition('.')[2].partition('.')[0]


def size(room: str) -> tuple[int, int]:
    """Return how many files and lines of Python a room has."""
    files = list((CHECKOUT / PACKAGE / room).rglob('*.py'))
    return len(files), sum(len(path.read_text(encoding='utf-8').splitlines()) for path in files)


def draw(axes: Any, found: dict[str, int]) -> None:
    """Draw a matrix: a row for each room with what it imports; imports that point one way fill the upper triangle alone."""
    names = rooms()
    for y, importer in enumerate(names):
        for x, imported in enumerate(names):
            count = found.get(f'{importer} > {imported}', 0)
            face = _GREY if x == y else to_rgba(_BLUE, min(1.0, 0.12 + count / 30)) if count else _PAPER
            axes.add_patch(Rectangle((x, y), 0.94, 0.94, facecolor=face))
            if count:
                axes.text(x + 0.47, y + 0.47, count, ha='center', va='center', size=8, color='white' if count > 12 else _INK)
    files = [f'{name}  {count} files, {lines / 1000:.1f}k lines' for name in names for count, lines in [size(name)]]
    axes.set_yticks([i + 0.47 for i in range(len(names))], files, size=9)
    axes.set_xticks([i + 0.47 for i in range(len(names))], names, size=9, rotation=60, ha='left')
    axes.set(xlim=(-0.1, len(names)), ylim=(len(names), -0.1), aspect='equal')
    axes.xaxis.tick_top()
    axes.tick_params(length=0, colors=_INK)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel('modules of the room on the left that import from the room above', size=9, color=_GREY)


def main() -> None:
    """Write the figure, or print the table."""
    if '--table' in sys.argv[1:]:
        print('\n'.join(table(('room', 'files', 'lines'), [(room, *map(str, size(room))) for room in rooms()])))
        return
    figure, found = Figure(figsize=(8.5, 7), layout='constrained'), imports()
    FigureCanvasAgg(figure)
    draw(figure.subplots(), found)
    figure.savefig(IMAGE, dpi=110, bbox_inches='tight', metadata={'Description': json.dumps(sorted(found))})


if __name__ == '__main__':
    main()

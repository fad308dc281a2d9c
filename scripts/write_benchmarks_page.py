# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Write docs/benchmarks.md: a section for each benchmark from its file's first words and the JSON in docs/benchmarks/.

The README's table of the grid is written, too, between its two marks, and docs/models.md from the record of ``bench models``.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from markdown import table

CHECKOUT = Path(__file__).resolve().parent.parent
HEAD = """# Benchmarks

What each benchmark measures, its command, each target beside the measurement, and what follows from them. The figures are from
the records in [benchmarks/](benchmarks), which also name the machine and the versions and have a row for every case.
`edge-dnn-partition bench NAME --out DIR` writes a whole run, every frame of it; `scripts/record_benchmark.py DIR/NAME.json` makes
the record, and `scripts/write_benchmarks_page.py` this page. Latencies and rates depend on the machine: measure them on yours.
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
        lines += [*table(('figure', 'target', 'measured', 'met'), rows), '']
    lines += [document.get('conclusion', ''), '', f'![{name}](benchmarks/{name}.png)', '']
    return '\n'.join(lines)


def grid_table(document: dict[str, Any]) -> str:
    """Return the table of ``bench grid``: a row for each network, a column for each uplink."""
    cells = [row for row in document['results'] if row['case'] == 'grid']
    uplinks = sorted({cell['rate'] for cell in cells})
    rows = []
    for network in dict.fromkeys(cell['network'] for cell in cells):
        row = {cell['rate']: cell for cell in cells if cell['network'] == network}
        rows.append((network, *(_cell(row[rate]) if rate in row else '' for rate in uplinks)))
    return '\n'.join(table(('ms', *(f'{rate:g} Mbit/s' for rate in uplinks)), rows))


def _cell(cell: dict[str, Any]) -> str:
    baselines = [cell['baselines'][name]['p50_seconds'] for name in ('all_on_source', 'all_on_cloud') if name in cell['baselines']]
    found = (cell['adaptive']['p50_seconds'], cell['best_seconds'], *baselines)
    own, *others = (f'{1e3 * seconds:.0f}' for seconds in found)
    return f'**{own}** / {" / ".join(others)}'


def write_grid(readme: Path, document: dict[str, Any]) -> None:
    """Put the table between the marks of a page."""
    text = readme.read_text(encoding='utf-8')
    between = re.compile(r'(<!-- grid, .*? -->\n).*?(<!-- end of grid -->)', re.DOTALL)
    readme.write_text(between.sub(lambda found: f'{found[1]}{grid_table(document)}\n{found[2]}', text), encoding='utf-8')


MODELS = """# Models

Which models run. Each row is made by `edge-dnn-partition bench models --models DIR`, failures included; its
[section](benchmarks.md#models) says how. Weights are random, but for `digits`.

- **inspect**: how many layers it has, between any two of which it can be cut.
- **split**: cut near a third and two thirds of its work, against the whole file in onnxruntime: `exact` to the bit, or the
  largest difference over the largest value.
- **stream**: the same cuts in a fleet of two devices in real processes, whose results are compared with the whole file's. A dash:
  not tried.
- **kind**: what `edge-dnn-partition init` writes of the outputs ([kinds](seeing.md)); in brackets where it is a guess from shapes.

`script` and `dynamo` are torch's two exporters; files of the zoo are this package's own. Not exported here: UPerNet (the exporter
fails), SSDLite, Faster and Keypoint R-CNN (torchvision's own operators are needed). RetinaNet's weights, being random, score all
boxes alike, and which of equals its TopK takes differs with the last bit of a sum.
"""


def models_page(document: dict[str, Any]) -> str:
    """Return docs/models.md: a table for each family, and below it why something fails."""
    lines = [MODELS, document['conclusion'], '']
    rows = document['results']
    for family in dict.fromkeys(row['family'] for row in rows):
        notes: list[str] = []
        cells = [_model_cells(row, notes) for row in rows if row['family'] == family]
        lines += [f'## {family}', '', *table(('architecture', 'exporter', 'inspect', 'split', 'stream', 'kind'), cells), '']
        lines += [f'{number}. {note}' for number, note in enumerate(notes, start=1)] + ([''] if notes else [])
    return '\n'.join(lines)


def _model_cells(row: dict[str, Any], notes: list[str]) -> tuple[str, ...]:
    def cell(column: str) -> str:
        found = row.get(column)
        if found is None:
            return '–'
        if 'error' in found:
            text = found['error'].replace('|', '/').replace('<', '&lt;').replace('*', '\\*')
            if text not in notes:
                notes.append(text)
            return f'**fails** ({notes.index(text) + 1})'
        if column == 'inspect':
            return f'{found["layers"]} layers'
        if column == 'kind':
            return f'({found["kind"]})' if found['guess'] and found['kind'] else found['kind']
        if found.get('equal', 1) < found.get('frames', 1):
            return f'**{found["equal"]} of {found["frames"]}** equal'
        exact = found['bit_exact'] is True or found['bit_exact'] == found.get('frames')
        return 'exact' if exact else f'{found["relative_difference"]:.0e}'

    return row['model'], row['exporter'], *(cell(column) for column in ('inspect', 'split', 'stream', 'kind'))


def main() -> None:
    """Write the pages."""
    sections = []
    for path in sorted((CHECKOUT / 'benchmarks').glob('bench_*.py')):
        name = path.stem.removeprefix('bench_')
        measured = CHECKOUT / 'docs' / 'benchmarks' / f'{name}.json'
        if measured.exists():
            words = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
            sections.append(section(name, words, json.loads(measured.read_text(encoding='utf-8'))))
    grid = CHECKOUT / 'docs' / 'benchmarks' / 'grid.json'
    write_grid(CHECKOUT / 'README.md', json.loads(grid.read_text(encoding='utf-8')))
    models = CHECKOUT / 'docs' / 'benchmarks' / 'models.json'
    (CHECKOUT / 'docs' / 'models.md').write_text(models_page(json.loads(models.read_text(encoding='utf-8'))), encoding='utf-8')
    (CHECKOUT / 'docs' / 'benchmarks.md').write_text('\n'.join([HEAD, *sections]), encoding='utf-8')


if __name__ == '__main__':
    main()

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' documents of a folder as one HTML page that needs nothing else to be read."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition import cache
from edge_dnn_partition.errors import UserError

REPORT: Final = 'report.html'
_NEEDED: Final = ('name', 'machine', 'versions', 'command', 'targets')

_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>edge_dnn_partition: benchmarks</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2.5em; border-top: 1px solid #ddd; padding-top: 1em; }
table { border-collapse: collapse; margin: .8em 0; } td, th { padding: .2em .8em; text-align: left; border-bottom: 1px solid #eee; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.met { color: #18794e; } .missed { color: #b42318; font-weight: 600; }
img { max-width: 100%; border: 1px solid #eee; } code { background: #f5f5f5; padding: .1em .3em; }
.small { color: #666; font-size: 13px; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1em; }
.plots a { text-decoration: none; color: inherit; }
</style>
</head>
<body>
<h1>edge_dnn_partition: benchmarks</h1>
<p>{{ met }} of {{ asked }} targets of {{ benchmarks | length }} benchmarks are reached. Each section says what was measured, by
which command, on which machine; a target that is missed stands beside what was measured.</p>
<table>
<tr><th>benchmark</th><th>targets reached</th><th>conclusion</th></tr>
{% for b in benchmarks %}
<tr><td><a href="#{{ b.name }}">{{ b.name }}</a></td>
<td class="{{ 'met' if b.met == b.targets | length else 'missed' }}">{{ b.met }} of {{ b.targets | length }}</td>
<td>{{ b.conclusion }}</td></tr>
{% endfor %}
</table>
<div class="plots">
{% for b in benchmarks if b.image %}
<a href="#{{ b.name }}"><img src="{{ b.image }}" alt="plot of {{ b.name }}"><br>{{ b.name }}</a>
{% endfor %}
</div>
{% for b in benchmarks %}
<h2 id="{{ b.name }}">{{ b.name }}</h2>
{% if b.summary %}<p>{{ b.summary }}</p>{% endif %}
<p><strong>{{ b.conclusion }}</strong></p>
{% if b.targets %}
<table>
<tr><th>target</th><th>asked</th><th>measured</th><th>unit</th><th></th></tr>
{% for t in b.targets %}
<tr><td>{{ t.name }}</td><td>{{ t.asked | figure }}</td><td class="number">{{ t.measured | figure }}</td><td>{{ t.unit }}</td>
<td class="{{ 'met' if t.met else 'missed' }}">{{ 'reached' if t.met else 'missed' }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% if b.image %}<p><img src="{{ b.image }}" alt="plot of {{ b.name }}"></p>{% endif %}
<p class="small"><code>{{ b.command }}</code> on {{ b.machine.cpu }}, {{ b.machine.cores }} cores,
{{ '%.0f' | format(b.machine.memory_bytes / 2**30) }} GiB, {{ b.machine.os }};
{% for name, version in b.versions.items() %}{{ name }} {{ version }}{{ ', ' if not loop.last }}{% endfor %}.
All figures: <a href="{{ b.file }}">{{ b.file }}</a>.</p>
{% endfor %}
</body>
</html>
"""


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the benchmarks' documents of a folder, in the order of their names; other JSON files are left aside.

    A document without a conclusion gets one from its targets.

    :raises UserError: if there is none.
    """
    found = []
    for path in sorted(folder.glob('*.json')):
        try:
            document = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError) as error:
            raise UserError(f'{path}: cannot be read ({error}); run that benchmark again') from error
        if not isinstance(document, Mapping) or any(key not in document for key in _NEEDED):
            continue
        targets = document['targets']
        found.append({
            **document, 'file': path.name, 'met': sum(bool(t['met']) for t in targets),
            'conclusion': document.get('conclusion') or conclusion_of(targets),
        })  # fmt: skip
    if not found:
        raise UserError(f'{folder}: holds no figures of a benchmark; run some first, such as `bench scale --out {folder}`')
    return found


def conclusion_of(targets: list[dict[str, Any]]) -> str:
    """Return what targets alone say."""
    missed = [t['name'] for t in targets if not t['met']]
    return f'{len(targets) - len(missed)} of {len(targets)} targets reached' + (
        f'; missed: {"; ".join(missed)}.' if missed else '.'
    )


def page(folder: Path, summaries: Mapping[str, str], *, linked: bool = False) -> str:
    """Return the HTML of a folder's benchmarks.

    :param summaries: a line about each benchmark, by name.
    :param linked: refer to the plots beside the page; else they are part of it.
    :raises UserError: if there is nothing to report, or jinja2 is missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError as error:
        raise UserError('the report needs the Python package jinja2: pip install "edge_dnn_partition[bench]"') from error
    benchmarks = read(folder)
    for document in benchmarks:
        image = folder / f'{document["name"]}.png'
        document['summary'] = summaries.get(document['name'], '')
        document['image'] = ''
        if image.is_file():
            inline = f'data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}'
            document['image'] = image.name if linked else inline
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters['figure'] = _figure
    return environment.from_string(_PAGE).render(
        benchmarks=benchmarks,
        met=sum(document['met'] for document in benchmarks),
        asked=sum(len(document['targets']) for document in benchmarks),
    )


def write(folder: Path, summaries: Mapping[str, str], *, linked: bool = False) -> Path:
    """Write the page into the folder and return its path; see :func:`page`."""
    path = folder / REPORT
    cache.write_atomic(path, page(folder, summaries, linked=linked).encode())
    return path


def _figure(value: Any) -> str:
    if value is None:
        return '–'
    return f'{value:.4g}' if isinstance(value, (int, float)) else str(value)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark hands back, and how it is written down: a JSON document, a plot and a table."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition import __version__, cache
from edge_dnn_partition.cli.legends import legends_below
from edge_dnn_partition.cli.log_ticks import plain_log_ticks
from edge_dnn_partition.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES: Final = (
    'numpy', 'onnx', 'onnxruntime', 'scipy', 'networkx', 'psutil', 'opencv-python-headless', 'ros-rclpy',
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One figure that a benchmark was to reach.

    :param asked: the figure to reach, in ``unit``, or words for it (``<= 2 %``).
    :param measured: what came out, in ``unit``.
    """

    name: str
    asked: float | str
    measured: float
    unit: str
    met: bool


@dataclass
class BenchResult:
    """What a benchmark measured.

    :param results: one dictionary per measured case, fit for JSON.
    :param plot: draws the results on an empty figure.
    :param conclusion: what the figures say, in a sentence or two.
    """

    results: list[dict[str, Any]]
    targets: list[Target]
    plot: Callable[[Figure], None]
    conclusion: str


def machine() -> dict[str, Any]:
    """Describe this machine: processor, cores, memory (bytes) and operating system."""
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return {
        'cpu': _cpu_name(),
        'cores': usable,
        'memory_bytes': psutil.virtual_memory().total,
        'os': platform.platform(),
        'load_average_1min': os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that the figures depend on."""
    found = {'python': platform.python_version(), 'edge_dnn_partition': __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203 (a handful of packages)
            continue
    return found


def document(name: str, result: BenchResult, *, command: str) -> dict[str, Any]:
    """Return the JSON document of a benchmark: numbers that are not finite become null."""
    targets = [
        {'name': t.name, 'asked': t.asked, 'measured': t.measured, 'unit': t.unit, 'met': bool(t.met)}
        for t in result.targets
    ]
    plain: dict[str, Any] = _finite({
        'name': name,
        'machine': machine(),
        'versions': versions(),
        'command': command,
        'results': result.results,
        'targets': targets,
        'conclusion': result.conclusion,
    })  # fmt: skip
    return plain


def write(name: str, result: BenchResult, directory: Path, *, command: str) -> tuple[Path, Path]:
    """Write ``NAME.json`` and ``NAME.png`` into a folder, each at once, and return their paths."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(name, result, command=command), indent=2, allow_nan=False)
    data, image = directory / f'{name}.json', directory / f'{name}.png'
    cache.write_atomic(data, f'{text}\n'.encode())
    figure = Figure(figsize=(9, 5.5), layout='constrained')
    FigureCanvasAgg(figure)
    result.plot(figure)
    plain_log_ticks(figure)
    legends_below(figure)
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=120)
    cache.write_atomic(image, content.getvalue())
    return data, image


def print_targets(result: BenchResult) -> None:
    """Print the targets as a table, and the conclusion."""
    from rich.table import Table

    from edge_dnn_partition.cli.console import console as open_console

    console = open_console()
    table = Table('target', 'asked', 'measured', 'unit', 'met')
    for target in result.targets:
        asked = target.asked if isinstance(target.asked, str) else f'{target.asked:.4g}'
        met = '[green]yes[/]' if target.met else '[red]no[/]'
        table.add_row(target.name, asked, f'{target.measured:.4g}', target.unit, met)
    if result.targets:
        console.print(table)
    console.print(result.conclusion, highlight=False, markup=False)


def _cpu_name() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines():
            if line.startswith(('model name', 'Model')):
                return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, 'item') and not isinstance(value, (str, bytes)):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222;
  overflow-wrap: anywhere; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2.5em; border-top: 1px solid #ddd; padding-top: 1em; }
table { border-collapse: collapse; margin: .8em 0; } td, th { padding: .2em .8em; text-align: left; border-bottom: 1px solid #eee; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.met { color: #18794e; } .missed { color: #b42318; font-weight: 600; }
img { max-width: 100%; border: 1px solid #eee; } code { background: #f5f5f5; padding: .1em .3em; }
.small { color: #666; font-size: 13px; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 1em; }
.plots a { text-decoration: none; color: inherit; }
@media (max-width: 640px) { /* a row of a table becomes a small list of its cells */
  tr:has(th) { display: none; } tr { display: block; padding: .4em 0; border-bottom: 1px solid #ddd; }
  td { display: flex; gap: 1em; justify-content: space-between; border: 0; padding: 0; } td:empty { display: none; }
  td::before { content: attr(data-head); color: #666; font-size: 13px; flex: none; }
}
</style>
</head>
<body>
<h1>edge_dnn_partition: benchmarks</h1>
<p>{{ met }} of {{ asked }} targets of {{ benchmarks | length }} benchmarks are reached. Each section says what was measured, by
which command, on which machine; a target that is missed stands beside what was measured.</p>
<table>
<tr><th>benchmark</th><th>targets reached</th><th>conclusion</th></tr>
{% for b in benchmarks %}
<tr><td data-head="benchmark"><a href="#{{ b.name }}">{{ b.name }}</a></td>
<td data-head="targets reached"
class="{{ 'met' if b.met == b.targets | length else 'missed' }}">{{ b.met }} of {{ b.targets | length }}</td>
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
<tr><td data-head="target">{{ t.name }}</td><td data-head="asked">{{ t.asked | figure }}</td>
<td data-head="measured" class="number">{{ t.measured | figure }}</td><td data-head="unit">{{ t.unit }}</td>
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


def read_documents(folder: Path) -> list[dict[str, Any]]:
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
        raise UserError(f'{folder}: contains no benchmark results; run one first, such as `bench scale --out {folder}`')
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
    benchmarks = read_documents(folder)
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


def write_page(folder: Path, summaries: Mapping[str, str], *, linked: bool = False) -> Path:
    """Write the page into the folder and return its path; see :func:`page`."""
    path = folder / REPORT
    cache.write_atomic(path, page(folder, summaries, linked=linked).encode())
    return path


def _figure(value: Any) -> str:
    if value is None:
        return '–'
    return f'{value:.4g}' if isinstance(value, (int, float)) else str(value)

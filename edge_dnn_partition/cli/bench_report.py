# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark hands back, and how it is written down: a JSON document, a plot and a table."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition import __version__, cache

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

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cells beside the papers' grid, in which splitting is honest work: constraints, raw images, encodings, a busy cloud.

A board and a server as in `bench grid`, with the same competitors, one cell of that grid over a link that the kernel shapes
between network namespaces (root), and three equal boards for throughput.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.plans.encodings import NAMES

from . import grid_fleet, grid_run, processes
from .grid_fleet import WATTS, conditions, fleet_of, pipeline_of, testbed_file
from .grid_plans import CLOUD, SOURCE
from .grid_run import Row, note, run_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS', 'sklearn', 'torch')
_BOARDS: Final = 3
Say = Callable[[str], None]

_QUICK_LINK: Final = {'links': [
    {'between': [SOURCE, CLOUD], 'rate': '18.88 Mbit/s', 'delay': f'{1e3 * grid_fleet.DELAY_SECONDS} ms'},
]}  # fmt: skip
"""From the start. A first image of a megabyte over the slowest of the grid's links would take a minute, and a link that is in
use and becomes a hundred times as fast is found out over some ten frames, which would count against those that run first."""
_RAW: Final = {'raw image': (640, 480), 'as many bytes as RGB-D': (800, 640)}
_COUNTED_SECONDS: Final = 6.0


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes the cells of a small network alone."""
    processes.prepare()
    ladder: list[Row] = []
    results: list[Row] = []
    # DDS reads how it is set up once in a process, and a fleet's network kind sets it up: so each part has a process.
    pool = ProcessPoolExecutor(1, mp_context=get_context('spawn'), max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as folder, pool:
        for part in (_quick,) if quick else (_lossy_and_busy, _kernel, _constrained, _raw, _similar):
            found, seen, error = pool.submit(_played, part, folder).result()
            results += found
            ladder += seen
            if error:
                results.append({'case': 'failed', 'part': part.__name__.strip('_'), 'error': error})
                progress(f'{results[-1]["part"]} failed: {error}')
    cells = [row for row in results if 'oracle' in row]
    grid_run.compose_missing(cells, grid_run.fit_links(ladder), WATTS)
    for row in cells:
        row.update(grid_run.summary(row))
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _played(part: Callable[[Path, list[Row], Say], Iterator[Row]], folder: str) -> tuple[list[Row], list[Row], str]:
    """Run a part; return its rows, what was seen of links, and why it ended early."""
    processes.prepare()
    rows: list[Row] = []
    ladder: list[Row] = []
    try:
        rows.extend(part(Path(folder), ladder, functools.partial(print, flush=True)))  # what came before an error stays
    except UserError as error:
        return rows, ladder, str(error)[:300]
    return rows, ladder, ''


def _quick(folder: Path, ladder: list[Row], progress: Say) -> Iterator[Row]:
    photograph = grid_fleet.image()
    with fleet_of(testbed_file(folder, 'resnet18_small'), photograph, progress) as (bench, planner):
        usual, busy = conditions(18.88, photograph), conditions(18.88, photograph, **{CLOUD: 10.0})
        cell, seen = run_cell(bench, planner, busy, WATTS, planned_for=usual)
        ladder += seen
        yield _row('busy cloud', 'resnet18_small', cell, progress)


def _lossy_and_busy(folder: Path, ladder: list[Row], progress: Say) -> Iterator[Row]:
    photograph = grid_fleet.image()
    with fleet_of(testbed_file(folder, 'alexnet'), photograph, progress) as (bench, planner):
        for rate in (1.1, 5.85):
            cell, seen = run_cell(bench, planner, conditions(rate, photograph), WATTS, encodings=NAMES)
            ladder += seen
            yield _row('int8 boundaries', 'alexnet', cell, progress)
        usual = conditions(18.88, photograph)
        busy = conditions(18.88, photograph, **{CLOUD: 10.0})
        cell, seen = run_cell(bench, planner, busy, WATTS, planned_for=usual)
        ladder += seen
        yield _row('busy cloud', 'alexnet', cell, progress)


def _kernel(folder: Path, ladder: list[Row], progress: Say) -> Iterator[Row]:
    photograph = grid_fleet.image()
    file = testbed_file(folder, 'alexnet', more=_QUICK_LINK)
    with fleet_of(file, photograph, progress, user_space=None) as (bench, planner):
        cell, seen = run_cell(bench, planner, conditions(18.88, photograph), WATTS)
        ladder += seen
        yield _row('link shaped by the kernel', 'alexnet', cell, progress)


def _constrained(folder: Path, ladder: list[Row], progress: Say) -> Iterator[Row]:
    private = {'constraints': {'private_until': _private()}}
    files = {
        'privacy': (testbed_file(folder, 'resnet18', more=private), 18.88),
        'device too small': (testbed_file(folder, 'vgg16', memory='200 MiB'), 5.85),
    }
    photograph = grid_fleet.image()
    for name, (file, rate) in files.items():
        with fleet_of(file, photograph, progress) as (bench, planner):
            cell, seen = run_cell(bench, planner, conditions(rate, photograph), WATTS)
            ladder += seen
            yield _row(name, planner.pipeline.model.name, cell, progress)


def _raw(folder: Path, ladder: list[Row], progress: Say) -> Iterator[Row]:
    images = {name: grid_fleet.image(*size, quality=0) for name, size in _RAW.items()}
    file = testbed_file(folder, 'resnet18', more=_QUICK_LINK)
    with fleet_of(file, next(iter(images.values())), progress) as (bench, planner):
        for name, pixels in images.items():
            bench.image = pixels
            cell, seen = run_cell(bench, planner, conditions(18.88, pixels), WATTS)
            ladder += seen
            yield _row(name, 'resnet18', cell, progress)


def _similar(folder: Path, _: list[Row], progress: Say) -> Iterator[Row]:
    """Yield the frames per second of one board, and of three equal ones with the objective throughput."""
    from edge_dnn_partition.cli.testbed import Testbed

    names = [SOURCE, *(f'board{i}' for i in range(2, _BOARDS + 1))]
    more = {
        'objective': 'throughput', 'devices': {name: {'emulate': {'slowdown': 12.0}} for name in names},
        'links': [{'between': list(pair), 'rate': '100 Mbit/s', 'delay': '2 ms'} for pair in itertools.combinations(names, 2)],
    }  # fmt: skip
    shown = grid_fleet.image()
    file = testbed_file(folder, 'resnet18', more=more)
    pipeline_of(file)
    with Testbed(file, images=[shown], say=progress) as testbed:
        testbed.force(f'{SOURCE}:pre-end')
        alone = len(testbed.stream(_COUNTED_SECONDS, 20.0)) / _COUNTED_SECONDS
        testbed.free('exact')
        testbed.stream(8.0, 20.0)
        together = len(testbed.stream(_COUNTED_SECONDS, 20.0)) / _COUNTED_SECONDS
        plan = testbed.client.plan
    row = {'case': 'similar devices', 'network': 'resnet18', 'devices': _BOARDS, 'fps_alone': alone, 'fps_together': together,
           'plan': plan.label() if plan else ''}  # fmt: skip
    progress(f'{_BOARDS} equal boards, objective throughput: {together:.1f} frames/s ({row["plan"]}), one: {alone:.1f}')
    yield row


def _private() -> str:
    """Return the layer of ResNet-18 up to which nothing leaves the board: the first pooling."""
    from edge_dnn_partition.graph import zoo
    from edge_dnn_partition.graph.model import load_model

    return next(layer.name for layer in load_model(zoo.model_path('resnet18')).layers if 'Pool' in ' '.join(layer.operators))


def _row(name: str, network: str, cell: Row, progress: Callable[[str], None]) -> Row:
    row = {'case': name, 'network': network, **cell}
    note(progress, f'{name}, {network}', row)
    return row


def _targets(results: Sequence[Mapping[str, Any]]) -> list[Target]:
    failed = [row['part'] for row in results if row['case'] == 'failed']
    targets = [Target('parts that failed', 0, len(failed), '', not failed)]
    cells = [row for row in results if 'oracle' in row]
    for row in cells:
        over = row['over_oracle']
        name = f'{row["case"]}, {row["network"]}, {row["rate"]:g} Mbit/s: adaptive over the best fixed split'
        targets.append(Target(name, '<= 1.1', over, 'x', over <= 1.1))
    slower = sum(cell['speedup'][name] < 1 / 1.05 for cell in cells for name in cell['speedup'])
    compared = sum(len(cell['speedup']) for cell in cells)
    targets.append(Target('baselines that adaptive is over 5 % slower than', 0, slower, f'of {compared}', not slower))
    for row in results:
        if row['case'] == 'similar devices':
            gain = row['fps_together'] / row['fps_alone']
            name = f'{row["devices"]} equal boards over one, frames per second'
            targets.append(Target(name, f'>= {0.85 * row["devices"]:.2f}', gain, 'x', gain >= 0.85 * row['devices']))
    return targets


def _conclusion(results: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for row in results:
        if 'oracle' in row:
            rivals = ', '.join(f'{name} {value:.2f}x' for name, value in row['speedup'].items())
            parts.append(f'{row["case"]} ({row["network"]}, {row["rate"]:g} Mbit/s): {row["adaptive"]["plan"]} over {rivals}')
        elif row['case'] == 'similar devices':
            parts.append(f'{row["devices"]} equal boards: {row["fps_together"]:.1f} frames/s against {row["fps_alone"]:.1f} of one')
    return '; '.join(parts) + '.'


def _plot(figure: Figure, results: Sequence[Mapping[str, Any]]) -> None:
    cells = [row for row in results if 'best_seconds' in row]
    figure.set_size_inches(10, 0.9 * len(cells) + 1.5)
    place = figure.subplots()
    for y, row in enumerate(cells):
        for name, (marker, colour) in grid_run.STYLES.items():
            if name in row['baselines']:
                place.plot(1e3 * row['baselines'][name]['p50_seconds'], y, marker, color=colour, label=name if not y else None)
        place.plot(1e3 * row['best_seconds'], y, '|', color='grey', markersize=22, label='oracle' if not y else None)
        place.plot(1e3 * row['adaptive']['p50_seconds'], y, '*', color='black', markersize=10, label='adaptive' if not y else None)
    place.set(yticks=range(len(cells)), yticklabels=[f'{row["case"]}\n{row["network"]}, {row["rate"]:g} Mbit/s' for row in cells],
              xscale='log', xlabel='p50, ms')  # fmt: skip
    place.invert_yaxis()
    place.legend(fontsize='x-small')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cells beside the papers' grid, in which splitting is honest work: constraints, raw pictures, encodings, a busy cloud.

A board and a server as in `bench grid`, with the same competitors, and three equal boards for throughput.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.planning.encodings import NAMES

from . import grid_fleet, grid_run, processes
from .grid_fleet import WATTS, conditions, fleet_file, fleet_of, pipeline_of
from .grid_plans import CLOUD, SOURCE
from .grid_run import Row, note, run_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.running_fleet import RunningFleet

_BOARDS: Final = 3
_COUNTED_SECONDS: Final = 6.0


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes the cells of a small network alone."""
    processes.prepare()
    ladder: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        results = list((_quick_cells if quick else _cells)(Path(folder), ladder, progress))
    cells = [row for row in results if 'oracle' in row]
    grid_run.compose_missing(cells, grid_run.fit_links(ladder), WATTS)
    for row in cells:
        row.update(grid_run.summary(row))
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _quick_cells(folder: Path, ladder: list[Row], progress: Callable[[str], None]) -> Iterator[Row]:
    photograph = grid_fleet.picture()
    with fleet_of(fleet_file(folder, 'resnet18_small'), photograph) as (bench, planner):
        usual, busy = conditions(18.88, photograph), conditions(18.88, photograph, **{CLOUD: 10.0})
        cell, seen = run_cell(bench, planner, busy, WATTS, planned_for=usual)
        ladder += seen
        yield _row('busy cloud', 'resnet18_small', cell, progress)


def _cells(folder: Path, ladder: list[Row], progress: Callable[[str], None]) -> Iterator[Row]:
    """Yield the cells' rows; what was seen of the links goes to ``ladder``."""
    photograph = grid_fleet.picture()
    with fleet_of(fleet_file(folder, 'alexnet'), photograph) as (bench, planner):
        for name, rate, more in (('int8 boundaries', 1.1, {'encodings': NAMES}), ('int8 boundaries', 5.85, {'encodings': NAMES})):
            cell, seen = run_cell(bench, planner, conditions(rate, photograph), WATTS, **more)
            ladder += seen
            yield _row(name, 'alexnet', cell, progress)
        usual = conditions(18.88, photograph)
        busy = conditions(18.88, photograph, **{CLOUD: 10.0})
        cell, seen = run_cell(bench, planner, busy, WATTS, planned_for=usual)
        ladder += seen
        yield _row('busy cloud', 'alexnet', cell, progress)
    with fleet_of(fleet_file(folder, 'vgg16', memory='200 MiB'), photograph) as (bench, planner):
        cell, seen = run_cell(bench, planner, conditions(5.85, photograph), WATTS)
        ladder += seen
        yield _row('device too small', 'vgg16', cell, progress)
    private = {'constraints': {'private_until': _private()}}
    with fleet_of(fleet_file(folder, 'resnet18', more=private), photograph) as (bench, planner):
        cell, seen = run_cell(bench, planner, conditions(18.88, photograph), WATTS)
        ladder += seen
        yield _row('privacy', 'resnet18', cell, progress)
    for name, size in (('raw picture', (640, 480)), ('RGB-D (as many bytes)', (800, 640))):
        pixels = grid_fleet.picture(*size, quality=0)
        with fleet_of(fleet_file(folder, 'resnet18', compressed=False), pixels) as (bench, planner):
            for rate in (5.85, 18.88):
                cell, seen = run_cell(bench, planner, conditions(rate, pixels), WATTS)
                ladder += seen
                yield _row(name, 'resnet18', cell, progress)
    yield _similar(folder, progress)


def _similar(folder: Path, progress: Callable[[str], None]) -> Row:
    """Return the frames per second of one board, and of three equal ones with the objective throughput."""
    from edge_dnn_partition.cli.running_fleet import running_fleet

    names = [SOURCE, *(f'board{i}' for i in range(2, _BOARDS + 1))]
    more = {
        'objective': 'throughput', 'devices': {name: {'emulate': {'slowdown': 12.0}} for name in names},
        'links': [{'between': list(pair), 'rate': '100 Mbit/s', 'delay': '2 ms', 'emulate': True}
                  for pair in itertools.combinations(names, 2)],
    }  # fmt: skip
    shown = grid_fleet.picture()
    file = fleet_file(folder, 'resnet18', more=more)
    pipeline_of(file, shown)
    with running_fleet(file, [shown], rate=20.0) as running:
        running.follow(f'{SOURCE}:pre-end', 3)
        alone = _counted(running)
        running.client.set_scheduler({'policy': 'exact', 'fixed_plan': ''})
        time.sleep(8.0)
        together = _counted(running)
        plan = running.client.plan
    row = {'case': 'similar devices', 'network': 'resnet18', 'devices': _BOARDS, 'fps_alone': alone, 'fps_together': together,
           'plan': plan.label() if plan else ''}  # fmt: skip
    progress(f'{_BOARDS} equal boards, objective throughput: {together:.1f} frames/s ({row["plan"]}), one: {alone:.1f}')
    return row


def _counted(running: RunningFleet) -> float:
    """Return the frames per second of some seconds."""
    begin = len(running.news.frames)
    time.sleep(_COUNTED_SECONDS)
    return (len(running.news.frames) - begin) / _COUNTED_SECONDS


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
    targets = []
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
        else:
            parts.append(f'{row["devices"]} equal boards: {row["fps_together"]:.1f} frames/s against {row["fps_alone"]:.1f} of one')
    return '; '.join(parts) + '.'


def _plot(figure: Figure, results: Sequence[Mapping[str, Any]]) -> None:
    cells = [row for row in results if 'oracle' in row]
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

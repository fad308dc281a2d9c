# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cells beside the papers' grid, in which splitting is honest work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edge_dnn_partition.planning.encodings import NAMES

from . import grid_fleet
from .grid_fleet import WATTS, conditions, fleet_file, fleet_of
from .grid_plans import CLOUD
from .grid_run import Row, note, run_cell


def cells(folder: Path, ladder: list[Row], progress: Callable[[str], None]) -> Iterator[Row]:
    """Yield the extra cells' rows; what was seen of the links goes to ``ladder``."""
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


def _private() -> str:
    """Return the layer of ResNet-18 up to which nothing leaves the board: the first pooling."""
    from edge_dnn_partition.graph import zoo
    from edge_dnn_partition.graph.model import load_model

    return next(layer.name for layer in load_model(zoo.model_path('resnet18')).layers if 'Pool' in ' '.join(layer.operators))


def _row(name: str, network: str, cell: Row, progress: Callable[[str], None]) -> Row:
    row = {'case': name, 'network': network, **cell}
    note(progress, f'{name}, {network}', row)
    return row

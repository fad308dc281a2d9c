# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The grid's fleet: a board with the camera and a server, for one network after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import yaml

from edge_dnn_partition.execution.profiling.image_samples import gives_pixels, samples_of
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, load_or_profile
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.images import encode
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.testbed.scenario import photographs
from edge_dnn_partition.testbed.testbed_file import TestbedFile

from .grid_plans import CLOUD, SOURCE, Conditions, Planner
from .grid_run import Bench, Row, run_cell

SLOWDOWNS: Final = {SOURCE: 12.0, CLOUD: 1.0}
WATTS: Final = {'idle': 2.7, 'active': 3.7, 'radio': 1.0}
"""Of a Raspberry Pi 4, as `sensing/power/boards.py` cites: 2.7 W idle, 6.4 W with all cores busy; a watt for the radio."""
DELAY_SECONDS: Final = 0.01
FIRST_MBIT: Final = 0.13
"""The first guess of the link's rate, the slowest of the grid: a frame that takes several times as long as guessed is sent
again."""
RUNS: Final = 3


def image(width: int = 640, height: int = 480, *, quality: int = 90) -> CameraImage:
    """Return a photograph, as JPEG of a camera's usual quality, or its pixels for quality 0."""
    return encode(cv2.resize(photographs()[0], (width, height)), quality)


def testbed_file(folder: Path, network: str, *, more: Mapping[str, Any] | None = None, memory: str | None = None) -> TestbedFile:
    """Return the testbed of one network.

    :param more: further keys of the file.
    :param memory: the board's.
    """
    path = zoo.model_path(network)
    model = load_model(path)
    _, _, height, width = model.tensors[model.inputs[0]].shape
    settings = folder / f'{network}.preprocessing.yaml'
    settings.write_text(yaml.safe_dump({
        'size': [width, height], 'layout': 'NCHW', 'colour': 'rgb', 'resize': 'stretch', 'mean': [0.485, 0.456, 0.406],
        'std': [0.229, 0.224, 0.225],
    }))  # fmt: skip
    power = {key: f'{value} W' for key, value in WATTS.items()}
    board: dict[str, Any] = {'emulate': {'slowdown': SLOWDOWNS[SOURCE]}, 'power': power}
    if memory is not None:
        board['memory'] = memory
    return TestbedFile.parse({
        'fleet': 'grid', 'source': SOURCE, 'model': {'path': str(path), 'preprocessing': str(settings)},
        'devices': {SOURCE: board, CLOUD: {'emulate': {'slowdown': SLOWDOWNS[CLOUD]}, 'power': {'active': '60 W', 'weight': 0}}},
        'links': [{'between': [SOURCE, CLOUD], 'rate': f'{FIRST_MBIT} Mbit/s', 'delay': f'{1e3 * DELAY_SECONDS} ms'}],
        'parameters': {'worker': {'profile_runs': RUNS}}, **(more or {}),
    })  # fmt: skip


def pipeline_of(file: TestbedFile) -> Pipeline:
    """Profile a testbed's network on this machine, before its fleet is there; the workers take the same profile up."""
    assert file.model is not None and file.model.preprocessing is not None
    model = load_model(file.model.path)
    preprocessing = Preprocessing.from_yaml(file.model.preprocessing)
    profile = load_or_profile(
        model, ProfileOptions(device='host', runs=RUNS, limit_seconds=10.0, coding_seconds=5.0), accept_throttled=True,
        samples=samples_of(file.camera, preprocessing, raw=gives_pixels(file)),
    )  # fmt: skip
    return Pipeline(model, {name: profile.scaled(slowdown) for name, slowdown in slowdowns_of(file).items()}, file)


def slowdowns_of(file: TestbedFile) -> dict[str, float]:
    """Return every device's slowdown."""
    return {name: device.emulate.slowdown if device.emulate else 1.0 for name, device in file.devices.items()}


@contextmanager
def fleet_of(
    file: TestbedFile, shown: CameraImage, say: Callable[[str], None], *, user_space: bool | None = True
) -> Iterator[tuple[Bench, Planner]]:
    """Run a testbed whose camera shows what the bench shows.

    :param user_space: hold the link to its rate in the sending processes, so that it carries tensors alone: heartbeats and
        discovery take half of a link of 0.13 Mbit/s. None: the kernel does so where it can.
    """
    from edge_dnn_partition.cli.testbed import Testbed

    planner = Planner(pipeline_of(file), slowdowns_of(file))
    with Testbed(file, images=[shown], user_space=user_space, say=say) as testbed:
        yield Bench(testbed, shown), planner


def conditions(rate: float, shown: CameraImage, **slowdowns: float) -> Conditions:
    """Return a cell's conditions."""
    return Conditions(rate, DELAY_SECONDS, {**SLOWDOWNS, **slowdowns}, float(shown.data.nbytes))


def network_cells(
    folder: Path, network: str, uplinks: Sequence[float], say: Callable[[str], None], *, first: int = 0
) -> Iterator[tuple[Row, list[Row]]]:
    """Yield a row for each uplink, from the slowest on, and what was seen of the links.

    :param first: how many cells there have been: the order of the competitors goes on rotating.
    """
    shown = image()
    with fleet_of(testbed_file(folder, network), shown, say) as (bench, planner):
        known: dict[tuple[str, bool], Row] = {}
        for number, rate in enumerate(sorted(uplinks), first):
            cell, ladder = run_cell(bench, planner, conditions(rate, shown), WATTS, turn=number, known=known)
            alone = cell['baselines'].get('all_on_source')
            if alone is not None and not alone['composed'] and alone['p50_seconds'] > 1.0:
                known[alone['plan'], alone['raw']] = alone  # slow, and the link has no part in it
            yield cell, ladder

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's images, and whether every frame of them came back once, in order and right."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.inputs.images import images
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import Camera, Fleet
from edge_dnn_partition.testbed.scenario import panning_camera

if TYPE_CHECKING:
    from rich.console import Console  # noqa: TID251 (the type)

    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient, FrameRecord

TOLERANCE: Final = 1e-4


class Images:
    """The demo's images: a list over and over, or a live camera whose images are kept as they come."""

    def __init__(self, kept: list[Any], camera: Iterator[Any] | None = None) -> None:
        self.kept = kept
        self._camera = camera

    @property
    def mean_bytes(self) -> float:
        """The mean size of an image as it is sent."""
        return float(np.mean([image.data.nbytes for image in self.kept])) if self.kept else 180e3

    def stream(self) -> Iterator[tuple[int, Any]]:
        """Yield images with the index under which they are kept."""
        if self._camera is None:
            yield from itertools.cycle(enumerate(self.kept))
            return
        for image in self._camera:
            self.kept.append(image)
            yield len(self.kept) - 1, image


def chosen_images(args: argparse.Namespace) -> Images:
    """Return the images of ``--images``, ``--video`` or ``--camera``, else the demo's own."""
    stream = images(Camera(images=args.images, video=args.video, camera=args.camera))
    if stream is None:
        return Images(panning_camera())
    if args.camera is not None:
        return Images([], stream)
    return Images(list(itertools.islice(stream, 200)))


def settle(client: FleetClient, console: Console) -> dict[str, int]:
    """Wait until no frame is under way; return the source's books."""

    def settled() -> bool:
        status = client.news.status
        return status is not None and status.in_flight == 0

    time.sleep(1.0)
    try:
        client.wait_for(settled, 30.0, 'the last frames')
    except UserError as error:
        console.print(f'[red]{error}[/red]')
    status = client.news.status
    assert status is not None
    numbers = [frame.frame_id for frame in client.news.frames]
    return {
        'accepted': status.accepted, 'delivered': status.delivered, 'expired': status.expired,
        'failed': status.failed, 'lost': status.lost + status.in_flight,
        'duplicated': len(numbers) - len(set(numbers)),
        'repeated': status.repeated, 'late_results_dropped': status.duplicated,
        'camera_images': status.offered, 'camera_images_skipped': status.dropped,
    }  # fmt: skip


def compare(fleet: Fleet, images: Images, frames: list[FrameRecord], shown: Mapping[int, int]) -> dict[str, Any]:
    """Hold each result against that of the whole original model, on the same image.

    :param shown: which image had which stamp.
    """
    assert fleet.model is not None
    assert fleet.model.preprocessing is not None
    engine = Engine(fleet.model.path)
    entry = load_model(fleet.model.path).inputs[0]
    preprocessing = Preprocessing.from_yaml(fleet.model.preprocessing)
    wanted: dict[int, dict[str, Any]] = {}
    largest, scale, exact, compared = 0.0, 0.0, 0, 0
    for frame in frames:
        index = shown.get(frame.stamp_ns)
        if index is None or not frame.delivered:
            continue
        if index not in wanted:
            image = images.kept[index]
            wanted[index] = engine.run({entry: preprocessing.apply(image.data, image.encoding)})
        differences = [float(np.abs(frame.outputs[n] - v).max()) for n, v in wanted[index].items()]
        scale = max(scale, *(float(np.abs(v).max()) for v in wanted[index].values()))
        largest = max(largest, *differences)
        exact += max(differences) == 0
        compared += 1
    return {'max_abs_difference': largest, 'largest_output': scale, 'compared': compared, 'bit_exact': exact}


def failures(frames: Mapping[str, int], difference: Mapping[str, Any]) -> list[str]:
    """Return what went wrong, in words; empty if nothing did.

    :param frames: as `settle` returns them.
    :param difference: as `compare` does.
    """
    found = []
    ended = frames['delivered'] + frames['expired'] + frames['failed']
    if frames['lost'] or frames['duplicated'] or frames['accepted'] != ended:
        found.append('frames were lost or delivered twice')
    if frames['failed']:
        found.append(f'{frames["failed"]} frames could not be processed')
    if difference['compared'] == 0:
        found.append('no result was compared')
    elif difference['max_abs_difference'] > TOLERANCE * max(difference['largest_output'], 1e-30):
        found.append('results differ from the whole model')
    return found

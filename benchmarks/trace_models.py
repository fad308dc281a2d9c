# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated fleet's devices and networks: seconds are modelled, graphs and tensors' sizes are the networks' own.

A layer takes its multiply-adds over a device's rate, what it writes over a device's memory rate, and a launch. The two rates of
Pi and Jetson follow from ResNet-50 (4.1 G multiply-adds, 44 MB of activations) and MobileNetV2 (0.3 G, 27 MB) in MLPerf
Inference v1.1 (edge, SingleStream, TFLite, float32): Raspberry Pi 4 527 and 57 ms; the CPU of an AGX Xavier at 9.5 W 240 ms, and
MobileNetV2, which was not measured at that power, taken to be as many times slower than at 25 W (12.6 ms) as ResNet-50 is (81.5).
The cloud's are assumed, and so is what zstd and lz4 make of a tensor, of each alike.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.cuts import candidate_boundaries, linear_cuts
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.graph.work import layer_operations
from edge_dnn_partition.planning.fleet_state.fleet import Fleet, parse_fleet
from edge_dnn_partition.planning.fleet_state.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import TensorCoding
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.testbed.scenario import LINKS

MODELS: Final = ('vgg16', 'resnet18', 'mobilenetv2', 'efficientnet_b0', 'vit_b16')
PICTURE_BYTES: Final = 150_000
SOURCE: Final = 'pi'


@dataclass(frozen=True)
class Board:
    """How fast a device is.

    :param operations: multiply-adds per second.
    :param memory: bytes that layers write per second.
    :param launch_seconds: of each layer.
    :param preprocess_seconds: to decode and resize a picture.
    """

    operations: float
    memory: float
    launch_seconds: float
    preprocess_seconds: float


BOARDS: Final = {
    'pi': Board(8.3e9, 1.29e9, 0.0, 0.020),
    'jetson': Board(20.1e9, 1.22e9, 0.0, 0.010),
    'cloud': Board(1e12, 100e9, 2e-5, 0.002),
}
_CODINGS: Final = {'zstd': (0.8, 250e6, 600e6), 'lz4': (0.88, 450e6, 1500e6)}
"""Share of the bytes that is left, and bytes per second that the cloud encodes and decodes."""
_CODING_SLOWDOWNS: Final = {'pi': 4.0, 'jetson': 2.5, 'cloud': 1.0}


@functools.cache
def model_of(name: str) -> Model:
    """Return a network of the zoo, built if it was not yet."""
    return load_model(zoo.model_path(name))


def fleet() -> Fleet:
    """Return the demo's three devices and links."""
    return parse_fleet({
        'fleet': 'simulated', 'source': SOURCE,
        'devices': {name: {'threads': 1, 'power': {'idle': '2 W', 'active': '4 W'}, 'emulate': {'slowdown': 1}} for name in BOARDS},
        'links': [{'between': list(pair), 'rate': f'{rate * 8e-6:g} Mbit/s', 'delay': f'{delay * 1e3:g} ms'}
                  for pair, (rate, delay) in LINKS.items()],
    })  # fmt: skip


def boundaries_of(model: Model) -> tuple[int, ...]:
    """Return where the planner may cut: its candidates of one tensor, so that the problem is a chain."""
    cuts = linear_cuts(model)
    inner = [index for index in candidate_boundaries(model)[1:-1] if len(cuts[index].tensors) == 1]
    return (0, *inner, len(model.layers))


def profile_of(model: Model, device: str) -> Profile:
    """Return what a modelled device's profile says of a network."""
    board, boundaries = BOARDS[device], boundaries_of(model)
    written = [sum(model.tensors[name].bytes for name in layer.outputs) for layer in model.layers]
    seconds = [
        operations / board.operations + size / board.memory + board.launch_seconds
        for operations, size in zip(layer_operations(model), written, strict=True)
    ]
    segments = tuple(sum(seconds[a:b]) for a, b in zip(boundaries, boundaries[1:], strict=False))
    slower = _CODING_SLOWDOWNS[device]
    codings = tuple(
        TensorCoding(name, encoding, round(share * size), slower * size / encode, slower * size / decode)
        for name, size in tensors_of(model).items()
        for encoding, (share, encode, decode) in _CODINGS.items()
    )
    return Profile(
        model.sha256, device, 'modelled', 1, boundaries, segments, (0.0,) * (len(segments) - 1), board.preprocess_seconds,
        model=model.name, codings=codings,
    )  # fmt: skip


def tensors_of(model: Model) -> dict[str, float]:
    """Return the tensors that may cross a link, but for the picture, and their bytes."""
    cuts = linear_cuts(model)
    names = [tensor for index in boundaries_of(model)[:-1] for tensor in cuts[index].tensors]
    return {tensor.name: float(tensor.bytes) for tensor in (*names, *(model.tensors[name] for name in model.outputs))}


@functools.cache
def pipeline_of(name: str) -> Pipeline:
    """Return what the scheduler makes of a network on the simulated fleet."""
    model = model_of(name)
    return Pipeline(model, {device: profile_of(model, device) for device in BOARDS}, fleet())

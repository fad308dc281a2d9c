# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated fleet's devices and networks: seconds are modelled, graphs and tensors' sizes are the networks' own.

Pi and Jetson take for each layer, by its kind, what the boards' files say (`planning.fleet.board`), as an emulated board
does; ``emulate: {board: ...}``. The cloud's rates are assumed, and so are what images take on a core of a server, and what zstd
and lz4 make of a tensor, of each alike.
"""

from __future__ import annotations

import functools
from typing import Final

from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.cuts import candidate_boundaries, linear_cuts
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.planning.fleet.board import Board, board
from edge_dnn_partition.planning.fleet.fleet import Fleet, parse_fleet
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import TensorCoding
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.testbed.scenario import LINKS

MODELS: Final = ('vgg16', 'resnet18', 'mobilenetv2', 'efficientnet_b0', 'vit_b16')
IMAGE_BYTES: Final = 150_000
SOURCE: Final = 'pi'
BOARDS: Final = {
    'pi': board('raspberry_pi_4'),
    'jetson': board('jetson_agx_xavier_cpu'),
    'cloud': Board.model_validate({
        'what': 'a server', 'source': 'assumed', 'rows': (), 'elements_per_second': 25e9, 'layer_overhead': '0.02 ms',
        'multiply_adds_per_second': {'dense': 1e12, 'pointwise': 1e12, 'depthwise': 25e9}, 'other_slowdown': 1,
        'power': {'active': '60 W'},
    }),
}  # fmt: skip
_PREPROCESS_SECONDS: Final = 0.004
_CODINGS: Final = {'zstd': (0.8, 250e6, 600e6), 'lz4': (0.88, 450e6, 1500e6)}
"""Share of the bytes that is left, and bytes per second that a core of a server encodes and decodes."""


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
    played, boundaries = BOARDS[device], boundaries_of(model)
    seconds = played.layer_seconds(model)
    segments = tuple(sum(seconds[a:b]) for a, b in zip(boundaries, boundaries[1:], strict=False))
    slower = played.other_slowdown
    codings = tuple(
        TensorCoding(name, encoding, round(share * size), slower * size / encode, slower * size / decode)
        for name, size in tensors_of(model).items()
        for encoding, (share, encode, decode) in _CODINGS.items()
    )
    return Profile(
        model.sha256, device, 'modelled', 1, boundaries, segments, (0.0,) * (len(segments) - 1), slower * _PREPROCESS_SECONDS,
        model=model.name, codings=codings,
    )  # fmt: skip


def tensors_of(model: Model) -> dict[str, float]:
    """Return the tensors that may cross a link, but for the image, and their bytes."""
    cuts = linear_cuts(model)
    names = [tensor for index in boundaries_of(model)[:-1] for tensor in cuts[index].tensors]
    return {tensor.name: float(tensor.bytes) for tensor in (*names, *(model.tensors[name] for name in model.outputs))}


@functools.cache
def pipeline_of(name: str) -> Pipeline:
    """Return what the scheduler makes of a network on the simulated fleet."""
    model = model_of(name)
    return Pipeline(model, {device: profile_of(model, device) for device in BOARDS}, fleet())

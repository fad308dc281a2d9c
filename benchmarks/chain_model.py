# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A chain of equal convolutions, from which stages of a wanted length are cut: for measuring the testbed itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.cache import write_atomic

CHANNELS: Final = 96
SIDE: Final = 14
IMAGE_SIDE: Final = 2 * SIDE
_SEED: Final = 11


def build(path: Path, layers: int) -> Path:
    """Write a network of one entry layer and so many equal ones (3x3 convolution, ReLU), and its end.

    Input ``image`` [1, 3, 28, 28]; every tensor between two layers is [1, 96, 14, 14], 75 kB; output ``scores`` [1, 96].
    """
    random = np.random.default_rng(_SEED)
    weights: list[Any] = []
    nodes: list[Any] = []

    def conv(name: str, source: str, inputs: int, stride: int) -> str:
        bound = math.sqrt(6 / (9 * inputs))
        kernel = random.uniform(-bound, bound, (CHANNELS, inputs, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f'{name}.weight'))
        attributes: dict[str, Any] = {'kernel_shape': [3, 3], 'pads': [1] * 4, 'strides': [stride] * 2}
        nodes.append(helper.make_node('Conv', [source, f'{name}.weight'], [name], name=name, **attributes))
        nodes.append(helper.make_node('Relu', [name], [f'{name}.relu'], name=f'{name}.relu'))
        return f'{name}.relu'

    value = conv('entry', 'image', 3, 2)
    for index in range(layers):
        value = conv(f'layer{index}', value, CHANNELS, 1)
    nodes.append(helper.make_node('GlobalMaxPool', [value], ['pool'], name='pool'))
    nodes.append(helper.make_node('Flatten', ['pool'], ['scores'], name='scores', axis=1))
    graph = helper.make_graph(
        nodes, 'edge_dnn_partition_chain',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, IMAGE_SIDE, IMAGE_SIDE])],
        [helper.make_tensor_value_info('scores', TensorProto.FLOAT, [1, CHANNELS])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=7, opset_imports=[helper.make_opsetid('', 13)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, model.SerializeToString(deterministic=True))
    return path


def preprocessing() -> dict[str, Any]:
    """Return how the network wants its images, as ``Preprocessing.from_dict`` reads it."""
    return {'size': [IMAGE_SIDE, IMAGE_SIDE], 'layout': 'NCHW', 'colour': 'rgb', 'resize': 'stretch'}

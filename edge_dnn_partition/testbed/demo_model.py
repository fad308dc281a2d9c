# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's network, made from code: a camera-sized CNN with a light front and a heavy trunk.

It has the shape of a robot's perception network (a light front that reduces the image to
1/16, residual blocks there, an inception block and residual blocks at 1/32, one head that
scores the whole image and one that gives a map of it), and seeded weights in place of
trained ones: it is about time and bytes, and its results are for comparing. After a tenth of
its work there is one tensor of 56 kB, smaller than the JPEG that went in.

Every filter's weights sum to zero, so that what a filter passes on is contrast and not
brightness: otherwise random layers with ReLU give nearly the same result for every image.
"""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.cache import needed, write_atomic
from edge_dnn_partition.errors import UserError

Weights = np.ndarray[Any, np.dtype[np.float32]]

#: Old enough for the onnxruntime of a Jetson with JetPack 5.
_IR_VERSION: Final = 7
_OPSET: Final = 13


@dataclass(frozen=True)
class _Plan:
    """Sizes of one variant."""

    width: int
    height: int
    front: tuple[int, int, int]  # channels at 1/2, 1/4, 1/8
    neck: int  # channels that cross the cut at 1/16
    trunk: int
    trunk_blocks: int
    deep: int
    deep_blocks: int
    classes: int


SIZES: Final = {
    'demo': _Plan(640, 352, (24, 48, 96), 16, 96, 6, 128, 3, 16),
    'second': _Plan(512, 288, (24, 40, 80), 16, 80, 6, 112, 3, 12),
    'tiny': _Plan(320, 192, (8, 16, 32), 8, 48, 2, 48, 1, 8),
}


class _Builder:
    """Collects nodes and weights; each method appends an operator and returns its output."""

    def __init__(self, seed: int) -> None:
        # A bit generator's stream is guaranteed never to change; a Generator's methods are not.
        self._bits = np.random.PCG64(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def uniform(self, *shape: int, bound: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        raw = np.asarray(self._bits.random_raw(math.prod(shape)))
        return ((raw >> np.uint64(40)).astype(np.float64) / 2**23 - 1).reshape(shape) * bound

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, name: str, source: str, channels: tuple[int, int], kernel: int = 3, *, stride: int = 1,
             groups: int = 1, relu: bool = True, gain: float = 1.0) -> str:
        """Convolution, He initialised (uniform), each filter's weights summing to zero."""
        inputs, outputs = channels
        fan_in = inputs // groups * kernel**2
        weights = self.uniform(outputs, inputs // groups, kernel, kernel, bound=math.sqrt(6 / fan_in) * gain)
        weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
        bias = self.uniform(outputs, bound=0.05)
        result = self.node('Conv', name, source,
                           self.constant(f'{name}.weight', weights.astype(np.float32)),
                           self.constant(f'{name}.bias', bias.astype(np.float32)),
                           kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, strides=[stride] * 2,
                           group=groups)
        return self.node('Relu', f'{name}.relu', result) if relu else result

    def separable(self, name: str, source: str, channels: tuple[int, int], *, stride: int) -> str:
        depthwise = self.conv(f'{name}.depthwise', source, (channels[0], channels[0]), stride=stride,
                              groups=channels[0])
        return self.conv(f'{name}.pointwise', depthwise, channels, 1)

    def residual(self, name: str, source: str, channels: int) -> str:
        inner = self.conv(f'{name}.conv1', source, (channels, channels))
        outer = self.conv(f'{name}.conv2', inner, (channels, channels), relu=False, gain=0.5)
        return self.node('Relu', f'{name}.relu', self.node('Add', f'{name}.add', source, outer))

    def inception(self, name: str, source: str, inputs: int, outputs: int) -> str:
        """Halve the resolution in three branches that are then joined."""
        half, quarter = outputs // 2, outputs // 4
        wide = self.conv(f'{name}.wide', source, (inputs, half), 3, stride=2)
        squeeze = self.conv(f'{name}.squeeze', source, (inputs, quarter), 1)
        deep = self.conv(f'{name}.deep', squeeze, (quarter, quarter), 5, stride=2)
        pool = self.node('MaxPool', f'{name}.pool', source, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        pooled = self.conv(f'{name}.pooled', pool, (inputs, outputs - half - quarter), 1)
        return self.node('Concat', f'{name}.concat', wide, deep, pooled, axis=1)


def model_bytes(size: str = 'demo') -> bytes:
    """Return the network as the bytes of an ONNX file; the same ones every time.

    Input ``image`` [1, 3, height, width], normalised as ``preprocessing`` says; outputs
    ``scores`` [1, classes] and ``map`` [1, 4, height / 32, width / 32].

    :param size: ``demo`` (about 30 ms on one core of 2026) or ``tiny`` (about 1 ms, for tests).
    :raises UserError: if there is no such size.
    """
    plan = _plan(size)
    make = _Builder(seed=20260)
    value = make.conv('front.stem', 'image', (3, plan.front[0]), stride=2)
    value = make.separable('front.quarter', value, plan.front[:2], stride=2)
    value = make.separable('front.eighth', value, plan.front[1:], stride=2)
    value = make.separable('front.neck', value, (plan.front[2], plan.neck), stride=2)
    value = make.conv('trunk.entry', value, (plan.neck, plan.trunk))
    for index in range(plan.trunk_blocks):
        value = make.residual(f'trunk.block{index}', value, plan.trunk)
    value = make.inception('deep.entry', value, plan.trunk, plan.deep)
    for index in range(plan.deep_blocks):
        value = make.residual(f'deep.block{index}', value, plan.deep)
    make.conv('map', value, (plan.deep, 4), 1, relu=False)
    pooled = make.node('Flatten', 'head.flat', make.node('GlobalMaxPool', 'head.pool', value), axis=1)
    weights = make.uniform(plan.deep, plan.classes, bound=8 * math.sqrt(6 / plan.deep))
    weights -= weights.mean(axis=0, keepdims=True)
    make.node('Gemm', 'scores', pooled, make.constant('head.weight', weights.astype(np.float32)),
              make.constant('head.bias', np.zeros(plan.classes, np.float32)))
    cells = [1, 4, plan.height // 32, plan.width // 32]
    graph = helper.make_graph(
        make.nodes, f'edge_dnn_partition_{size}',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, plan.height, plan.width])],
        [helper.make_tensor_value_info('scores', TensorProto.FLOAT, [1, plan.classes]),
         helper.make_tensor_value_info('map', TensorProto.FLOAT, cells)],
        make.weights)
    model = helper.make_model(graph, producer_name='edge_dnn_partition', ir_version=_IR_VERSION,
                              opset_imports=[helper.make_opsetid('', _OPSET)])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def build(path: str | Path, *, size: str = 'demo') -> Path:
    """Write the network to a file, unless that holds it already.

    :raises UserError: if there is no such size.
    """
    target, content = Path(path), model_bytes(size)
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, content)
    return target


def cached(size: str = 'demo') -> Path:
    """Return the path of the network in the cache, under a name that changes with its content."""
    content = model_bytes(size)
    name = f'{size}-{hashlib.sha256(content).hexdigest()[:12]}.onnx'
    return needed(functools.partial(write_atomic, content=content), 'demo_model', name)


def preprocessing(size: str = 'demo') -> dict[str, Any]:
    """Return how the network wants its images, as ``Preprocessing.from_dict`` reads it.

    :raises UserError: if there is no such size.
    """
    plan = _plan(size)
    return {'size': [plan.width, plan.height], 'layout': 'NCHW', 'colour': 'rgb', 'resize': 'stretch',
            'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]}


def _plan(size: str) -> _Plan:
    if size not in SIZES:
        raise UserError(f'demo model of size {size!r}; there are {", ".join(SIZES)}')
    return SIZES[size]

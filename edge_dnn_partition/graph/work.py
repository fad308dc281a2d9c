# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a layer is: for spreading boundaries, and for what boards take that are modelled by its kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from edge_dnn_partition.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from edge_dnn_partition.graph.model import Model

_FREE = frozenset(
    [
        'Reshape',
        'Flatten',
        'Squeeze',
        'Unsqueeze',
        'Identity',
        'Dropout',
        'Shape',
        'Constant',
        'ConstantOfShape',
        'Cast',
        'QuantizeLinear',
        'DequantizeLinear',
    ]
)


_FUSED = frozenset(['Relu', 'Clip', 'LeakyRelu', 'HardSwish', 'HardSigmoid'])
"""What runtimes compute with the convolution before it."""


@dataclass(frozen=True)
class Work:
    """Arithmetic by kind.

    :param dense: multiply-adds of convolutions over several pixels and channels.
    :param pointwise: of convolutions of one pixel, and of matrix products.
    :param depthwise: of convolutions of each channel by itself.
    :param activations: elements that activation functions make.
    :param elements: elements that anything else makes or reads.
    :param products: how many convolutions and matrix products there are.
    """

    dense: float = 0.0
    pointwise: float = 0.0
    depthwise: float = 0.0
    activations: float = 0.0
    elements: float = 0.0
    products: int = 0


def layer_work(model: Model) -> tuple[Work, ...]:
    """Return the arithmetic of each layer."""
    shapes = _shapes(model.proto, model.tensors)
    found = []
    for members in model.layer_nodes:
        amounts: dict[str, float] = {}
        for node in (model.proto.graph.node[index] for index in members):
            kind = _kind(node, shapes)
            amounts[kind] = amounts.get(kind, 0.0) + _operations(node, shapes)
            if kind in ('dense', 'pointwise', 'depthwise'):
                amounts['products'] = amounts.get('products', 0) + 1
        found.append(Work(**amounts))  # type: ignore[arg-type]
    return tuple(found)


def layer_operations(model: Model) -> tuple[float, ...]:
    """Return, per layer, multiply-adds of convolutions and matrix products, and elements of the rest."""
    return operations(model.proto, model.tensors, model.layer_nodes)


def operations(
    proto: ModelProto, tensors: Mapping[str, TensorInfo], groups: Sequence[Sequence[int]],
) -> tuple[float, ...]:
    """Return the same per group of nodes, before they are layers."""
    shapes = _shapes(proto, tensors)
    return tuple(sum(_operations(proto.graph.node[index], shapes) for index in members) for members in groups)


def _shapes(proto: ModelProto, tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    shapes.update((name, tensor.shape) for name, tensor in tensors.items())
    return shapes


def _kind(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> str:
    kind = node.op_type
    if kind in _FUSED:
        return 'activations'
    if kind in ('MatMul', 'MatMulInteger', 'Gemm', 'QLinearMatMul'):
        return 'pointwise'
    if kind not in ('Conv', 'ConvInteger', 'QLinearConv', 'ConvTranspose'):
        return 'elements'
    weight = shapes.get(node.input[3 if kind == 'QLinearConv' else 1], ())
    channels = prod(shapes.get(node.input[0], ())[1:2])
    if len(weight) > 1 and weight[1] == 1 and channels > 1 and kind != 'ConvTranspose':
        return 'depthwise'
    return 'pointwise' if prod(weight[2:]) == 1 else 'dense'


def _operations(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> float:
    made = max((prod(shapes[name]) for name in node.output if name in shapes), default=1)
    read = [shapes.get(name, ()) for name in node.input]
    kind = node.op_type
    if kind in _FREE:
        return 0.0
    if kind in ('Conv', 'ConvInteger', 'QLinearConv'):
        weight = read[3 if kind == 'QLinearConv' else 1]
        return float(made * prod(weight[1:]))
    if kind == 'ConvTranspose':
        return float(prod(read[0]) * prod(read[1][1:]))
    if kind in ('MatMul', 'MatMulInteger') and read[0]:
        return float(made * read[0][-1])
    if kind == 'Gemm' and len(read[0]) == 2:
        transposed = any(attribute.name == 'transA' and attribute.i for attribute in node.attribute)
        return float(made * read[0][0 if transposed else 1])
    return float(max([made, *(prod(shape) for shape in read)]))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a layer is: a rough measure for spreading boundaries, not for predicting times."""

from __future__ import annotations

from math import prod

from onnx import NodeProto

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


def layer_operations(model: Model) -> tuple[float, ...]:
    """Return, per layer, multiply-adds of convolutions and matrix products, and elements of the rest."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.proto.graph.initializer}
    shapes.update((name, tensor.shape) for name, tensor in model.tensors.items())
    nodes = model.proto.graph.node
    return tuple(sum(_operations(nodes[index], shapes) for index in members) for members in model.layer_nodes)


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

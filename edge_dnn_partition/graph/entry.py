# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An operator in front of a stage that lets onnxruntime keep its blocked layout on x86.

onnxruntime's NCHWc optimiser brings convolutions into a blocked layout. A plain tensor
that enters a residual Add or an activation from outside keeps the whole run of equal
width out of it: each convolution is then framed by reorderings, and its Add and Relu
are no longer fused into it. A pooling over one element changes no value, and is an
operator that the optimiser knows how to block, so the plain tensor is brought into the
layout once, at the door.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from edge_dnn_partition.graph.tensor_info import TensorInfo

#: Channels of one block in the layout, on the widest instruction set.
_BLOCK_CHANNELS = 16
_HELD_BACK = frozenset({'Add', 'Sum', 'Mul', 'Relu', 'Sigmoid', 'Tanh', 'Clip', 'LeakyRelu', 'HardSigmoid', 'HardSwish'})


def add_entry_operators(
    proto: ModelProto, tensors: Mapping[str, TensorInfo], *, enabled: bool | None = None,
) -> None:
    """Put an identity in front of the inputs of a stage where that keeps the layout, in place.

    :param enabled: ``None`` for where this machine is an x86.
    """
    if enabled is None:
        enabled = platform.machine().lower() in ('x86_64', 'amd64', 'i686')
    if not enabled:
        return
    graph = proto.graph
    convolves = any(node.op_type == 'Conv' for node in graph.node)
    names = [value.name for value in graph.input if value.name in tensors]
    added = [_entry(graph, tensors[name]) for name in names
             if convolves and _is_blockable(tensors[name]) and _feeds_held_back(graph, name)]
    for position, node in enumerate(added):
        graph.node.insert(position, node)


def _is_blockable(tensor: TensorInfo) -> bool:
    return (tensor.dtype == TensorProto.FLOAT and len(tensor.shape) == 4 and not tensor.observed
            and tensor.shape[1] % _BLOCK_CHANNELS == 0 and 0 not in tensor.shape)


def _feeds_held_back(graph: GraphProto, name: str) -> bool:
    return any(node.op_type in _HELD_BACK and name in node.input for node in graph.node)


def _entry(graph: GraphProto, tensor: TensorInfo) -> NodeProto:
    inner = f'{tensor.name}__entered'
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == tensor.name:
                node.input[position] = inner
    return helper.make_node('MaxPool', [tensor.name], [inner], name=f'Entry_{tensor.name}', kernel_shape=[1, 1])

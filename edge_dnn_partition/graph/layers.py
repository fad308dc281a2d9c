# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From the nodes of a prepared graph to layers in order, with what each weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from onnx import ModelProto

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.closed_sets import Dataflow, levels
from edge_dnn_partition.graph.fusion import group_nodes
from edge_dnn_partition.graph.layering import Layering
from edge_dnn_partition.graph.model import Layer
from edge_dnn_partition.graph.nodes import NodeTable, tabulate
from edge_dnn_partition.graph.order import small_frontier_order
from edge_dnn_partition.graph.states import check_states
from edge_dnn_partition.graph.tensor_info import SENDABLE
from edge_dnn_partition.graph.tensors import example_kind, read_tensors, remark
from edge_dnn_partition.graph.work import operations


def build_layers(proto: ModelProto, states: Mapping[str, str]) -> Layering:
    """Find the layers of a prepared model; what a tensor's type keeps from being sent stays within a layer.

    :param states: outputs by the inputs that they become for the next frame.
    :raises ModelError: an output of the model is no tensor, or the states do not fit.
    """
    tensors = read_tensors(proto)
    check_states(proto, tensors, states)
    table = tabulate(proto)
    for name in (*table.inputs, *table.outputs):
        if name not in tensors:
            raise ModelError(f'{name} is an input or output of the model, and not a tensor of a known shape: '
                             'only such tensors can be sent between devices')
    ends = {*table.inputs, *table.outputs}
    sendable = {name: tensor for name, tensor in tensors.items() if tensor.dtype in SENDABLE or name in ends}
    groups = group_nodes(table, sendable, states)
    reads = [_reads(table, group) for group in groups]
    writes = [_writes(table, group, set(group)) for group in groups]
    members = [sorted({*group, *(copy for node in group for copy in table.copied[node])}) for group in groups]
    order = _order(reads, writes, sizes={name: tensor.bytes for name, tensor in tensors.items()}, outputs=table.outputs,
                   work=operations(proto, tensors, members))
    weight_bytes = {tensor.name: protos.initializer_bytes(tensor) for tensor in proto.graph.initializer}
    weight_bytes.update(
        (tensor.values.name, protos.initializer_bytes(tensor.values) + protos.initializer_bytes(tensor.indices))
        for tensor in proto.graph.sparse_initializer)
    layers, layer_nodes = [], []
    for index, number in enumerate(order):
        group = groups[number]
        own = members[number]
        layers.append(Layer(
            index=index, name=table.nodes[group[0]].name,
            operators=tuple(table.nodes[node].op_type for node in own),
            inputs=reads[number], outputs=writes[number],
            output_bytes=sum(tensors[name].bytes for name in writes[number]),
            weight_bytes=sum(weight_bytes[name] for name in _weights(table, group))
            + sum(_attribute_bytes(table, node) for node in own)))
        layer_nodes.append(tuple(own))
    return Layering(tuple(layers), tuple(layer_nodes), tuple(table.inputs), tuple(table.outputs), tensors, remark(proto),
                    example_kind(proto))


def _order(reads: Sequence[Sequence[str]], writes: Sequence[Sequence[str]], *, sizes: Mapping[str, int],
           outputs: Sequence[str], work: Sequence[float]) -> list[int]:  # fmt: skip
    """Return an order with few bytes at each share of the work: a list scheduler's, or one through better closed sets."""
    schedule = partial(small_frontier_order, reads, writes, sizes=sizes, outputs=outputs)
    first = schedule()
    flow = Dataflow(reads, writes, sizes=sizes, outputs=outputs, work=work)
    found = levels(flow, first, lambda levels: schedule(levels=levels))
    return first if found is None else schedule(levels=found)


def _reads(table: NodeTable, group: list[int]) -> tuple[str, ...]:
    made = {name for node in group for name in table.writes[node]}
    return tuple(dict.fromkeys(name for node in group for name in table.reads[node] if name not in made))


def _writes(table: NodeTable, group: list[int], members: set[int]) -> tuple[str, ...]:
    outputs = set(table.outputs)
    return tuple(name for node in group for name in table.writes[node]
                 if name in outputs or any(reader not in members for reader in table.readers.get(name, ())))


def _weights(table: NodeTable, group: list[int]) -> list[str]:
    return list(dict.fromkeys(name for node in group for name in table.weights[node]))


def _attribute_bytes(table: NodeTable, node: int) -> int:
    """Return the bytes of tensors in a node's attributes and inside its sub-graphs."""
    attributes = table.nodes[node].attribute
    if not attributes:
        return 0
    total = sum(protos.initializer_bytes(attribute.t) for attribute in attributes if attribute.HasField('t'))
    return total + sum(protos.initializer_bytes(tensor) for graph in protos.subgraphs(table.nodes[node])
                       for tensor in protos.all_tensors(graph))

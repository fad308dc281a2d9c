# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From the nodes of a prepared graph to layers in order, with what each weighs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onnx import ModelProto

from edge_dnn_partition.cache import keep
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.closed_sets import Dataflow, levels
from edge_dnn_partition.graph.fusion import group_nodes
from edge_dnn_partition.graph.model import Layer
from edge_dnn_partition.graph.nodes import NodeTable, tabulate
from edge_dnn_partition.graph.order import small_frontier_order
from edge_dnn_partition.graph.tensors import SENDABLE, TensorInfo
from edge_dnn_partition.graph.work import operations


@dataclass(frozen=True, eq=False)
class Layering:
    """The layers of a model in topological order, and the nodes of each."""

    layers: tuple[Layer, ...]
    layer_nodes: tuple[tuple[int, ...], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def build_layers(
    proto: ModelProto, tensors: Mapping[str, TensorInfo], order_file: Path, states: Mapping[str, str] | None = None
) -> Layering:
    """Find the layers of a prepared model.

    :param tensors: those of known shapes; what a type keeps from being sent stays within a layer.
    :param order_file: keeps the layers' order, which takes a second to find for a large model.
    :param states: outputs by the inputs that they become for the next frame.
    :raises ModelError: an output of the model is no tensor.
    """
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
    order = _kept(order_file, reads, writes)
    if order is None:
        order = _order(reads, writes, sizes={name: tensor.bytes for name, tensor in tensors.items()}, outputs=table.outputs,
                       work=operations(proto, tensors, members))
        keep(order_file, json.dumps(order).encode())
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
    return Layering(tuple(layers), tuple(layer_nodes), table.inputs, table.outputs)


def _kept(order_file: Path, reads: Sequence[Sequence[str]], writes: Sequence[Sequence[str]]) -> list[int] | None:
    """Return the order that a file holds; None: it holds no order of these layers."""
    try:
        order = json.loads(order_file.read_bytes())
        made: set[str] = set()
        later = {name for names in writes for name in names}
        for layer in order:
            made.update(writes[layer])
            if any(name in later and name not in made for name in reads[layer]):
                return None
    except (OSError, ValueError, TypeError, IndexError):
        return None
    return order if sorted(order) == list(range(len(reads))) else None


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

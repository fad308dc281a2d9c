# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Small questions about ONNX protobuf messages, sub-graphs of If, Loop and Scan included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from edge_dnn_partition.graph.tensor_info import tensor_bytes

#: Gives the file of an external location.
Locate = Callable[[str], Path]


def initializer_bytes(tensor: TensorProto) -> int:
    """Return the size of an initialiser's values, wherever they lie."""
    return tensor_bytes(tensor.data_type, tuple(tensor.dims))


def is_external(tensor: TensorProto) -> bool:
    """Tell whether the values lie in a file beside the model."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def external_entry(tensor: TensorProto) -> tuple[str, int, int]:
    """Return location, offset and length in bytes of values that lie outside."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    length = int(entries['length']) if 'length' in entries else initializer_bytes(tensor)
    return entries.get('location', ''), int(entries.get('offset', 0)), length


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that a node holds as attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def node_reads(node: NodeProto) -> tuple[str, ...]:
    """Return the names a node reads, once each: its inputs and what its sub-graphs capture."""
    names = dict.fromkeys(name for name in node.input if name)
    for graph in subgraphs(node):
        names.update(dict.fromkeys(captures(graph)))
    return tuple(names)


def node_writes(node: NodeProto) -> tuple[str, ...]:
    """Return the names of a node's outputs that exist."""
    return tuple(name for name in node.output if name)


def captures(graph: GraphProto) -> tuple[str, ...]:
    """Return the names that a sub-graph reads from the graphs around it."""
    own = {value.name for value in graph.input}
    own.update(tensor.name for tensor in graph.initializer)
    own.update(tensor.values.name for tensor in graph.sparse_initializer)
    outside: dict[str, None] = {}
    for node in graph.node:
        outside.update((name, None) for name in node_reads(node) if name not in own)
        own.update(node_writes(node))
    outside.update((value.name, None) for value in graph.output if value.name not in own)
    return tuple(outside)


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield every node, those of sub-graphs included."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def all_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every tensor stored in a graph: initialisers and attributes, at any depth."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.TENSORS:
                yield from attribute.tensors
        for inner in subgraphs(node):
            yield from all_tensors(inner)


def domains(nodes: Iterator[NodeProto]) -> set[str]:
    """Return the operator domains that nodes use; the standard one is ``''``."""
    return {'' if node.domain == 'ai.onnx' else node.domain for node in nodes}

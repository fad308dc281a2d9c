# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The nodes of a prepared graph and who reads what from whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.shapes import true_inputs

RANDOM = frozenset({'RandomNormal', 'RandomUniform', 'RandomNormalLike', 'RandomUniformLike',
                     'Bernoulli', 'Multinomial'})


@dataclass(frozen=True, eq=False)
class NodeTable:
    """Who reads what, with small nodes that are copied to each reader seen through.

    A node that is *copied* belongs to every layer that reads it: nodes that depend on
    weights only, and DequantizeLinear, so that what crosses a cut is the int8 tensor.

    * ``reads[i]``: the activations node ``i`` needs, those of copied nodes in their place;
    * ``weights[i]``: the initialisers it needs, likewise;
    * ``copied[i]``: the copied nodes it needs;
    * ``writes[i]``: its outputs; ``producer``: the node of a tensor;
    * ``readers``: the nodes (none of them copied) that read a tensor.
    """

    nodes: Sequence[NodeProto]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reads: tuple[tuple[str, ...], ...]
    weights: tuple[tuple[str, ...], ...]
    copied: tuple[tuple[int, ...], ...]
    writes: tuple[tuple[str, ...], ...]
    is_copied: tuple[bool, ...]
    producer: dict[str, int]
    readers: dict[str, tuple[int, ...]]


def tabulate(proto: ModelProto) -> NodeTable:
    """Read a prepared graph, whose nodes are sorted, in one pass."""
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    stored.update(tensor.values.name for tensor in graph.sparse_initializer)
    inputs = tuple(value.name for value in true_inputs(graph))
    outputs = tuple(dict.fromkeys(value.name for value in graph.output))
    producer: dict[str, int] = {}
    reads: list[tuple[str, ...]] = []
    weights: list[tuple[str, ...]] = []
    copied: list[tuple[int, ...]] = []
    writes: list[tuple[str, ...]] = []
    is_copied: list[bool] = []
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        needed: dict[str, None] = {}
        needed_weights: dict[str, None] = {}
        needed_copies: dict[int, None] = {}
        for name in protos.node_reads(node):
            maker = producer.get(name)
            if name in stored:
                needed_weights[name] = None
            elif maker is not None and is_copied[maker]:
                needed.update(dict.fromkeys(reads[maker]))
                needed_weights.update(dict.fromkeys(weights[maker]))
                needed_copies.update(dict.fromkeys((*copied[maker], maker)))
            else:
                needed[name] = None
        made = protos.node_writes(node)
        is_output = any(name in outputs for name in made)
        constant = not needed and not any(
            inner.op_type in RANDOM for inner in (node, *_inner_nodes(node)))
        is_copied.append(not is_output and (constant or _dequantizes(node, needed)))
        reads.append(tuple(needed))
        weights.append(tuple(needed_weights))
        copied.append(tuple(needed_copies))
        writes.append(made)
        producer.update((name, index) for name in made)
        if not is_copied[-1]:
            for name in needed:
                readers.setdefault(name, []).append(index)
    return NodeTable(
        nodes=graph.node, inputs=inputs, outputs=outputs, reads=tuple(reads), weights=tuple(weights),
        copied=tuple(copied), writes=tuple(writes), is_copied=tuple(is_copied), producer=producer,
        readers={name: tuple(indices) for name, indices in readers.items()})


def _inner_nodes(node: NodeProto) -> list[NodeProto]:
    return [inner for graph in protos.subgraphs(node) for inner in protos.all_nodes(graph)]


def _dequantizes(node: NodeProto, needed: dict[str, None]) -> bool:
    return node.op_type == 'DequantizeLinear' and len(needed) == 1

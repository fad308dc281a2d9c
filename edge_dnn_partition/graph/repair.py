# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Undoing what an optimiser leaves behind, and putting a graph into canonical form."""

from __future__ import annotations

import heapq

from onnx import GraphProto, ModelProto, NodeProto, helper

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos


def repair(proto: ModelProto, *, original: ModelProto) -> None:
    """Make an optimised model fit for splitting, in place.

    The original's IR version comes back, operator sets that no node needs go, every node has a
    name of its own, no output is a constant, and nodes are sorted.
    """
    graph = proto.graph
    _rename_generated(graph, original.graph)
    _name_nodes(graph)
    _make_outputs_computed(graph)
    proto.ir_version = original.ir_version
    proto.producer_name, proto.producer_version = original.producer_name, original.producer_version
    set_opsets(proto, original)
    sort_nodes(graph, 'the prepared model')
    if proto.ir_version < 4:
        present = {value.name for value in graph.input}
        graph.input.extend(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                           for tensor in graph.initializer if tensor.name not in present)


def set_opsets(proto: ModelProto, original: ModelProto) -> None:
    """Import the operator sets that the nodes need, with the original's versions where it has them."""
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    versions.update((entry.domain, entry.version) for entry in original.opset_import)
    if 'ai.onnx' in versions:
        versions.setdefault('', versions['ai.onnx'])
    nodes = list(protos.all_nodes(proto.graph))
    for function in proto.functions:
        nodes.extend(function.node)
    needed = protos.domains(iter(nodes)) | {''}
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(domain, versions[domain])
                              for domain in sorted(needed) if domain in versions)


def sort_nodes(graph: GraphProto, where: str) -> None:
    """Sort a graph's nodes topologically, keeping the given order where it is one.

    :raises ModelError: a cycle, a tensor with two producers, or one with none.
    """
    producer: dict[str, int] = {}
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    known.update(tensor.values.name for tensor in graph.sparse_initializer)
    for index, node in enumerate(graph.node):
        for name in protos.node_writes(node):
            if name in producer or name in known:
                raise ModelError(f'{where} computes {name} twice: export the model again')
            producer[name] = index
    readers: list[list[int]] = [[] for _ in graph.node]
    waiting = [0] * len(graph.node)
    for index, node in enumerate(graph.node):
        for name in protos.node_reads(node):
            if name in producer:
                readers[producer[name]].append(index)
                waiting[index] += 1
            elif name not in known:
                raise ModelError(f'{where}: {label(node)} reads {name}, which nothing computes: export the model again')
    for value in graph.output:
        if value.name not in producer and value.name not in known:
            raise ModelError(f'{where}: nothing computes the output {value.name}: export the model again')
    ready = [index for index, count in enumerate(waiting) if not count]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        stuck = next(node for node, count in zip(graph.node, waiting, strict=True) if count)
        raise ModelError(f'{where} has a cycle through {label(stuck)}: a model must be free of them; export it again')
    if order != sorted(order):
        nodes = [NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
        del graph.node[:]
        graph.node.extend(nodes)


def name_apart(graph: GraphProto) -> None:
    """Give nodes of the same name names of their own, at any depth, in place: onnxruntime refuses a model with two."""
    taken: set[str] = set()
    names = {node.name for node in graph.node}
    for node in graph.node:
        if node.name in taken:
            count = 2
            while f'{node.name}_{count}' in names:
                count += 1
            node.name = f'{node.name}_{count}'
            names.add(node.name)
        elif node.name:
            taken.add(node.name)
        for inner in protos.subgraphs(node):
            name_apart(inner)


def drop_unread(graph: GraphProto) -> None:
    """Take out nodes of a sorted graph whose results nobody reads, in place."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(protos.node_reads(node))
            kept.append(NodeProto.FromString(node.SerializeToString()))
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(reversed(kept))


def lift_constants(graph: GraphProto) -> None:
    """Turn Constant nodes whose values lie outside the graph into initialisers, in place."""
    lifted = [node for node in graph.node if node.op_type == 'Constant' and any(
        attribute.HasField('t') and protos.is_external(attribute.t) for attribute in node.attribute)]  # fmt: skip
    if not lifted:
        return
    for node in lifted:
        tensor = graph.initializer.add()
        tensor.CopyFrom(next(attribute.t for attribute in node.attribute if attribute.HasField('t')))
        tensor.name = node.output[0]
    names = {node.output[0] for node in lifted}
    kept = [NodeProto.FromString(node.SerializeToString()) for node in graph.node if not names.intersection(node.output)]
    del graph.node[:]
    graph.node.extend(kept)


def label(node: NodeProto) -> str:
    """Return how to call a node in a message."""
    return f'{node.op_type} {node.name}' if node.name else f'{node.op_type} making {", ".join(node.output)}'


def _name_nodes(graph: GraphProto) -> None:
    taken: set[str] = set()
    for node in graph.node:
        base = node.name or f'{node.op_type}_{next(iter(protos.node_writes(node)), "")}'
        name, count = base, 1
        while name in taken:
            count += 1
            name = f'{base}_{count}'
        node.name = name
        taken.add(name)


def _rename_generated(graph: GraphProto, original: GraphProto) -> None:
    """Rename tensors that the optimiser made up, so that it can make them up again for a stage.

    Its generator of unique names overlooks initialisers that bear one of its names already.
    """
    settled = {value.name for value in (*original.input, *original.output)}
    settled.update(tensor.name for tensor in original.initializer)
    settled.update(name for node in protos.all_nodes(original) for name in node.output)
    renamed: dict[str, str] = {}
    for name in (*(tensor.name for tensor in graph.initializer), *(name for node in graph.node for name in node.output)):
        if name and name not in settled:
            renamed[name] = f'{name}.prepared'
    if not renamed:
        return
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in graph.node:
        for position, name in enumerate(node.output):
            node.output[position] = renamed.get(name, name)
    for node in protos.all_nodes(graph):
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    for entry in (*graph.input, *graph.value_info):
        entry.name = renamed.get(entry.name, entry.name)


def _make_outputs_computed(graph: GraphProto) -> None:
    """Let an Identity make each output that is a constant, so that some layer computes it."""
    constant = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.output:
        if value.name not in constant:
            continue
        inner = f'{value.name}__constant'
        for node in protos.all_nodes(graph):
            for position, read in enumerate(node.input):
                if read == value.name:
                    node.input[position] = inner
        constant[value.name].name = inner
        for entry in graph.input:
            if entry.name == value.name:
                entry.name = inner
        graph.node.append(helper.make_node('Identity', [inner], [value.name], name=f'Identity_{value.name}'))

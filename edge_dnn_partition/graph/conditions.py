# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""If nodes whose condition follows from the shapes: the branch that is taken replaces them.

Exporters write "squeeze this axis if its size is 1" as an If. With the shapes fixed, the branch that is not taken need not
be valid any more, and onnxruntime, which checks both, refuses the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.nodes import RANDOM

_SHAPES: Final = frozenset({'Shape', 'Size', 'Constant'})
_MOST_ROUNDS: Final = 64


def fold_conditions(proto: ModelProto, evaluate: Callable[[ModelProto, list[str]], Mapping[str, Any]]) -> None:
    """Replace every If of the outermost graph that the shapes of the inputs settle, in place; the nodes are sorted.

    :param evaluate: runs a model on any input and returns the named outputs; what it raises is left to the caller.
    """
    for _ in range(_MOST_ROUNDS):
        graph = proto.graph
        settled = _settled(graph)
        found = [node for node in graph.node if node.op_type == 'If' and node.input[0] in settled]
        waiting = {name for node in found for name in node.output}
        conditions = list(dict.fromkeys(node.input[0] for node in found))
        ready = [name for name in conditions
                 if not any(waiting.intersection(graph.node[index].output) for index in _ancestors(graph, name))]  # fmt: skip
        if not ready:
            return
        values = evaluate(_up_to(proto, ready), ready)
        _inline(graph, {name: bool(values[name].reshape(-1)[0]) for name in ready})


def _settled(graph: GraphProto) -> set[str]:
    """Return the tensors that depend on nothing but weights and shapes."""
    settled = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        reads = protos.node_reads(node)
        if node.op_type in _SHAPES or (node.op_type not in RANDOM and reads and settled.issuperset(reads)):
            settled.update(protos.node_writes(node))
    return settled


def _ancestors(graph: GraphProto, name: str) -> list[int]:
    """Return the positions of the nodes that a tensor needs, the last first."""
    needed, found = {name}, []
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if needed.intersection(node.output):
            found.append(index)
            needed.update(protos.node_reads(node))
    return found


def _up_to(proto: ModelProto, names: Collection[str]) -> ModelProto:
    graph = proto.graph
    nodes = [graph.node[index] for index in sorted({index for name in names for index in _ancestors(graph, name)})]
    read = {name for node in nodes for name in protos.node_reads(node)} | set(names)
    part = ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    part.graph.CopyFrom(GraphProto(
        name='conditions', node=nodes, input=[value for value in graph.input if value.name in read],
        initializer=[tensor for tensor in graph.initializer if tensor.name in read],
        output=[ValueInfoProto(name=name) for name in names]))  # fmt: skip
    part.graph.sparse_initializer.extend(
        tensor for tensor in graph.sparse_initializer if tensor.values.name in read)
    return part


def _inline(graph: GraphProto, values: Mapping[str, bool]) -> None:
    taken = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    taken.update(name for node in protos.all_nodes(graph) for name in node.output)
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != 'If' or node.input[0] not in values:
            nodes.append(NodeProto.FromString(node.SerializeToString()))
            continue
        wanted = 'then_branch' if values[node.input[0]] else 'else_branch'
        branch = GraphProto()
        branch.CopyFrom(next(attribute.g for attribute in node.attribute if attribute.name == wanted))
        _rename(branch, dict(zip((value.name for value in branch.output), node.output, strict=False)), taken)
        graph.initializer.extend(branch.initializer)
        graph.sparse_initializer.extend(branch.sparse_initializer)
        nodes += branch.node
        nodes += [helper.make_node('Identity', [value.name], [name])
                  for value, name in zip(branch.output, node.output, strict=False) if name and value.name != name]  # fmt: skip
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(branch: GraphProto, outputs: Mapping[str, str], taken: set[str]) -> None:
    """Give a branch's tensors names that are free outside it, and those that nodes of it make for its ends the ends' names."""
    made = [name for node in branch.node for name in protos.node_writes(node)]
    stored = [tensor.name for tensor in branch.initializer] + [tensor.values.name for tensor in branch.sparse_initializer]
    renamed = {name: outputs[name] for name in made if outputs.get(name)}
    for name in (*made, *stored):
        if name in renamed:
            continue
        count = 2
        while (free := f'{name}_{count}') in taken:
            count += 1
        renamed[name] = free
        taken.add(free)
    for tensor in branch.initializer:
        tensor.name = renamed[tensor.name]
    for sparse in branch.sparse_initializer:
        sparse.values.name = renamed[sparse.values.name]
    for node in branch.node:
        for position, name in enumerate(node.output):
            node.output[position] = renamed.get(name, name)
    for node in protos.all_nodes(branch):
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    for value in branch.output:
        value.name = renamed.get(value.name, value.name)

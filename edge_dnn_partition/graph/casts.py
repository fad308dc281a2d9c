# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Casts to and from 16 bits: the author's stay, and those that onnxruntime adds for its own CPU kernels go.

onnxruntime's CPU kernels compute most operators in 32 bits only, so it puts a Cast before and behind each operator in 16
bits, and then merges these with the author's own, which are gone from what it saves. So it does not see the author's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from edge_dnn_partition.graph import protos

HALF: Final = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_INSERTED: Final = 'InsertedPrecisionFreeCast_'


def hide_casts(proto: ModelProto) -> list[NodeProto]:
    """Cut the graph open, in place, at the casts to and from 16 bits of what is not constant.

    What such a Cast makes becomes an input, and what it reads an output.

    :returns: the casts, for `restore_casts`.
    """
    graph = proto.graph
    if not any(node.op_type == 'Cast' for node in graph.node) or not _has_half(graph):
        return []
    try:
        inferred = onnx.shape_inference.infer_shapes(proto).graph
    except Exception:  # onnx's own exceptions share no base class but this one  # noqa: BLE001
        return []
    known = {value.name: value for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    constant = {tensor.name for tensor in graph.initializer}
    hidden, kept = [], []
    for node in graph.node:
        if all(name in constant for name in protos.node_reads(node)):
            constant.update(node.output)
            kept.append(node)
        elif _is_between_floats(node, known):
            hidden.append(node)
        else:
            kept.append(node)
    if not hidden:
        return []
    made = {node.output[0] for node in hidden}
    outputs = [value for value in graph.output if value.name not in made]
    present = {value.name for value in (*graph.input, *outputs)} | made
    read = dict.fromkeys(node.input[0] for node in hidden if node.input[0] not in present)
    ends = [*outputs, *(known[name] for name in read)]
    begins = [_cast_info(node, known[node.input[0]]) for node in hidden]
    _replace(graph.node, kept)
    _replace(graph.output, ends)
    graph.input.extend(begins)
    return [NodeProto.FromString(node.SerializeToString()) for node in hidden]


def restore_casts(graph: GraphProto, hidden: Sequence[NodeProto], original: GraphProto) -> None:
    """Put back what `hide_casts` took out; the nodes are to be sorted after it.

    :param original: with the ends that the graph had before.
    """
    if not hidden:
        return
    made = {node.output[0] for node in hidden}
    _replace(graph.input, [value for value in graph.input if value.name not in made])
    _replace(graph.output, original.output)
    graph.node.extend(hidden)
    del graph.value_info[:]


def drop_inserted_casts(graph: GraphProto, original: GraphProto) -> None:
    """Take out the casts that onnxruntime put around nodes without a kernel, at any depth.

    It names what it inserts after the tensor that was there, which gets its place back. A model that it has saved before
    has such names of its own, and keeps them all.
    """
    if any(name.startswith(_INSERTED) for node in protos.all_nodes(original) for name in (node.name, *node.output)):
        return
    if not _take_out(graph):
        return
    for node in protos.all_nodes(graph):
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = name.removeprefix(_INSERTED)
    del graph.value_info[:]


def _take_out(graph: GraphProto) -> bool:
    kept = [node for node in graph.node if not (node.op_type == 'Cast' and node.name.startswith(_INSERTED))]
    changed = len(kept) != len(graph.node)
    if changed:
        _replace(graph.node, kept)
    for node in graph.node:
        for inner in protos.subgraphs(node):
            changed |= _take_out(inner)
    return changed


def _has_half(graph: GraphProto) -> bool:
    return (any(value.type.tensor_type.elem_type in HALF for value in graph.input)
            or any(tensor.data_type in HALF for tensor in protos.all_tensors(graph))
            or any(_target(node) in HALF for node in protos.all_nodes(graph) if node.op_type == 'Cast'))


def _target(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == 'to'), TensorProto.UNDEFINED)


def _is_between_floats(node: NodeProto, known: dict[str, ValueInfoProto]) -> bool:
    if node.op_type != 'Cast' or node.domain not in ('', 'ai.onnx') or node.input[0] not in known:
        return False
    kinds = {known[node.input[0]].type.tensor_type.elem_type, _target(node)}
    return bool(kinds & HALF) and kinds <= HALF | {TensorProto.FLOAT, TensorProto.DOUBLE}


def _cast_info(node: NodeProto, source: ValueInfoProto) -> ValueInfoProto:
    info: ValueInfoProto = ValueInfoProto.FromString(source.SerializeToString())
    info.name = node.output[0]
    info.type.tensor_type.elem_type = _target(node)
    return info


def _replace(field: object, messages: object) -> None:
    """Let a repeated field hold those messages, which may be its own."""
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]  # type: ignore[attr-defined]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Stages: a convex set of layers as an ONNX model of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_dnn_partition.cache import write_atomic
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.prepare import prepared_weights

if TYPE_CHECKING:
    import onnx

    from edge_dnn_partition.graph import protos

#: A model whose weights are more bytes than this keeps them in a file of their own: a protobuf
#: message ends at 2 GiB, and building one takes three times its size in memory.
EMBED_AT_MOST_BYTES = 1 << 29


@dataclass(frozen=True)
class StageFile:
    """A stage on disk and the names of its tensors, in the order of the file."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def stage_boundary(model: Model, layers: Collection[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tensors that a stage of those layers reads from outside and those it makes for outside.

    :raises ModelError: no layers, unknown ones, or a set that is not convex: one of
        its layers needs a layer outside that itself needs one inside.
    """
    inside = _checked(model, layers)
    made = {name for index in inside for name in model.layers[index].outputs}
    needed_outside = set(model.outputs)
    tainted: set[str] = set()  # what depends on the stage through layers outside it
    for layer in model.layers:
        if layer.index in inside:
            for name in layer.inputs:
                if name in tainted:
                    raise ModelError(
                        f'these layers cannot be one stage: layer {layer.index} ({layer.name}) needs {name}, '
                        'which is made outside the stage from what the stage makes; take the layers between in')
        else:
            needed_outside.update(layer.inputs)
            if any(name in made or name in tainted for name in layer.inputs):
                tainted.update(layer.outputs)
    reads = dict.fromkeys(name for index in sorted(inside) for name in model.layers[index].inputs if name not in made)
    writes = [name for index in sorted(inside) for name in model.layers[index].outputs if name in needed_outside]
    return tuple(reads), tuple(writes)


def extract_stage(
    model: Model, layers: Collection[int], path: str | os.PathLike[str], *, entry_operators: bool | None = None,
    embed_at_most: int = EMBED_AT_MOST_BYTES,
) -> StageFile:
    """Write the stage of any convex set of layers as a valid ONNX file with only its own weights.

    The file has the original's IR version and operator sets. A reader sees the old file or the new one.

    :param entry_operators: whether to put operators in front that let onnxruntime keep
        its blocked layout (see :mod:`edge_dnn_partition.graph.entry`); by default where
        this machine is an x86.
    :param embed_at_most: bytes of weights in the file; more go into ``<path>.data`` beside it, copied range by range.
    :raises ModelError: the layers cannot be a stage, or the model's weights are gone.
    """
    from edge_dnn_partition.graph.entry import add_entry_operators
    from edge_dnn_partition.graph.weights import copy_weights, external_bytes

    path = Path(path)
    inputs, outputs = stage_boundary(model, layers)
    proto = _stage_proto(model, sorted(set(layers)), inputs, outputs)
    add_entry_operators(proto, model.tensors, enabled=entry_operators)

    def weights_at(location: str) -> Path:
        if model.weights is not None:
            return model.weights(location)
        return prepared_weights(model.path.parent, model.source_path, location)

    path.parent.mkdir(parents=True, exist_ok=True)
    if external_bytes(proto) <= embed_at_most:
        copy_weights(proto, weights_at)
    else:
        _write_weights(proto, weights_at, path.with_name(path.name + '.data'))
    write_atomic(path, proto.SerializeToString(deterministic=True))
    return StageFile(path, inputs, outputs)


def stage_weights(model: Model, layers: Collection[int]) -> Mapping[str, int]:
    """Return where the graph says that a stage's large weights lie, each with its bytes; of `by_hash` those are hashes.

    :raises ModelError: the layers cannot be a stage.
    """
    from edge_dnn_partition.graph import protos

    inputs, outputs = stage_boundary(model, layers)
    proto = _stage_proto(model, sorted(set(layers)), inputs, outputs)
    external = filter(protos.is_external, protos.all_tensors(proto.graph))
    return {location: length for location, _, length in map(protos.external_entry, external)}


def extract_stages(
    model: Model, cuts: Sequence[int], directory: str | os.PathLike[str],
) -> tuple[StageFile, ...]:
    """Write the stages between the given linear cuts as ``stage_0.onnx``, ``stage_1.onnx``, ….

    :param cuts: indices of inner cuts, ascending: each from 1 to the number of layers - 1.
    :raises ModelError: a cut that is not one of those.
    """
    last = len(model.layers)
    bounds = [0, *cuts, last]
    for cut in cuts:
        if not 0 < cut < last:
            allowed = f'from 1 to {last - 1}' if last > 1 else 'none, since it has one layer'
            raise ModelError(f'there is no cut {cut} inside {model.name}: its inner cuts are {allowed}')
    for before, after in zip(bounds, bounds[1:], strict=False):
        if after <= before:
            raise ModelError(f'the cuts {", ".join(map(str, cuts))} are not in ascending order: '
                             'give each once, the earliest first')
    return tuple(
        extract_stage(model, range(start, stop), Path(directory) / f'stage_{number}.onnx')
        for number, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)))


def _checked(model: Model, layers: Collection[int]) -> frozenset[int]:
    if not layers:
        raise ModelError('a stage needs at least one layer')
    for index in layers:
        if not 0 <= index < len(model.layers):
            raise ModelError(f'there is no layer {index}: {model.name} has layers 0 to {len(model.layers) - 1}')
    return frozenset(layers)


def _stage_proto(
    model: Model, layers: Sequence[int], inputs: Sequence[str], outputs: Sequence[str],
) -> onnx.ModelProto:
    import onnx
    from onnx import helper

    from edge_dnn_partition.graph import protos
    from edge_dnn_partition.graph.repair import set_opsets
    from edge_dnn_partition.graph.tensors import value_info

    whole = model.proto
    proto = onnx.ModelProto(ir_version=whole.ir_version, producer_name=whole.producer_name,
                            producer_version=whole.producer_version, domain=whole.domain,
                            model_version=whole.model_version)
    graph = proto.graph
    graph.name = f'{whole.graph.name or model.name}_{layers[0]}_{layers[-1]}'
    graph.input.extend(value_info(model.tensors[name]) for name in inputs)
    graph.output.extend(value_info(model.tensors[name]) for name in outputs)
    members = sorted({node for layer in layers for node in model.layer_nodes[layer]})
    graph.node.extend(whole.graph.node[node] for node in members)
    read = {name for node in graph.node for name in protos.node_reads(node)}
    graph.initializer.extend(tensor for tensor in whole.graph.initializer if tensor.name in read)
    graph.sparse_initializer.extend(
        tensor for tensor in whole.graph.sparse_initializer if tensor.values.name in read)
    if proto.ir_version < 4:
        graph.input.extend(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                           for tensor in graph.initializer)
    graph.quantization_annotation.extend(
        annotation for annotation in whole.graph.quantization_annotation if annotation.tensor_name in read)
    called = {(node.domain, node.op_type) for node in protos.all_nodes(graph)}
    proto.functions.extend(function for function in whole.functions if (function.domain, function.name) in called)
    set_opsets(proto, whole)
    return proto


def _write_weights(proto: onnx.ModelProto, weights_at: protos.Locate, path: Path) -> None:
    from edge_dnn_partition.graph.weights import move_weights

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as stream:
            move_weights(proto, weights_at, stream, path.name)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

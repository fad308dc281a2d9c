# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The preparation of a model itself, see `prepare`; onnx and onnxruntime are loaded with it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import onnxruntime as ort

from edge_dnn_partition.cache import check_room
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.casts import drop_inserted_casts, hide_casts, restore_casts
from edge_dnn_partition.graph.conditions import fold_conditions
from edge_dnn_partition.graph.feeds import random_feeds
from edge_dnn_partition.graph.outline import INLINE_BYTES
from edge_dnn_partition.graph.prepare import DETACH_ABOVE_BYTES, WEIGHTS_FILE, load_prepared, prepared_weights
from edge_dnn_partition.graph.reference import Reference
from edge_dnn_partition.graph.repair import drop_unread, lift_constants, name_apart, repair, sort_nodes
from edge_dnn_partition.graph.shapes import fix_shapes
from edge_dnn_partition.graph.source import Source, read_source
from edge_dnn_partition.graph.tensors import add_remark, annotate, input_infos
from edge_dnn_partition.graph.trial import onnxruntime_message, open_session, run_once

#: Left to the sessions that run the stages: it wraps each product of a transformer in two Reshapes, between
#: which a cut would be worthless, and onnxruntime 1.32 then fails to fuse the same model a second time
#: ("Attempt to replace the existing tensor").
_DISABLED_OPTIMISERS = ['MatMulAddFusion']


def prepare_into(folder: str, path: str, sha256: str, shapes: Mapping[str, Sequence[int]],
                 usual: Mapping[str, Sequence[int]]) -> None:  # fmt: skip
    """Prepare a model into an empty folder; to be called in a process of its own.

    Where the result of the optimisation cannot be loaded, or computes something else, the author's nodes are kept, and the
    metadata say why.

    :raises ModelError: as `prepare` does, or the file is no longer that of the hash.
    """
    source = read_source(path)
    if source.sha256 != sha256:
        raise ModelError(f'{path} changed while it was read: load it again')

    def weights_at(location: str) -> Path:
        return prepared_weights(Path(folder), source.path, location)

    whole = onnx.ModelProto()
    whole.CopyFrom(source.proto)
    fix_shapes(whole, shapes, usual)
    sort_nodes(whole.graph, path)
    name_apart(whole.graph)

    def evaluate(part: onnx.ModelProto, names: list[str]) -> dict[str, Any]:
        session = open_session(part, source.weights_at, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
        return dict(zip(names, run_once(session, names, random_feeds(input_infos(whole)), about=path), strict=True))

    with suppress(Exception):  # what cannot be run here is refused below
        fold_conditions(whole, evaluate)
    try:
        prepared = _prepared(Path(folder), source, whole, weights_at)
    except ModelError as refusal:
        raise _of_sizes(source, whole, refusal) from None
    Path(folder, 'model.onnx').write_bytes(prepared.SerializeToString(deterministic=True))


def _prepared(folder: Path, source: Source, whole: onnx.ModelProto, weights_at: protos.Locate) -> onnx.ModelProto:
    path = str(source.path)
    reference = Reference(whole, source.weights_at, about=path)
    remark = ''
    try:
        prepared = _optimised(folder, source, whole)
        annotate(prepared, about=path, weights_at=weights_at)
        remark = reference.objection(prepared, weights_at, runs=_is_small(source))
    except ModelError as refusal:
        if not reference.loads:
            raise
        remark = str(refusal)
    if remark:
        prepared = _plain(whole)
        (folder / WEIGHTS_FILE).unlink(missing_ok=True)
        annotate(prepared, about=path, weights_at=weights_at)
        add_remark(prepared, remark)
    return prepared


def _of_sizes(source: Source, whole: onnx.ModelProto, refusal: ModelError) -> ModelError:
    """Return a refusal that names the sizes that were given, if with them alone the model is no good."""
    left_open = {value.name for value in source.proto.graph.input if any(
        size.dim_value < 1 for size in value.type.tensor_type.shape.dim)}  # fmt: skip
    given = {value.name: 'x'.join(str(size.dim_value) for size in value.type.tensor_type.shape.dim) for value in whole.graph.input}
    sizes = ', '.join(f'{name} {size}' for name, size in given.items() if name in left_open)
    if not sizes or not Reference(source.proto, source.weights_at, about=str(source.path)).loads:
        return refusal
    try:
        open_session(whole, source.weights_at)
    except Exception as error:  # onnxruntime's own exceptions share no base class but this one  # noqa: BLE001
        why = onnxruntime_message(error)[:300]
    else:
        why = str(refusal)
    return ModelError(f'{source.path} cannot have inputs of the sizes {sizes} ({why}): correct shapes under model in the fleet '
                      'file, --shape, or the size in the preprocessing')


def _is_small(source: Source) -> bool:
    return source.external_bytes <= DETACH_ABOVE_BYTES


def _plain(whole: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model as its author wrote it, fit for splitting."""
    plain = onnx.ModelProto()
    plain.CopyFrom(onnx.inliner.inline_local_functions(whole) if whole.functions else whole)
    del plain.graph.value_info[:]  # a converter to 16 bits leaves the old types there
    drop_unread(plain.graph)
    lift_constants(plain.graph)
    repair(plain, original=whole)
    return plain


def _optimised(folder: Path, source: Source, whole: onnx.ModelProto) -> onnx.ModelProto:
    """Return what onnxruntime makes of a model, fit for splitting."""
    proto = onnx.ModelProto()
    proto.CopyFrom(whole)
    lift_constants(proto.graph)
    hidden = hide_casts(proto)
    detached = _detach(proto) if not _is_small(source) else {}
    optimised = _optimise(folder, source, proto)
    _reattach(optimised.graph, detached)
    drop_inserted_casts(optimised.graph, whole.graph)
    restore_casts(optimised.graph, hidden, whole.graph)
    repair(optimised, original=whole)
    return optimised


def _detach(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Turn the external weights into inputs, which no optimisation reads.

    :returns: the initialisers that became inputs.
    """
    detached: dict[str, onnx.TensorProto] = {}
    kept = []
    named = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        if not protos.is_external(tensor) or protos.initializer_bytes(tensor) <= INLINE_BYTES:
            kept.append(copy)
            continue
        detached[tensor.name] = copy
        if tensor.name not in named:
            proto.graph.input.append(onnx.helper.make_tensor_value_info(
                tensor.name, tensor.data_type, list(tensor.dims)))
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return detached


def _optimise(folder: Path, source: Source, proto: onnx.ModelProto) -> onnx.ModelProto:
    options = ort.SessionOptions()
    optimised = folder / 'optimised.onnx'
    options.optimized_model_filepath = str(optimised)
    options.add_session_config_entry(
        'session.optimized_model_external_initializers_file_name', WEIGHTS_FILE)
    options.add_session_config_entry(
        'session.optimized_model_external_initializers_min_size_in_bytes', str(INLINE_BYTES + 1))
    try:
        open_session(proto, source.weights_at, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, options,
                     disabled_optimizers=_DISABLED_OPTIMISERS)
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's own exceptions share no base class but this one  # noqa: BLE001
        check_room(folder, proto.ByteSize())
        raise ModelError(_refusal(source.path, proto, error)) from None
    result = load_prepared(optimised)
    ends = [sum(protos.external_entry(t)[1:]) for t in result.graph.initializer
            if protos.is_external(t) and protos.external_entry(t)[0] == WEIGHTS_FILE]
    if ends and (folder / WEIGHTS_FILE).stat().st_size < max(ends):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    optimised.unlink()
    return result


def _refusal(path: Path, proto: onnx.ModelProto, error: Exception) -> str:
    text = onnxruntime_message(error)
    for pattern in (r'No Op registered for (\S+)', r'Fatal error: (\S+?)\(-?\d+\) is not a registered',
                    r'Could not find an implementation for (\S+?)\(\d+\)'):
        if match := re.search(pattern, text):
            return (f'{path} uses the operator {match[1]}, which onnxruntime {ort.__version__} cannot run on a CPU: '
                    'export the model without it, or for an opset that has it')
    if 'opset' in text.lower() and 'support' in text.lower():
        return f'{path} is newer than onnxruntime {ort.__version__} understands: {text}; export it for an older opset'
    try:
        onnx.checker.check_model(proto)
    except Exception as finding:  # the checker's message is the better one where it finds something  # noqa: BLE001
        if 'should be stored in' not in str(finding):  # the weights are not in it
            text = ' '.join(str(finding).split())
    return f'{path} is not a valid model: {text[:400]}; export it again'


def _reattach(graph: onnx.GraphProto, detached: Mapping[str, onnx.TensorProto]) -> None:
    if not detached:
        return
    inputs = [onnx.ValueInfoProto.FromString(value.SerializeToString())
              for value in graph.input if value.name not in detached]
    del graph.input[:]
    graph.input.extend(inputs)
    read = {name for node in graph.node for name in protos.node_reads(node)}
    graph.initializer.extend(tensor for name, tensor in detached.items() if name in read)

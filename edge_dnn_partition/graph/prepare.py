# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Preparing a model once, by onnxruntime's BASIC optimisation, and keeping the result.

BASIC is the level whose result stays portable: EXTENDED adds operators of
onnxruntime's own and ALL binds the file to one instruction set. The prepared
file has the original's IR version and operator sets. Its large weights lie in
a file beside it, so that reading it again costs no more than reading the graph.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edge_dnn_partition.cache import check_room, needed
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.isolation import call_isolated
from edge_dnn_partition.graph.repair import repair, sort_nodes
from edge_dnn_partition.graph.shapes import fix_shapes
from edge_dnn_partition.graph.source import Source, read_source
from edge_dnn_partition.graph.tensors import annotate
from edge_dnn_partition.graph.weights import copy_weights

#: Raised when this module's result changes, so that old files in the cache are not taken for new ones.
PREPARATION_VERSION = 4
#: Weights in external files of more bytes than this are never loaded while a model is prepared.
DETACH_ABOVE_BYTES = 1 << 28
#: Initialisers of at most this many bytes (shapes, axes, scales) stay in the graph.
INLINE_BYTES = 1024
WEIGHTS_FILE = 'prepared.weights'
#: Left to the sessions that run the stages: it wraps each product of a transformer in two Reshapes, between
#: which a cut would be worthless, and onnxruntime 1.32 then fails to fuse the same model a second time
#: ("Attempt to replace the existing tensor").
_DISABLED_OPTIMISERS = ['MatMulAddFusion']


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared model: its file, its graph without large weights, and its key in the cache."""

    path: Path
    proto: onnx.ModelProto
    key: str


def prepare(source: Source, shapes: Mapping[str, Sequence[int]] | None = None,
            usual: Mapping[str, Sequence[int]] | None = None) -> Prepared:  # fmt: skip
    """Prepare a model, or take the result from the cache.

    The key is made of the model's hash, onnxruntime's version, this module's
    version and the shapes of the inputs.

    :param shapes: of open inputs; ``usual``: what they are otherwise (`fix_shapes`).
    :raises ModelError: shapes are missing, or onnxruntime refuses the model, crashes or does not come to an end with it.
    """
    given, otherwise = ({name: list(shape) for name, shape in (sizes or {}).items()} for sizes in (shapes, usual))
    key = _key(source, given, otherwise)

    def make(path: Path) -> None:
        temporary = Path(tempfile.mkdtemp(dir=path.parent.parent, prefix='.new-'))
        try:
            call_isolated(prepare_into, about=str(source.path), folder=str(temporary), path=str(source.path), sha256=source.sha256,
                          shapes=given, usual=otherwise)
            _publish(temporary, path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    path = needed(make, 'prepared', key, 'model.onnx')
    return Prepared(path=path, proto=_load(path), key=key)


def weights_folder(prepared_folder: Path, source_path: Path, location: str) -> Path:
    """Return the folder that an external location of a prepared file is relative to."""
    return prepared_folder if location == WEIGHTS_FILE else source_path.parent


def onnxruntime_message(error: Exception) -> str:
    """Return onnxruntime's complaint as one line without its preamble."""
    text = ' '.join(str(error).split())
    text = re.sub(r'^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ', '', text)
    return re.sub(r'(/\S*)?onnxruntime/\S+ \S.*?\) ', '', text).strip()


def _key(source: Source, shapes: Mapping[str, list[int]], usual: Mapping[str, list[int]]) -> str:
    parts = [source.sha256, ort.__version__, PREPARATION_VERSION, DETACH_ABOVE_BYTES, shapes, usual]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _publish(temporary: Path, folder: Path) -> None:
    try:
        os.rename(temporary, folder)
    except OSError:
        if not (folder / 'model.onnx').exists():  # an incomplete leftover, not another process's result
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(temporary, folder)


def _load(path: Path) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelError(f'the prepared model {path} cannot be read ({error}): delete its folder') from None
    return proto


def prepare_into(folder: str, path: str, sha256: str, shapes: Mapping[str, Sequence[int]],
                 usual: Mapping[str, Sequence[int]]) -> None:  # fmt: skip
    """Prepare a model into an empty folder; to be called in a process of its own.

    :raises ModelError: as `prepare` does, or the file is no longer that of the hash.
    """
    source = read_source(path)
    if source.sha256 != sha256:
        raise ModelError(f'{path} changed while it was read: load it again')
    proto = onnx.ModelProto()
    proto.CopyFrom(source.proto)
    fix_shapes(proto, shapes, usual)
    sort_nodes(proto.graph, path)
    detached = _attach_or_detach(source, proto)
    optimised = _optimise(Path(folder), source.path, proto)
    _reattach(optimised.graph, detached)
    repair(optimised, original=source.proto)
    annotate(optimised, about=path, weights_at=lambda location: weights_folder(Path(folder), source.path, location) / location)
    Path(folder, 'model.onnx').write_bytes(optimised.SerializeToString(deterministic=True))


def _attach_or_detach(source: Source, proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Load the external weights, or turn them into inputs if they are many bytes.

    :returns: the initialisers that became inputs.
    """
    detached: dict[str, onnx.TensorProto] = {}
    if source.external_bytes > DETACH_ABOVE_BYTES:
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
    copy_weights(proto, lambda location: source.path.parent / location)
    return detached


def _optimise(folder: Path, path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    optimised = folder / 'optimised.onnx'
    options.optimized_model_filepath = str(optimised)
    options.add_session_config_entry(
        'session.optimized_model_external_initializers_file_name', WEIGHTS_FILE)
    options.add_session_config_entry(
        'session.optimized_model_external_initializers_min_size_in_bytes', str(INLINE_BYTES + 1))
    try:
        ort.InferenceSession(proto.SerializeToString(), options, providers=['CPUExecutionProvider'],
                             disabled_optimizers=_DISABLED_OPTIMISERS)
    except Exception as error:  # onnxruntime's own exceptions share no base class but this one  # noqa: BLE001
        check_room(folder, proto.ByteSize())
        raise ModelError(_refusal(path, proto, error)) from None
    result = _load(optimised)
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

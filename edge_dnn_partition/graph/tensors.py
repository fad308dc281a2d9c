# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The tensors between a model's nodes: their types and shapes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.feeds import KINDS, random_feeds
from edge_dnn_partition.graph.shapes import true_inputs
from edge_dnn_partition.graph.tensor_info import QUANTILE, TensorInfo
from edge_dnn_partition.graph.trial import open_session, run_once
from edge_dnn_partition.graph.validate import check_size

_OBSERVED = 'edge_dnn_partition.observed'
_EXAMPLE = 'edge_dnn_partition.example'
_REMARK = 'edge_dnn_partition.remark'
#: After which no further kind of input is tried.
_MOST_SECONDS = 20.0


def annotate(proto: ModelProto, *, about: str, weights_at: protos.Locate) -> None:
    """Write the type and shape of every tensor into the model, in place.

    Shapes that depend on data (NonZero, a Loop's results) are taken from trial
    runs on seeded inputs, and remembered as such in the model's metadata.

    :param about: the file that errors name.
    :param weights_at: gives the file of an external location.
    :raises ModelError: the shapes contradict each other, or the trial run does not end.
    """
    try:
        inferred = _inferred(proto)
    except Exception as error:  # onnx's own exceptions share no base class but this one  # noqa: BLE001
        raise ModelError(f'{about} has no consistent shapes: {" ".join(str(error).split())[:400]}; export it again') from None
    known: dict[str, ValueInfoProto] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if _is_settled(value) or (not value.type.HasField('tensor_type') and value.type.WhichOneof('value')):
            known[value.name] = value
    made = [name for node in proto.graph.node for name in protos.node_writes(node)]
    unknown = [name for name in made if name not in known]
    observed, example = _observe(proto, unknown, about, weights_at) if unknown else ({}, 0)
    outputs = {value.name: value for value in proto.graph.output}
    del proto.graph.value_info[:]
    for name in made:
        value = known.get(name) or observed.get(name)
        if value is None:
            continue
        found = value.type.tensor_type
        check_size(name, found.elem_type, tuple(dimension.dim_value for dimension in found.shape.dim), about)
        if name in outputs:
            outputs[name].CopyFrom(value)
        else:
            proto.graph.value_info.add().CopyFrom(value)
    helper.set_model_props(proto, {_OBSERVED: json.dumps(sorted(observed)), _EXAMPLE: str(example)} if observed else {})


def _inferred(proto: ModelProto) -> ModelProto:
    """Return the model with types and shapes, without what the file says of inner tensors if that contradicts them."""
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:  # onnx's own exceptions share no base class but this one
        if not proto.graph.value_info:
            raise
        del proto.graph.value_info[:]
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)


def read_tensors(proto: ModelProto) -> dict[str, TensorInfo]:
    """Return the tensors of an annotated model; values that are no tensors are left out."""
    observed = set(json.loads(_metadata(proto, _OBSERVED) or '[]'))
    tensors = {}
    for value in (*true_inputs(proto.graph), *proto.graph.value_info, *proto.graph.output):
        if _is_settled(value):
            kind = value.type.tensor_type
            tensors[value.name] = TensorInfo(
                value.name, kind.elem_type, tuple(dimension.dim_value for dimension in kind.shape.dim),
                observed=value.name in observed)
    return tensors


def value_info(tensor: TensorInfo) -> ValueInfoProto:
    """Describe a tensor in ONNX; a shape that depends on data stays open."""
    shape = [None] * len(tensor.shape) if tensor.observed else list(tensor.shape)
    return helper.make_tensor_value_info(tensor.name, tensor.dtype, shape)


def input_infos(proto: ModelProto) -> list[TensorInfo]:
    """Return the inputs of a model whose shapes are fixed."""
    names = {value.name for value in true_inputs(proto.graph)}
    return [tensor for name, tensor in read_tensors(proto).items() if name in names]


def example_feeds(proto: ModelProto, inputs: Iterable[TensorInfo]) -> dict[str, np.ndarray]:
    """Return the made-up inputs whose shapes an annotated model has.

    :raises ModelError: as `random_feeds` does.
    """
    return random_feeds(inputs, kind=example_kind(proto))


def example_kind(proto: ModelProto) -> int:
    """Return the kind of made-up inputs on which the tensors of an annotated model have their shapes."""
    return int(_metadata(proto, _EXAMPLE) or 0)


def remark(proto: ModelProto) -> str:
    """Return why a model was not optimised; empty if it was."""
    return _metadata(proto, _REMARK)


def add_remark(proto: ModelProto, text: str) -> None:
    """Note why a model was not optimised."""
    proto.metadata_props.add(key=_REMARK, value=text)


def _metadata(proto: ModelProto, key: str) -> str:
    return next((entry.value for entry in proto.metadata_props if entry.key == key), '')


def _is_settled(value: ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return (value.type.HasField('tensor_type') and kind.elem_type != TensorProto.UNDEFINED
            and kind.HasField('shape')
            and all(dimension.HasField('dim_value') and dimension.dim_value >= 0 for dimension in kind.shape.dim))


def _observe(proto: ModelProto, names: list[str], about: str, weights_at: protos.Locate) -> tuple[dict[str, ValueInfoProto], int]:
    """Run the model on made-up inputs of all kinds; return what the named tensors turned out to be, and on which kind.

    That is the run at the quantile `QUANTILE` of the tensors' bytes, among those in which none of the outputs is empty.
    """
    trial = ModelProto()
    trial.CopyFrom(proto)
    outputs = {value.name for value in trial.graph.output}
    trial.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in outputs)
    inputs = input_infos(proto)
    seen: list[tuple[bool, int, int, dict[str, np.ndarray]]] = []
    began = time.monotonic()
    try:
        session = open_session(trial, weights_at, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    except Exception:  # no trial run, no shapes: these tensors are then kept inside layers  # noqa: BLE001
        return {}, 0
    for kind in range(KINDS):
        if seen and time.monotonic() - began > _MOST_SECONDS:
            break
        try:
            values = run_once(session, names, random_feeds(inputs, kind=kind), about=about)
        except ModelError:
            raise
        except Exception:  # this kind of input is refused  # noqa: BLE001, S112
            continue
        arrays = {name: value for name, value in zip(names, values, strict=True)
                  if isinstance(value, np.ndarray) and value.dtype != object}  # fmt: skip
        seen.append((any(not value.size for name, value in arrays.items() if name in outputs),
                     sum(value.nbytes for value in arrays.values()), kind, arrays))  # fmt: skip
    if not seen:
        return {}, 0
    telling = sorted(run[:3] for run in seen if run[0] == min(seen, key=lambda run: run[0])[0])
    _, _, chosen = telling[math.ceil(QUANTILE * (len(telling) - 1))]
    arrays = next(run[3] for run in seen if run[2] == chosen)
    return {name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape))
            for name, value in arrays.items()}, chosen  # fmt: skip

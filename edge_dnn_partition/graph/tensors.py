# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The tensors between a model's nodes: their types and shapes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import psutil
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.shapes import true_inputs
from edge_dnn_partition.graph.trial import run_once
from edge_dnn_partition.graph.weights import copy_weights

_OBSERVED = 'edge_dnn_partition.observed'


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's name, type and shape.

    ``dtype`` is a number of ``TensorProto.DataType``. ``observed`` tells that the
    shape depends on the data: it is the one that a trial run gave, and others can occur.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    observed: bool = False

    @property
    def bytes(self) -> int:
        """The size of the values."""
        return protos.tensor_bytes(self.dtype, self.shape)


def annotate(proto: ModelProto, *, about: str, weights_at: protos.Locate) -> None:
    """Write the type and shape of every tensor into the model, in place.

    Shapes that depend on data (NonZero, a Loop's results) are taken from one trial
    run on seeded inputs, and remembered as such in the model's metadata.

    :param about: the file that errors name.
    :param weights_at: gives the file of an external location.
    :raises ModelError: the shapes contradict each other, or the trial run does not end.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:  # onnx's own exceptions share no base class but this one  # noqa: BLE001
        raise ModelError(f'{about} has no consistent shapes: {" ".join(str(error).split())[:400]}; export it again') from None
    known: dict[str, ValueInfoProto] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if _is_settled(value) or (not value.type.HasField('tensor_type') and value.type.WhichOneof('value')):
            known[value.name] = value
    made = [name for node in proto.graph.node for name in protos.node_writes(node)]
    unknown = [name for name in made if name not in known]
    observed = _observe(proto, unknown, about, weights_at) if unknown else {}
    outputs = {value.name: value for value in proto.graph.output}
    del proto.graph.value_info[:]
    for name in made:
        value = known.get(name) or observed.get(name)
        if value is None:
            continue
        if name in outputs:
            outputs[name].CopyFrom(value)
        else:
            proto.graph.value_info.add().CopyFrom(value)
    helper.set_model_props(proto, {_OBSERVED: json.dumps(sorted(observed))} if observed else {})


def read_tensors(proto: ModelProto) -> dict[str, TensorInfo]:
    """Return the tensors of an annotated model; values that are no tensors are left out."""
    observed: set[str] = set()
    for entry in proto.metadata_props:
        if entry.key == _OBSERVED:
            observed.update(json.loads(entry.value))
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


def random_feeds(tensors: Iterable[TensorInfo], seed: int = 0) -> dict[str, np.ndarray]:
    """Return seeded values for inputs: normal for floats, 0 or 1 for integers and booleans.

    Small integers stay valid where they are indices, such as words of a vocabulary.

    :raises ModelError: they need more memory than is free.
    """
    tensors = tuple(tensors)
    needed = sum(8 * math.prod(tensor.shape) for tensor in tensors)  # as the generator makes them
    try:
        if needed > psutil.virtual_memory().available:
            raise MemoryError
        return _random_values(tensors, seed)
    except MemoryError:
        names = ', '.join(tensor.name for tensor in tensors)
        raise ModelError(f'values for {names} need {needed} bytes, more memory than is free here: give smaller shapes') from None


def _random_values(tensors: Iterable[TensorInfo], seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    feeds = {}
    for tensor in tensors:
        kind = helper.tensor_dtype_to_np_dtype(tensor.dtype)
        if tensor.dtype == TensorProto.STRING:
            feeds[tensor.name] = np.full(tensor.shape, 'a', dtype=object)
        elif np.issubdtype(kind, np.integer) or kind == np.bool_:
            feeds[tensor.name] = generator.integers(0, 2, tensor.shape).astype(kind)
        else:
            feeds[tensor.name] = generator.standard_normal(tensor.shape).astype(kind)
    return feeds


def _is_settled(value: ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return (value.type.HasField('tensor_type') and kind.elem_type != TensorProto.UNDEFINED
            and kind.HasField('shape')
            and all(dimension.HasField('dim_value') and dimension.dim_value >= 0 for dimension in kind.shape.dim))


def _observe(proto: ModelProto, names: list[str], about: str, weights_at: protos.Locate) -> dict[str, ValueInfoProto]:
    """Run the model once and return what the named tensors turned out to be."""
    trial = ModelProto()
    trial.CopyFrom(proto)
    present = {value.name for value in trial.graph.output}
    trial.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in present)
    copy_weights(trial, weights_at)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    inputs = [value for value in read_tensors(proto).values() if value.name in
              {entry.name for entry in true_inputs(proto.graph)}]
    try:
        session = ort.InferenceSession(trial.SerializeToString(), options, providers=['CPUExecutionProvider'])
        values = run_once(session, names, random_feeds(inputs), about=about)
    except ModelError:
        raise
    except Exception:  # no trial run, no shapes: these tensors are then kept inside layers  # noqa: BLE001
        return {}
    seen = {}
    for name, value in zip(names, values, strict=True):
        if isinstance(value, np.ndarray) and value.dtype != object:
            dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
            seen[name] = helper.make_tensor_value_info(name, dtype, list(value.shape))
    return seen

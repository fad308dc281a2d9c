# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Giving a model with open dimensions the shapes that it will be used with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from onnx import GraphProto, ModelProto, ValueInfoProto

from edge_dnn_partition.errors import ModelError


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Read shapes written as ``name=1x3x224x224``; ``name=`` alone is a scalar.

    :raises ModelError: a text of another form, or two for one input.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, sizes = text.rpartition('=')
        if not name or not equals or not re.fullmatch(r'(\d+([x,]\d+)*)?', sizes):
            raise ModelError(f'--shape {text} must have the form NAME=1x3x224x224')
        if name in shapes:
            raise ModelError(f'--shape gives two shapes for {name}: keep one')
        shapes[name] = tuple(int(size) for size in re.split('[x,]', sizes) if size)
    return shapes


def fix_shapes(proto: ModelProto, shapes: Mapping[str, Sequence[int]] | None) -> None:
    """Write the given shapes into the model's inputs, in place.

    A dimension with a name (``batch``) that one input's shape settles is settled
    for the others too. What the file says about inner tensors is dropped where a
    dimension was open, since it would contradict.

    :raises ModelError: an input stays open, or a shape does not fit.
    """
    graph = proto.graph
    drop_overridable(proto)
    inputs = {value.name: value for value in true_inputs(graph)}
    given = dict(shapes or {})
    for name in given:
        if name not in inputs:
            raise ModelError(f'the model has no input {name}; its inputs are {", ".join(inputs) or "none"}')
    symbols: dict[str, int] = {}
    changed = False
    for name, shape in given.items():
        changed |= _set_shape(inputs[name], tuple(shape), symbols)
    missing = []
    for value in inputs.values():
        if not value.type.HasField('tensor_type'):
            raise ModelError(f'input {value.name} is not a tensor: only tensors can be sent between devices')
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in symbols:
                dimension.dim_value = symbols[dimension.dim_param]
                changed = True
        if not value.type.tensor_type.HasField('shape') or any(
                dimension.dim_value < 1 for dimension in value.type.tensor_type.shape.dim):
            missing.append(value)
    if missing:
        raise ModelError(_question(missing))
    if changed:
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField('shape')


def true_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Return the inputs that are no initialisers (in old models those are inputs as well)."""
    stored = {tensor.name for tensor in graph.initializer}
    stored.update(tensor.values.name for tensor in graph.sparse_initializer)
    return [value for value in graph.input if value.name not in stored]


def drop_overridable(proto: ModelProto) -> None:
    """From IR 4 on, take initialisers out of the inputs: their values are settled here."""
    if proto.ir_version < 4:
        return
    kept = true_inputs(proto.graph)
    if len(kept) != len(proto.graph.input):
        copies = [ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
        del proto.graph.input[:]
        proto.graph.input.extend(copies)


def _set_shape(value: ValueInfoProto, shape: tuple[int, ...], symbols: dict[str, int]) -> bool:
    tensor = value.type.tensor_type
    if any(size < 1 for size in shape):
        raise ModelError(f'the shape {_text(shape)} of {value.name} has a size below 1')
    if not tensor.HasField('shape'):
        for size in shape:
            tensor.shape.dim.add().dim_value = size
        return True
    if len(shape) != len(tensor.shape.dim):
        raise ModelError(f'input {value.name} has {len(tensor.shape.dim)} dimensions {_described(value)}, '
                         f'the shape {_text(shape)} has {len(shape)}')
    changed = False
    for dimension, size in zip(tensor.shape.dim, shape, strict=True):
        if dimension.dim_value > 0:
            if dimension.dim_value != size:
                raise ModelError(f'input {value.name} has the fixed shape {_described(value)}, '
                                 f'which {_text(shape)} does not fit')
            continue
        if dimension.dim_param and symbols.setdefault(dimension.dim_param, size) != size:
            raise ModelError(f'the given shapes make {dimension.dim_param!r} both '
                             f'{symbols[dimension.dim_param]} and {size}')
        dimension.dim_value = size
        changed = True
    return changed


def _question(values: Sequence[ValueInfoProto]) -> str:
    parts = [f'{value.name} {_described(value)}' for value in values]
    value = values[0]
    example = 'x'.join(str(dimension.dim_value) if dimension.dim_value > 0 else '1'
                       for dimension in value.type.tensor_type.shape.dim) or '1x3x224x224'
    return (f'the model leaves sizes open: {"; ".join(parts)}. Give the shape it will be used with, '
            f'for example --shape {value.name}={example}')


def _described(value: ValueInfoProto) -> str:
    if not value.type.tensor_type.HasField('shape'):
        return '(of any shape)'
    return '(' + ', '.join(
        str(dimension.dim_value) if dimension.dim_value > 0 else dimension.dim_param or '?'
        for dimension in value.type.tensor_type.shape.dim) + ')'


def _text(shape: Sequence[int]) -> str:
    return 'x'.join(str(size) for size in shape) or '()'

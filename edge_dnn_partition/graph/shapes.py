# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Giving a model with open dimensions the shapes that it will be used with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from edge_dnn_partition.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

FIRST_INPUT: Final = ''
"""Among the usual shapes: the input that comes first, whatever its name."""
_NO_NAME: Final = re.compile(r'\W*|-?\d+|none|dynamic|unk\w*|\w*_dynamic_axes_\d+', re.IGNORECASE)
"""What exporters write for a size without a name; two of them need not be equal."""
_BATCH: Final = re.compile(r'batch|^(n|b|bs)$', re.IGNORECASE)
_PROPOSALS: Final = (
    (re.compile(r'height|width|^[hw]\d*$', re.IGNORECASE), 224),
    (re.compile(r'seq|len|time|token|frame|sample', re.IGNORECASE), 128),
    (re.compile(r'channel|^c$', re.IGNORECASE), 3),
)
_PROPOSED_OTHERWISE: Final = 16


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


def fix_shapes(proto: ModelProto, shapes: Mapping[str, Sequence[int]] | None,
               usual: Mapping[str, Sequence[int]] | None = None) -> None:  # fmt: skip
    """Write the given shapes into the model's inputs, in place.

    A dimension with a name (``batch``) that one input's shape settles is settled
    for the others too. A batch that is open still is 1. What the file says about inner
    tensors is dropped where a dimension was open, since it would contradict.

    :param usual: shapes of inputs that ``shapes`` does not name, for what is open of them; one that does not fit is
        passed over, and so is one of an input that the model lacks. `FIRST_INPUT` stands for the first.
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
    for wanted, shape in (usual or {}).items():
        name = wanted or next(iter(inputs), '')
        if name in inputs and name not in given and _fits(inputs[name], shape, symbols):
            changed |= _set_shape(inputs[name], tuple(shape), symbols)
    missing = []
    for value in inputs.values():
        if not value.type.HasField('tensor_type'):
            raise ModelError(f'input {value.name} is not a tensor: only tensors can be sent between devices')
        changed |= _settle(value, symbols)
        if not value.type.tensor_type.HasField('shape') or any(
                dimension.dim_value < 1 for dimension in value.type.tensor_type.shape.dim):
            missing.append(value)
    if missing:
        raise ModelError(_question(missing, proto))
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
        copies = [type(value).FromString(value.SerializeToString()) for value in kept]
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
        symbol = _symbol(dimension.dim_param)
        if symbol and symbols.setdefault(symbol, size) != size:
            raise ModelError(f'the given shapes make {symbol!r} both {symbols[symbol]} and {size}')
        dimension.dim_value = size
        changed = True
    return changed


def _settle(value: ValueInfoProto, symbols: Mapping[str, int]) -> bool:
    """Give the sizes that follow: those whose name is settled, and a batch of 1."""
    changed = False
    for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
        symbol = _symbol(dimension.dim_param)
        if dimension.dim_value > 0:
            continue
        if symbol in symbols or _BATCH.search(symbol) or (not symbol and not axis and _is_batch(value)):
            dimension.dim_value = symbols.get(symbol, 1)
            changed = True
    return changed


def _symbol(name: str) -> str:
    """Return a size's name, empty where it is only a way to say that the size is open."""
    return '' if _NO_NAME.fullmatch(name) else name


def _is_batch(value: ValueInfoProto) -> bool:
    """Tell whether an open first size without a name is a batch, which a list of as many rows as there are is not."""
    sizes = value.type.tensor_type.shape.dim
    return len(sizes) > 2 or (len(sizes) == 2 and sizes[1].dim_value > 0)


def _fits(value: ValueInfoProto, shape: Sequence[int], symbols: Mapping[str, int]) -> bool:
    tensor = value.type.tensor_type
    return min(shape, default=1) > 0 and (not tensor.HasField('shape') or (len(shape) == len(tensor.shape.dim) and all(
        dimension.dim_value == size if dimension.dim_value > 0 else symbols.get(_symbol(dimension.dim_param), size) == size
        for dimension, size in zip(tensor.shape.dim, shape, strict=True))))  # fmt: skip


def _question(values: Sequence[ValueInfoProto], proto: ModelProto) -> str:
    parts = [f'{value.name} {_described(value)}' for value in values]
    proposed = {value.name: proposed_shape(value, proto) for value in values}
    options = ' '.join(f'--shape {name}={_text(shape)}' for name, shape in proposed.items())
    keys = ', '.join(f'{name}: {list(shape)}' for name, shape in proposed.items())
    return (f'the model leaves sizes open: {"; ".join(parts)}. Give the shapes it will be used with, '
            f'for example {options}, or in a fleet file model: {{shapes: {{{keys}}}}}')


def proposed_shape(value: ValueInfoProto, proto: ModelProto) -> tuple[int, ...]:
    """Return a shape that the model may well be used with: what its metadata says, else what is common."""
    said = next((entry.value for entry in proto.metadata_props if entry.key == 'imgsz'), '')  # as ultralytics writes it
    sides = [int(side) for side in re.findall(r'\d+', said)[:2]] or [224]
    sizes = value.type.tensor_type.shape.dim
    if not value.type.tensor_type.HasField('shape'):
        return (1, 3, sides[0], sides[-1])
    last = len(sizes) == 4 and (sizes[3].dim_value in (1, 3, 4) or bool(_PROPOSALS[2][0].search(sizes[3].dim_param)))
    places = {1: sides[0], 2: sides[-1], 3: 3} if last else {1: 3, 2: sides[0], 3: sides[-1]}

    def size(axis: int) -> int:
        known: int = sizes[axis].dim_value
        if known > 0:
            return known
        if len(sizes) == 4:
            return places.get(axis, 1)
        return next((number for name, number in _PROPOSALS if name.search(sizes[axis].dim_param)), _PROPOSED_OTHERWISE)

    return tuple(map(size, range(len(sizes))))


def _described(value: ValueInfoProto) -> str:
    if not value.type.tensor_type.HasField('shape'):
        return '(of any shape)'
    return '(' + ', '.join(
        str(dimension.dim_value) if dimension.dim_value > 0 else dimension.dim_param or '?'
        for dimension in value.type.tensor_type.shape.dim) + ')'


def _text(shape: Sequence[int]) -> str:
    return 'x'.join(str(size) for size in shape) or '()'

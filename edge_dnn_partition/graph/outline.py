# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Reading an ONNX file without the weights in it: their bytes stay where they are, and are named like external data.

A protobuf message is a row of fields, each a number, a wire type and a value, so weights can be left out without
parsing them (https://protobuf.dev/programming-guides/encoding/). Parsed, they would be in memory several times over.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from math import prod
from typing import Final

from onnx import TensorProto

#: Values of at most this many bytes (shapes, axes, scales) stay in the graph.
INLINE_BYTES: Final = 1024
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
#: Numbers of fields in onnx.proto.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER, _NODE_ATTRIBUTE, _ATTRIBUTE_TENSOR = 7, 1, 5, 5, 5
_DIMS, _DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 4, 9, 13, 14

Buffer = bytes | mmap.mmap
#: Where a field begins, its number and wire type, where its value begins and ends.
Field = tuple[int, int, int, int, int]
Rewrite = Callable[[Buffer, int, int], bytes | None]


def outline(content: Buffer, location: str) -> bytes:
    """Return a serialised model whose weights of more than `INLINE_BYTES` refer to a file instead of being in it.

    :param content: the model's file.
    :param location: what to call that file, whose offsets the references give.
    :raises ValueError: it is not laid out as a protobuf message is.
    """

    def tensor(content: Buffer, start: int, end: int) -> bytes | None:
        return _tensor(content, start, end, location)

    def attribute(content: Buffer, start: int, end: int) -> bytes:
        return _message(content, start, end, {_ATTRIBUTE_TENSOR: tensor})

    def node(content: Buffer, start: int, end: int) -> bytes:
        return _message(content, start, end, {_NODE_ATTRIBUTE: attribute})

    def graph(content: Buffer, start: int, end: int) -> bytes:
        return _message(content, start, end, {_GRAPH_NODE: node, _GRAPH_INITIALIZER: tensor})

    return _message(content, 0, len(content), {_MODEL_GRAPH: graph})


def _message(content: Buffer, start: int, end: int, rewrite: dict[int, Rewrite]) -> bytes:
    """Return a message with the large fields of some numbers rewritten; a rewriter that returns None leaves its field."""
    parts: list[bytes] = []
    copied = start
    for begin, number, wire, first, last in _fields(content, start, end):
        if wire == _LENGTH and number in rewrite and last - first > INLINE_BYTES:
            changed = rewrite[number](content, first, last)
            if changed is not None:
                parts += [content[copied:begin], _field(number, changed)]
                copied = last
    return b''.join([*parts, content[copied:end]])


def _tensor(content: Buffer, start: int, end: int, location: str) -> bytes | None:
    fields = list(_fields(content, start, end))
    if any(number in (_EXTERNAL_DATA, _DATA_LOCATION) for _, number, *_ in fields):
        return None
    held = [field for field in fields if field[1] in (_RAW_DATA, _FLOAT_DATA) and field[2] == _LENGTH]
    if len(held) != 1 or held[0][4] - held[0][3] <= INLINE_BYTES:
        return None
    begin, number, _, first, last = held[0]
    if number == _FLOAT_DATA and not _is_packed(content, fields, last - first):
        return None
    entries = (('location', location), ('offset', str(first)), ('length', str(last - first)))
    named = b''.join(_field(_EXTERNAL_DATA, _field(1, key.encode()) + _field(2, text.encode())) for key, text in entries)
    outside = bytes([_DATA_LOCATION << 3 | _VARINT, TensorProto.EXTERNAL])
    return b''.join([content[start:begin], named, outside, content[last:end]])


def _is_packed(content: Buffer, fields: list[Field], length: int) -> bool:
    """Tell whether a tensor's float_data are all of its values in one piece, whose bytes are then those of raw_data."""
    sizes: list[int] = []
    dtype = 0
    for _, number, wire, first, last in fields:
        if number == _FLOAT_DATA and wire != _LENGTH:
            return False
        if number == _DATA_TYPE:
            dtype = _varint(content, first, last)[0]
        elif number == _DIMS:
            here = first
            while here < last:
                size, here = _varint(content, here, last)
                sizes.append(size)
    return dtype == TensorProto.FLOAT and length == 4 * prod(sizes)


def _fields(content: Buffer, start: int, end: int) -> Iterator[Field]:
    here = start
    while here < end:
        begin = here
        tag, here = _varint(content, here, end)
        first, wire = here, tag & 7
        if wire == _VARINT:
            _, here = _varint(content, here, end)
        elif wire == _LENGTH:
            size, first = _varint(content, here, end)
            here = first + size
        elif wire in (_FIXED64, _FIXED32):
            here += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f'wire type {wire}')
        if here > end:
            raise ValueError('cut off')
        yield begin, tag >> 3, wire, first, here


def _varint(content: Buffer, here: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while here < end and shift < 70:
        byte = content[here]
        here += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, here
        shift += 7
    raise ValueError('cut off')


def _field(number: int, value: bytes) -> bytes:
    return _as_varint(number << 3 | _LENGTH) + _as_varint(len(value)) + value


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)

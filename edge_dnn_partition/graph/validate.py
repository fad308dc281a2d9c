# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What must hold in an ONNX file before anything computes with it: texts are texts, sizes are sizes."""

from __future__ import annotations

import functools
from math import prod
from typing import Any

from onnx import ModelProto, TensorProto

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.tensor_info import tensor_bytes

_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}
#: What numpy of before version 2 can hold.
_MOST_DIMENSIONS = 32
#: Of one tensor; no device has more memory.
_MOST_BYTES = 1 << 40
_UNKNOWN = 'this onnx does not know: install a newer one, or export the model again'
_NO_TEXT = 'holds a name or text that is not UTF-8, so it is damaged: export or copy it again'


def check_proto(proto: ModelProto, path: object) -> None:
    """Check what reading and splitting a model rely on; onnxruntime checks the rest when it loads the model.

    :param path: the file that an error names.
    :raises ModelError: a text is not UTF-8, or a tensor has a type or a size that cannot be.
    """
    _check_texts(proto, path)
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.HasField('tensor_type') and value.type.tensor_type.elem_type not in _TYPES:
            raise ModelError(f'{path}: {value.name} is of type {value.type.tensor_type.elem_type}, which {_UNKNOWN}')
    for value in proto.graph.input:
        sizes = tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        check_size(value.name, value.type.tensor_type.elem_type, sizes, path)
    for tensor in protos.all_tensors(proto.graph):
        if tensor.data_type not in _TYPES:
            raise ModelError(f'{path}: the weights {tensor.name} are of type {tensor.data_type}, which {_UNKNOWN}')
        if any(size < 0 for size in tensor.dims):
            raise ModelError(f'{path}: the weights {tensor.name} have a size below 0: export it again')
        check_size(tensor.name, tensor.data_type, tuple(tensor.dims), path)


def check_size(name: str, dtype: int, shape: tuple[int, ...], path: object) -> None:
    """Check that a tensor can be.

    :raises ModelError: it has too many dimensions or bytes.
    """
    if len(shape) > _MOST_DIMENSIONS:
        raise ModelError(f'{path}: {name} has {len(shape)} dimensions, more than {_MOST_DIMENSIONS}: export it again')
    if max(prod(shape), tensor_bytes(dtype, shape)) > _MOST_BYTES:
        raise ModelError(f'{path}: {name} has the shape {"x".join(map(str, shape))}, which no device can hold: export it again')


def _check_texts(proto: Any, path: object) -> None:
    """Look at every text: protobuf gives bytes, or raises, where one is not UTF-8."""
    waiting = [proto]
    try:
        while waiting:
            message = waiting.pop()
            for name, is_text in _fields(message.DESCRIPTOR):
                value = getattr(message, name)
                if is_text:
                    if isinstance(value, bytes) or (not isinstance(value, str) and any(isinstance(text, bytes) for text in value)):
                        raise ModelError(f'{path} {_NO_TEXT}')
                elif not hasattr(value, 'DESCRIPTOR'):
                    waiting.extend(value)
                elif message.HasField(name):
                    waiting.append(value)
    except UnicodeDecodeError:
        raise ModelError(f'{path} {_NO_TEXT}') from None


@functools.cache
def _fields(descriptor: Any) -> tuple[tuple[str, bool], ...]:
    """Return the names of a message's fields that are texts, with True, or messages, with False."""
    return tuple((field.name, field.type == field.TYPE_STRING) for field in descriptor.fields
                 if field.type in (field.TYPE_STRING, field.TYPE_MESSAGE))  # fmt: skip

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Copying weights from one model's files to another's, without holding them all."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from onnx import ModelProto, TensorProto

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.outline import INLINE_BYTES

_ALIGNMENT_BYTES = 4096
_CHUNK_BYTES = 1 << 22


def copy_weights(proto: ModelProto, weights_at: protos.Locate) -> None:
    """Read every external initialiser of a model into it.

    :param weights_at: gives the file of an external location.
    :raises ModelError: a file is missing or too short.
    """
    for tensor in protos.all_tensors(proto.graph):
        if not protos.is_external(tensor):
            continue
        location, offset, length = protos.external_entry(tensor)
        path = weights_at(location)
        try:
            with path.open('rb') as stream:
                stream.seek(offset)
                content = stream.read(length)
        except OSError as error:
            raise ModelError(f'the weights {path} cannot be read ({error.strerror}): load the model again') from None
        if len(content) != length:
            raise ModelError(f'the weights {path} are too short: copy the file again')
        tensor.raw_data = content
        tensor.ClearField('external_data')
        tensor.data_location = TensorProto.DEFAULT


def map_weights(proto: ModelProto, weights_at: protos.Locate) -> str:
    """Name the files of a model's external initialisers from one folder, so that a runtime can map them, in place.

    What is small, or no initialiser of the outermost graph, is read into the model.

    :returns: that folder: the root, since links lead anywhere and onnxruntime follows none out of it.
    :raises ModelError: as `copy_weights` does.
    """
    files: dict[str, str] = {}
    for tensor in proto.graph.initializer:
        if protos.is_external(tensor) and protos.initializer_bytes(tensor) > INLINE_BYTES:
            location, offset, length = protos.external_entry(tensor)
            if location not in files:
                files[location] = str(weights_at(location).resolve())[1:]
            point(tensor, files[location], offset, length)
            tensor.data_location = TensorProto.DEFAULT  # passed over by copy_weights
    copy_weights(proto, weights_at)
    for tensor in proto.graph.initializer:
        if tensor.external_data:
            tensor.data_location = TensorProto.EXTERNAL
    return '/'


def point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Let an external tensor lie elsewhere."""
    del tensor.external_data[:]
    for key, value in (('location', location), ('offset', offset), ('length', length)):
        tensor.external_data.add(key=key, value=str(value))


def external_bytes(proto: ModelProto) -> int:
    """Return the bytes of a model's external initialisers."""
    return sum(protos.external_entry(tensor)[2] for tensor in protos.all_tensors(proto.graph)
               if protos.is_external(tensor))


def move_weights(proto: ModelProto, weights_at: protos.Locate, stream: BinaryIO, location: str) -> None:
    """Copy every external initialiser into one new file, range by range, and point the model at it.

    Holes of sparse files stay holes.
    """
    position = 0
    for tensor in protos.all_tensors(proto.graph):
        if not protos.is_external(tensor):
            continue
        old, offset, length = protos.external_entry(tensor)
        position = -(-position // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        with weights_at(old).open('rb', buffering=0) as source:
            _copy_range(source, offset, stream, position, length)
        point(tensor, location, position, length)
        position += length
    stream.truncate(position)


def _copy_range(source: io.FileIO, offset: int, target: BinaryIO, position: int, length: int) -> None:
    end = offset + length
    here = offset
    while here < end:
        try:
            here = os.lseek(source.fileno(), here, os.SEEK_DATA)
            hole = os.lseek(source.fileno(), here, os.SEEK_HOLE)
        except OSError:  # nothing but a hole up to the end of the file
            return
        stop = min(hole, end)
        source.seek(here)
        target.seek(position + here - offset)
        while here < stop:
            content = source.read(min(_CHUNK_BYTES, stop - here))
            if not content:
                raise ModelError(f'the weights {source.name} are too short: copy the file again')
            target.write(content)
            here += len(content)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How tensors lie in one contiguous buffer, and how they are read from it again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.planning.plans.encodings import COMPRESSORS, RAW, TENSOR_ENCODINGS

Array = NDArray[Any]

DTYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype('<f4'), 2: np.dtype('u1'), 3: np.dtype('i1'), 4: np.dtype('<u2'), 5: np.dtype('<i2'),
    6: np.dtype('<i4'), 7: np.dtype('<i8'), 9: np.dtype('?'), 10: np.dtype('<f2'), 11: np.dtype('<f8'),
    12: np.dtype('<u4'), 13: np.dtype('<u8'),
}  # fmt: skip
"""ONNX's TensorProto.DataType numbers that travel, with their layout."""

_PIXELS: Final = 2
_NUMBERS: Final = {dtype: number for number, dtype in DTYPES.items()}
ALIGNMENT: Final = 64
MAX_AXES: Final = 16
MAX_DECODED_BYTES: Final = 1 << 30
"""No tensor that comes encoded may claim to be larger."""


@dataclass(frozen=True)
class WireTensor:
    """What one tensor of a message is and where it lies in the buffer (``offset``, ``size`` in bytes)."""

    name: str
    dtype: int
    shape: tuple[int, ...]
    encoding: str
    offset: int
    size: int


@dataclass(frozen=True, eq=False)
class Coded:
    """A tensor as it travels: ``data`` are its bytes (flat, uint8) under ``encoding``; dtype and shape are its own."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    encoding: str
    data: Array


def image_parts(encoding: str) -> tuple[str, str]:
    """Return what an image's pixels are and how they were compressed: ``bgr8+zstd`` is ``bgr8`` as ``zstd``.

    The second is empty where they were not, and for the encodings of other tensors.
    """
    pixels, _, compressor = encoding.rpartition('+')
    if pixels and compressor in COMPRESSORS and encoding not in TENSOR_ENCODINGS:
        return pixels, compressor
    return encoding, ''


def dtype_number(dtype: np.dtype[Any]) -> int:
    """Return ONNX's number for a numpy dtype.

    :raises WireError: if tensors of that dtype cannot travel.
    """
    try:
        return _NUMBERS[np.dtype(dtype).newbyteorder('<')]
    except KeyError:
        raise WireError(f'tensors of dtype {dtype} cannot be sent; cut at a numeric tensor') from None


def lay_out(
    arrays: Mapping[str, Array | Coded], encodings: Mapping[str, str] | None = None
) -> tuple[tuple[WireTensor, ...], list[Array]]:
    """Decide where tensors lie in one buffer, each at a multiple of 64 bytes.

    :param arrays: tensors by name.
    :param encodings: an image's encoding by name.
    :return: the layout, and the tensors as flat contiguous arrays of bytes (a contiguous one is not copied).
    """
    layout, flat = [], []
    offset = 0
    for name, value in arrays.items():
        if isinstance(value, Coded):
            size = value.data.nbytes
            layout.append(WireTensor(name, dtype_number(value.dtype), value.shape, value.encoding, offset, size))
            flat.append(value.data)
            offset += -(-size // ALIGNMENT) * ALIGNMENT
            continue
        array = np.asarray(value, order='C')
        number = dtype_number(array.dtype)
        array = np.ascontiguousarray(array, dtype=DTYPES[number]).reshape(array.shape)
        encoding = (encodings or {}).get(name, RAW)
        layout.append(WireTensor(name, number, tuple(array.shape), encoding, offset, array.nbytes))
        flat.append(array.reshape(-1).view(np.uint8))
        offset += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    return tuple(layout), flat


def buffer_size(layout: Sequence[WireTensor]) -> int:
    """Return how many bytes a layout's buffer has."""
    return layout[-1].offset + layout[-1].size if layout else 0


def place(layout: Sequence[WireTensor], flat: Sequence[Array], buffer: memoryview | None = None) -> memoryview:
    """Return the one buffer that tensors lie in.

    :param layout: as `lay_out` made it, with ``flat``.
    :param buffer: where to put them; None for memory of their own (a single tensor's is taken as it is).
    """
    if buffer is None and len(flat) == 1:
        return flat[0].data
    target = np.zeros(buffer_size(layout), np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
    for tensor, array in zip(layout, flat, strict=True):
        target[tensor.offset : tensor.offset + tensor.size] = array
    return target.data


def pack(
    arrays: Mapping[str, Array | Coded], encodings: Mapping[str, str] | None = None
) -> tuple[tuple[WireTensor, ...], memoryview]:
    """Return the layout of tensors and a buffer that holds them; see `lay_out` and `place`."""
    layout, flat = lay_out(arrays, encodings)
    return layout, place(layout, flat)


def check_layout(layout: Sequence[WireTensor], total: int) -> None:
    """Raise if a layout contradicts itself or the buffer's size.

    :raises WireError: naming the tensor and the contradiction.
    """
    names = set()
    for tensor in layout:
        if tensor.name in names:
            raise WireError(f'tensor {tensor.name!r} occurs twice in one message')
        names.add(tensor.name)
        if tensor.dtype not in DTYPES:
            raise WireError(f'tensor {tensor.name!r} has the unknown dtype number {tensor.dtype}')
        if len(tensor.shape) > MAX_AXES or any(axis < 0 for axis in tensor.shape):
            raise WireError(f'tensor {tensor.name!r} has the impossible shape {list(tensor.shape)}')
        compressed_image = bool(image_parts(tensor.encoding)[1])
        if compressed_image and tensor.dtype != _PIXELS:
            raise WireError(f'tensor {tensor.name!r} is an image of dtype number {tensor.dtype}; pixels are bytes')
        if tensor.encoding in TENSOR_ENCODINGS or compressed_image:
            asked = math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
            if asked > MAX_DECODED_BYTES and tensor.encoding != RAW:
                raise WireError(
                    f'tensor {tensor.name!r}: shape {list(tensor.shape)} is too large for encoding {tensor.encoding}'
                )
            if asked != tensor.size and tensor.encoding == RAW:
                raise WireError(
                    f'tensor {tensor.name!r}: shape {list(tensor.shape)} needs {asked} bytes, not {tensor.size}'
                )
        if tensor.offset < 0 or tensor.size < 0 or tensor.offset + tensor.size > total:
            raise WireError(f'tensor {tensor.name!r} lies outside of its buffer of {total} bytes')


def unpack(layout: Sequence[WireTensor], buffer: Any) -> dict[str, Array | Coded]:
    """Return the tensors of a buffer as views of it, by name; encoded ones stay so.

    :raises WireError: if layout and buffer contradict each other.
    """
    check_layout(layout, len(buffer))
    return {tensor.name: shaped(tensor, np.frombuffer(buffer, np.uint8, tensor.size, tensor.offset)) for tensor in layout}


def shaped(tensor: WireTensor, flat: Array) -> Array | Coded:
    """Return a tensor as a view of its bytes; an encoded one stays so."""
    if tensor.encoding == RAW:
        return flat.view(DTYPES[tensor.dtype]).reshape(tensor.shape)
    if tensor.encoding in TENSOR_ENCODINGS:
        return Coded(DTYPES[tensor.dtype], tensor.shape, tensor.encoding, flat)
    if compressor := image_parts(tensor.encoding)[1]:
        return Coded(DTYPES[tensor.dtype], tensor.shape, compressor, flat)
    # an image: pixels have their shape, a compressed one has none
    return flat.reshape(tensor.shape) if math.prod(tensor.shape) == tensor.size else flat

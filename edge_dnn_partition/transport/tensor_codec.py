# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Encodes tensors for the wire and decodes them; `edge_dnn_partition.planning.plans.encodings` has the names.

``float16``
    IEEE 754 half precision, rounded to nearest: off by at most half a unit in the last place.
``int8``
    256 levels between each channel's least and largest value (axis 1), off by at most half a level: ``channels``
    (uint32), the least values, the steps (both of the tensor's dtype), the levels (uint8, in C order). The affine
    scheme of Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", CVPR 2018, with ranges taken from the tensor itself.
``zstd``, ``lz4``
    Zstandard and LZ4 over the bytes, the elements' first bytes first, then their second ones, and so on (the byte
    shuffle of Blosc): exponents are alike, mantissas are not.

A tensor that an encoding does not fit (whole numbers for ``float16``, infinite ones for ``int8``, bytes that compression
makes no fewer) goes without that part of it: what comes out says how it is encoded.
"""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.planning.plans.encodings import REDUCTIONS, TENSOR_ENCODINGS, parts

from .tensors import DTYPES, Array, Coded, dtype_number

_FLOATS: Final = (np.dtype('<f4'), np.dtype('<f8'))
_LARGEST_HALF: Final = 65504.0
_LEAST_GROUP: Final = 16
"""A channel of fewer elements has no range of its own: ranges would be as large as what they save."""
_MODULES: Final = {'zstd': 'zstandard', 'lz4': 'lz4.block'}
_ZSTD_LEVEL: Final = 1
_MOST_BYTES: Final = 0x7E000000
"""What LZ4 takes at most."""
_contexts = threading.local()


@cache
def _module(compressor: str) -> Any:
    try:
        return importlib.import_module(_MODULES[compressor])
    except ImportError:
        return None


def available() -> tuple[str, ...]:
    """Return the encodings whose libraries are here."""
    return tuple(name for name in TENSOR_ENCODINGS if not (part := parts(name)[1]) or _module(part) is not None)


def encode(array: Array, encoding: str) -> Array | Coded:
    """Return a tensor as it is to be sent; the array itself where it goes raw.

    :raises WireError: if tensors of its dtype cannot travel, or the encoding's library is not here.
    """
    reduction, compressor = parts(encoding)
    if reduction not in REDUCTIONS:  # jpeg, which is for images
        reduction = ''
    dtype = DTYPES[dtype_number(array.dtype)]
    values = np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)
    reduced = None
    if values.size and dtype in _FLOATS and reduction:
        reduced = _to_half(values) if reduction == 'float16' else _to_levels(values)
    flat = values.reshape(-1).view(np.uint8) if reduced is None else reduced
    name = reduction if reduced is not None else ''
    if compressor and flat.nbytes:
        width = dtype.itemsize if reduced is None else (2 if reduction == 'float16' else 1)
        small = _compress(_shuffled(flat, width), compressor)
        if len(small) < flat.nbytes:
            return Coded(dtype, values.shape, f'{name}+{compressor}' if name else compressor, np.frombuffer(small, np.uint8))
    return Coded(dtype, values.shape, name, flat) if name else values


def decode(coded: Coded) -> Array:
    """Return the tensor.

    :raises WireError: if the bytes are none of such a tensor, or the encoding's library is not here.
    """
    reduction, compressor = parts(coded.encoding)
    count = math.prod(coded.shape)
    dtype = coded.dtype
    if reduction and dtype not in _FLOATS:
        raise WireError(f'a tensor of dtype {dtype} cannot have been sent as {coded.encoding}')
    data = coded.data
    channels = _channels(coded.shape)
    size = count * dtype.itemsize
    if reduction:
        size = 2 * count if reduction == 'float16' else 4 + 2 * channels * dtype.itemsize + count
    if compressor:
        data = np.frombuffer(_decompress(data, compressor, size), np.uint8)
    if data.nbytes != size:
        raise WireError(f'a tensor of shape {list(coded.shape)} has {size} bytes as {coded.encoding}, not {data.nbytes}')
    if compressor:
        data = _unshuffled(data, 1 if reduction == 'int8' else 2 if reduction else dtype.itemsize)
    with np.errstate(all='ignore'):
        if reduction == 'float16':
            return data.view('<f2').astype(dtype).reshape(coded.shape)
        if reduction == 'int8':
            return _from_levels(data, coded.shape, dtype, channels)
    return data.view(dtype).reshape(coded.shape)


def _to_half(values: Array) -> Array | None:
    with np.errstate(all='ignore'):
        half = values.astype('<f2')
    return None if (np.isinf(half) & np.isfinite(values)).any() else half.reshape(-1).view(np.uint8)


def _channels(shape: tuple[int, ...]) -> int:
    """Return how many ranges a tensor has: one for each place along axis 1, or one."""
    count = math.prod(shape)
    return shape[1] if len(shape) > 1 and shape[1] > 0 and count // shape[1] >= _LEAST_GROUP else 1


def _grouped(values: Array, channels: int) -> Array:
    """Return a tensor as ``(before, channels, after)``, a view."""
    before = values.shape[0] if channels > 1 else 1
    return values.reshape(before, channels, -1)


def _to_levels(values: Array) -> Array | None:
    channels = _channels(values.shape)
    groups = _grouped(values, channels)
    least, most = groups.min(axis=(0, 2)), groups.max(axis=(0, 2))
    with np.errstate(all='ignore'):
        # One step up, so that the largest value is within the last level in spite of rounding.
        step = np.where(most > least, np.nextafter((most - least) / 255, np.inf, dtype=values.dtype), 0).astype(values.dtype)
    if not np.isfinite(step).all() or not np.isfinite(least).all():
        return None
    divisor = np.where(step > 0, step, 1).astype(values.dtype)[None, :, None]
    levels = groups - least[None, :, None]
    levels /= divisor
    np.rint(levels, out=levels)
    np.minimum(levels, 255, out=levels)
    head = np.array([channels], '<u4').view(np.uint8)
    return np.concatenate((head, least.view(np.uint8), step.view(np.uint8), levels.astype(np.uint8).reshape(-1)))


def _from_levels(data: Array, shape: tuple[int, ...], dtype: np.dtype[Any], channels: int) -> Array:
    if int(data[:4].view('<u4')[0]) != channels:
        raise WireError(f'a tensor of shape {list(shape)} has {channels} channels as int8, not {data[:4].view("<u4")[0]}')
    at = 4 + channels * dtype.itemsize
    rest = at + channels * dtype.itemsize
    least = data[4:at].copy().view(dtype)
    step = data[at:rest].copy().view(dtype)
    values = _grouped(data[rest:].reshape(shape), channels).astype(dtype)
    values *= step[None, :, None]
    values += least[None, :, None]
    return values.reshape(shape)


def _shuffled(flat: Array, width: int) -> Array:
    return flat if width == 1 else np.ascontiguousarray(flat.reshape(-1, width).T)


def _unshuffled(flat: Array, width: int) -> Array:
    return flat if width == 1 else np.ascontiguousarray(flat.reshape(width, -1).T).reshape(-1)


def _library(compressor: str) -> Any:
    module = _module(compressor)
    if module is None:
        package = _MODULES[compressor].partition('.')[0]
        raise WireError(f'this device cannot encode or decode {compressor}; install the package {package}')
    return module


def _compress(flat: Array, compressor: str) -> bytes:
    library = _library(compressor)
    if flat.nbytes > _MOST_BYTES:
        return flat.tobytes()  # no fewer: it goes as it is
    if compressor == 'lz4':
        return bytes(library.compress(flat.reshape(-1).data, store_size=False))
    return bytes(_context('compressor', lambda: library.ZstdCompressor(level=_ZSTD_LEVEL)).compress(flat.reshape(-1).data))


def _decompress(data: Array, compressor: str, size: int) -> bytes:
    """Return exactly ``size`` bytes; nothing larger is ever set aside."""
    library = _library(compressor)
    try:
        if compressor == 'lz4':
            plain = bytes(library.decompress(data.data, uncompressed_size=size)) if size else b''
        elif library.frame_content_size(data.data) != size:  # the library sets aside what the frame says
            raise WireError(f'a tensor of {size} bytes comes as Zstandard of another size')
        else:
            decompressor = _context('decompressor', library.ZstdDecompressor)
            plain = bytes(decompressor.decompress(data.data, max_output_size=size))
    except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise WireError(f'a tensor cannot be decoded from {compressor}: {error}') from None
    except WireError:
        raise
    except Exception as error:  # noqa: BLE001 (a library's own kind of error, which is not there without the library)
        raise WireError(f'a tensor cannot be decoded from {compressor}: {error}') from None
    if len(plain) != size:
        raise WireError(f'a tensor of {size} bytes comes as {compressor} of {len(plain)} bytes')
    return plain


def _context(name: str, make: Callable[[], Any]) -> Any:
    """Return this thread's own: Zstandard's contexts are not to be used by two at once."""
    if not hasattr(_contexts, name):
        setattr(_contexts, name, make())
    return getattr(_contexts, name)

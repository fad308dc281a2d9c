# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Made-up inputs: seeded, alike on every device, and of several kinds, since not every kind gives a result."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.errors import ModelError

if TYPE_CHECKING:
    from edge_dnn_partition.graph.tensor_info import TensorInfo

#: Kinds of values, by number: normal ones; an image's, 0 to 1; large normal ones; an image's, 0 to 255; ones; a ramp.
KINDS: Final = 6
_NORMAL, _UNIT, _LARGE, _BYTES, _ONES = range(KINDS - 1)


def random_feeds(tensors: Iterable[TensorInfo], seed: int = 0, kind: int = _NORMAL) -> dict[str, np.ndarray]:
    """Return seeded values for inputs: by default normal for floats, 0 or 1 for integers and booleans.

    Small integers stay valid where they are indices, such as words of a vocabulary. Only those of 8 bits, which images
    have, follow the kind.

    :param kind: 0 to `KINDS` - 1.
    :raises ModelError: they need more memory than is free.
    """
    import psutil

    tensors = tuple(tensors)
    needed = sum(8 * math.prod(tensor.shape) for tensor in tensors)  # as the generator makes them
    try:
        if needed > psutil.virtual_memory().available:
            raise MemoryError
        generator = np.random.default_rng(seed)
        return {tensor.name: _values(tensor, generator, kind) for tensor in tensors}
    except MemoryError:
        names = ', '.join(tensor.name for tensor in tensors)
        raise ModelError(f'values for {names} need {needed} bytes, more memory than is free here: give smaller shapes') from None


def _values(tensor: TensorInfo, generator: np.random.Generator, kind: int) -> np.ndarray[Any, Any]:
    from onnx import TensorProto, helper

    if tensor.dtype == TensorProto.STRING:
        return np.full(tensor.shape, 'a', dtype=object)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.dtype))
    if kind in (_UNIT, _BYTES) and dtype in (np.uint8, np.int8):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, tensor.shape, dtype, endpoint=True)
    if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
        return generator.integers(0, 2, tensor.shape).astype(dtype)
    if kind in (_NORMAL, _LARGE):
        return (generator.standard_normal(tensor.shape) * (1 if kind == _NORMAL else 4)).astype(dtype)
    if kind in (_UNIT, _BYTES):
        return (generator.random(tensor.shape) * (1 if kind == _UNIT else 255)).astype(dtype)
    if kind == _ONES:
        return np.ones(tensor.shape, dtype)
    return np.linspace(-2.0, 2.0, max(1, math.prod(tensor.shape))).reshape(tensor.shape).astype(dtype)

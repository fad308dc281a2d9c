# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A tensor's name, type and shape, for those who have no need of onnx: types are numbers of its ``TensorProto.DataType``."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

_BITS: Final = {
    0: 0, 1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 0, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2, 27: 8, 28: 8,
}  # fmt: skip
"""Of a value, by its type; 0 for strings, whose size nobody knows."""
SENDABLE: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13})
"""The types whose tensors can be sent (floats of 16, 32 and 64 bits, integers, booleans); those of others stay within a stage."""
QUANTILE: Final = 0.75
"""Of the sizes that trial runs gave to a tensor whose size depends on the data, the one that counts."""


def tensor_bytes(dtype: int, shape: tuple[int, ...]) -> int:
    """Return the size of a dense tensor in bytes; 0 for strings.

    :param dtype: a number of ``TensorProto.DataType``.
    """
    return (prod(shape) * _BITS[dtype] + 7) // 8


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's name, type and shape.

    ``dtype`` is a number of ``TensorProto.DataType``. ``observed`` tells that the
    shape depends on the data: it is an example, which a trial run gave, and others occur.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    observed: bool = False

    @property
    def bytes(self) -> int:
        """The size of the values."""
        return tensor_bytes(self.dtype, self.shape)

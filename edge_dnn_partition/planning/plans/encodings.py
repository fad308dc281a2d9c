# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The names of the ways in which a tensor can be sent, and which of them a plan may use.

An encoding is ``raw``, a *reduction* (``float16``, ``int8``: fewer bits, lossy), a *compressor* (``zstd``, ``lz4``:
lossless) or a reduction that is then compressed, written ``int8+zstd``. The camera's image, where it comes as pixels, may go
compressed or as ``jpeg`` (lossy), which no other tensor can.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edge_dnn_partition.errors import PlanError, nearest

from .plan import is_image

RAW: Final = 'raw'
REDUCTIONS: Final = ('float16', 'int8')
COMPRESSORS: Final = ('zstd', 'lz4')
JPEG: Final = 'jpeg'
NAMES: Final = (RAW, *COMPRESSORS, *REDUCTIONS, JPEG)
"""What a parameter names; permitted parts may be combined."""

_COMBINED: Final = tuple(f'{reduction}+{compressor}' for reduction in REDUCTIONS for compressor in COMPRESSORS)
TENSOR_ENCODINGS: Final = (RAW, *COMPRESSORS, *REDUCTIONS, *_COMBINED)
"""Those of tensors."""

IMAGE_ENCODINGS: Final = (RAW, *COMPRESSORS, JPEG)
"""Those of the camera's image, where it comes as pixels."""

ENCODINGS: Final = (*TENSOR_ENCODINGS, JPEG)
"""What a transfer of a plan names."""

LOSSLESS: Final = (RAW, *COMPRESSORS)


def parts(encoding: str) -> tuple[str, str]:
    """Return an encoding's reduction (or ``jpeg``) and compressor, each empty where there is none.

    :raises PlanError: if there is no such encoding.
    """
    if encoding not in ENCODINGS:
        raise PlanError(f'unknown encoding {encoding!r}{nearest(encoding, ENCODINGS)}')
    first, _, second = encoding.partition('+')
    if first in (*REDUCTIONS, JPEG):
        return first, second
    return '', '' if first == RAW else first


def is_lossy(encoding: str) -> bool:
    """Return whether an encoding changes the values of a tensor."""
    return bool(parts(encoding)[0])


@dataclass(frozen=True)
class Permitted:
    """Which encodings a plan may use.

    :param names: of `NAMES`; ``raw`` is always permitted.
    :param largest_error: a lossy encoding of a tensor is used only if the error that it makes in the model's output,
        as it was measured while profiling, is at most this share of the output's range.
    :raises PlanError: for an unknown name or an error out of range.
    """

    names: tuple[str, ...] = LOSSLESS
    largest_error: float = 0.02

    def __post_init__(self) -> None:
        """Check the names and the error."""
        check_names(self.names)
        if not 0 <= self.largest_error <= 1:
            raise PlanError(f"largest_error: {self.largest_error:g} must be from 0 to 1: a share of the output's range")

    def allows(self, coding: TensorCoding) -> bool:
        """Return whether a tensor may be sent in this encoding."""
        named = all(not part or part in self.names for part in parts(coding.encoding))
        harmless = not is_lossy(coding.encoding) or (coding.error <= self.largest_error and not coding.top_changed)
        return named and harmless


@dataclass(frozen=True)
class TensorCoding:
    """What an encoding makes of one tensor on one device.

    :param tensor: its name; an image's for those that were coded while profiling.
    :param size: bytes as it is sent.
    :param encode_seconds: to encode it.
    :param decode_seconds: to decode it.
    :param error: the largest difference that it makes in the model's outputs, as a share of their range.
    :param top_changed: whether another class comes out first.
    :raises PlanError: if there is no such encoding or a number is out of range.
    """

    tensor: str
    encoding: str
    size: int
    encode_seconds: float
    decode_seconds: float
    error: float = 0.0
    top_changed: bool = False

    def __post_init__(self) -> None:
        """Check the name and the numbers."""
        parts(self.encoding)
        if self.encoding not in (IMAGE_ENCODINGS if is_image(self.tensor) else TENSOR_ENCODINGS):
            raise PlanError(f'{self.tensor!r} cannot be sent as {self.encoding}')
        numbers = (self.size, self.encode_seconds, self.decode_seconds, self.error)
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise PlanError(f'{self.tensor!r} as {self.encoding}: bytes, seconds and error must be finite and not negative')

    def scaled(self, factor: float) -> TensorCoding:
        """Return the figures for a device that is ``factor`` times slower."""
        return replace(self, encode_seconds=self.encode_seconds * factor, decode_seconds=self.decode_seconds * factor)


def check_names(names: Collection[str]) -> None:
    """Raise if a name is not one of `NAMES`.

    :raises PlanError: naming the nearest known one.
    """
    for name in names:
        if name not in NAMES:
            raise PlanError(f'unknown encoding {name!r}{nearest(name, NAMES)}; all are {", ".join(NAMES)}')


def names_of(text: str) -> tuple[str, ...]:
    """Read names separated by commas.

    :raises PlanError: for an unknown one.
    """
    names: Sequence[str] = [name.strip() for name in text.split(',') if name.strip()]
    check_names(names)
    return tuple(names)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The names of the ways in which a tensor can be sent, and which of them a plan may use.

An encoding is ``raw``, a *reduction* (``float16``, ``int8``: fewer bits, lossy), a *compressor* (``zstd``, ``lz4``:
lossless) or a reduction that is then compressed, written ``int8+zstd``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.errors import PlanError

from .problem import nearest

RAW: Final = 'raw'
REDUCTIONS: Final = ('float16', 'int8')
COMPRESSORS: Final = ('zstd', 'lz4')
NAMES: Final = (RAW, *COMPRESSORS, *REDUCTIONS)
"""What a parameter names; permitted parts may be combined."""

ENCODINGS: Final = (*NAMES, *(f'{reduction}+{compressor}' for reduction in REDUCTIONS for compressor in COMPRESSORS))
"""What a transfer of a plan names."""

LOSSLESS: Final = (RAW, *COMPRESSORS)


def parts(encoding: str) -> tuple[str, str]:
    """Return an encoding's reduction and compressor, each empty where there is none.

    :raises PlanError: if there is no such encoding.
    """
    if encoding not in ENCODINGS:
        raise PlanError(f'there is no encoding {encoding!r}{nearest(encoding, ENCODINGS)}')
    first, _, second = encoding.partition('+')
    if first in REDUCTIONS:
        return first, second
    return '', '' if first == RAW else first


def is_lossy(encoding: str) -> bool:
    """Return whether a tensor comes out of an encoding otherwise than it went in."""
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
            raise PlanError(f"largest_error: {self.largest_error:g} is not from 0 to 1, a share of the output's range")

    def allows(self, encoding: str, error: float) -> bool:
        """Return whether a tensor whose encoding makes this error may be sent so."""
        named = all(not part or part in self.names for part in parts(encoding))
        return encoding == RAW or (named and (not is_lossy(encoding) or error <= self.largest_error))


def check_names(names: Collection[str]) -> None:
    """Raise if one of some names is none of `NAMES`.

    :raises PlanError: naming the nearest known one.
    """
    for name in names:
        if name not in NAMES:
            raise PlanError(f'there is no encoding {name!r}{nearest(name, NAMES)}; all are {", ".join(NAMES)}')


def names_of(text: str) -> tuple[str, ...]:
    """Read names separated by commas.

    :raises PlanError: for an unknown one.
    """
    names: Sequence[str] = [name.strip() for name in text.split(',') if name.strip()]
    check_names(names)
    return tuple(names)

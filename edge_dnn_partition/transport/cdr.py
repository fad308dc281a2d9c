# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages in CDR, written and read without the generated classes, which cost several times as much on either side.

The format is XCDR version 1 (OMG DDS XTypes 1.3, 7.4.1): a header of four bytes, then each value at a multiple of its own size.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from edge_dnn_partition.errors import WireError

T = TypeVar('T')

LITTLE_HEADER: Final = b'\x00\x01\x00\x00'
NO_SEAL: Final = bytes(4)
"""An empty seal, with which a message of the fleet ends; it stands at a multiple of 4."""
_COUNTS: Final = {order: struct.Struct(f'{order}I').unpack_from for order in '<>'}
_ORDERS: Final = {b'\x00\x01': '<', b'\x00\x00': '>'}
_HEADER_BYTES: Final = len(LITTLE_HEADER)
_LONGEST_TEXT: Final = 4096
_CODES: Final = re.compile(r'(\d*)([a-zA-Z?])')
_MOST_PADDING: Final = 3
_PADDING: Final = tuple(bytes(size) for size in range(8))


@functools.lru_cache(maxsize=4096)
def _padded(order: str, codes: str, phase: int) -> struct.Struct:
    """Return the values of ``codes`` with what CDR puts between them, where the first byte is at ``phase`` of 8."""
    form, at = order, phase
    for count, code in _CODES.findall(codes):
        size = struct.calcsize(f'={code}')
        padding = -at % size
        form += f'{padding}x{count}{code}'
        at += padding + size * int(count or 1)
    return struct.Struct(form)


@functools.lru_cache(maxsize=1024)
def _text(value: str, padding: int) -> bytes:
    encoded = value.encode()
    return bytes(padding) + struct.pack('<I', len(encoded) + 1) + encoded + b'\0'


class Writer:
    """Appends values to ``out``, little endian.

    :param begin: what it begins with: a whole number of values behind the header.
    """

    def __init__(self, begin: bytes = LITTLE_HEADER) -> None:
        self.out = bytearray(begin)

    def put(self, codes: str, *values: float) -> None:
        """Append numbers, one for each of ``struct``'s codes (a count before a code is that of numbers).

        :raises struct.error: if one does not fit.
        """
        self.out += _padded('<', codes, (len(self.out) - _HEADER_BYTES) & 7).pack(*values)

    def text(self, value: str) -> None:
        """Append a text."""
        self.out += _text(value, -len(self.out) & 3)

    def raw(self, data: bytes | memoryview) -> None:
        """Append a sequence of bytes."""
        self.put('I', len(data))
        self.out += data

    def sequence(self, items: tuple[T, ...], write: Callable[[Writer, T], None]) -> None:
        """Append a sequence, each item by ``write``."""
        self.put('I', len(items))
        for item in items:
            write(self, item)

    def numbers(self, code: str, values: Iterable[float]) -> None:
        """Append a sequence of numbers."""
        items = tuple(values)
        self.put(f'I{len(items)}{code}' if items else 'I', len(items), *items)

    def sealed(self) -> bytes:
        """Return the whole message, which ends with an empty seal."""
        self.out += _PADDING[-len(self.out) & 3] + NO_SEAL
        return bytes(self.out)


class Reader:
    """Reads values one after another; ``at`` is where the next one begins. They raise `struct.error` where the bytes end too soon.

    :param raw: the message, of either byte order.
    :raises WireError: if it is not plain CDR.
    """

    __slots__ = ('_count_at', '_order', 'at', 'raw')

    def __init__(self, raw: bytes) -> None:
        order = _ORDERS.get(raw[:2])
        if order is None:
            raise WireError(f'a message of {len(raw)} bytes begins with {raw[:4].hex()!r}, which is not plain CDR')
        self.raw, self._order, self.at = raw, order, _HEADER_BYTES
        self._count_at = _COUNTS[order]

    def take(self, codes: str) -> tuple[Any, ...]:
        """Return numbers, one for each of ``struct``'s codes."""
        form = _padded(self._order, codes, (self.at - _HEADER_BYTES) & 7)
        values = form.unpack_from(self.raw, self.at)
        self.at += form.size
        return values

    def count(self) -> int:
        """Return the length that a text or a sequence begins with."""
        at = self.at + (-self.at & 3)
        self.at = at + 4
        length: int = self._count_at(self.raw, at)[0]
        return length

    def expect(self, size: int) -> None:
        """Raise unless so many bytes are left.

        :raises WireError: with both numbers.
        """
        if self.at + size > len(self.raw):
            raise WireError(f'a message of {len(self.raw)} bytes names {size} more than it has')

    def text(self) -> str:
        """Return a text.

        :raises WireError: if it is too long, or has no end.
        """
        raw, size = self.raw, self.count()
        if size > _LONGEST_TEXT:
            raise WireError(f'a message has a text of {size} bytes')
        start, self.at = self.at, self.at + size
        if not size or self.at > len(raw) or raw[self.at - 1]:
            raise WireError('a message has a text without an end')
        return raw[start : self.at - 1].decode()

    def sequence(self, read: Callable[[Reader], T]) -> tuple[T, ...]:
        """Return a sequence, each item by ``read``, which has a text and a number at least."""
        count = self.count()
        if not count:
            return ()
        self.expect(8 * count)
        return tuple([read(self) for _ in range(count)])

    def numbers(self, code: str) -> tuple[Any, ...]:
        """Return a sequence of numbers."""
        count = self.count()
        if not count:
            return ()
        self.expect(count * struct.calcsize(f'={code}'))
        return self.take(f'{count}{code}')

    def ends(self, spare: int = 0) -> bool:
        """Return whether the message ends with a seal here, but for at most ``spare`` bytes and padding, which Fast DDS may add."""
        end = self.count() + self.at
        return end <= len(self.raw) <= end + _MOST_PADDING + spare

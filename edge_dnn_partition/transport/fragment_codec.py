# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments as the bytes that DDS carries: TensorFragment in CDR, written and read without the generated message class.

The generated class costs several times as much on either side, and a copy of the data. A test holds the two against each
other: each reads what the other writes, so other nodes see ordinary messages. The format is XCDR version 1 (OMG DDS
XTypes 1.3, 7.4.1): a header of four bytes, then each value at a multiple of its own size.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from edge_dnn_partition.errors import WireError

from .fragments import Address, Fragment
from .tensors import WireTensor
from .timing import HopTime, StageTime

T = TypeVar('T')

_BIG: Final = b'\x00\x00'
_LITTLE: Final = b'\x00\x01'
_FIXED: Final = 'QQIIIIB?xxI'
"""From ``incarnation`` to the number of heads; begins at a multiple of 8."""
_LONGEST_TEXT: Final = 4096
_MOST_PADDING: Final = 3
_EMPTY_SHAPE: Final = 8
"""So much longer than needed Fast DDS makes a message, for the numbers that an empty sequence does not have."""


def encode(fragment: Fragment) -> bytes:
    """Return a fragment as little-endian CDR; its data is copied once.

    :raises WireError: if it does not fit into the message.
    """
    try:
        fixed = struct.pack(
            '<' + _FIXED, fragment.incarnation, fragment.sent_ns, fragment.message, fragment.index, fragment.count, fragment.total,
            fragment.kind, fragment.paced, fragment.index == 0,
        )  # fmt: skip
        sender = _sender(fragment.sender)
        if fragment.index:
            return b''.join((sender, fixed, struct.pack('<I', len(fragment.data)), fragment.data, _no_seal(len(fragment.data))))
        writer = _Writer(bytearray(sender + fixed))
        _write_head(writer, fragment)
        writer.number('I', len(fragment.data))
        return b''.join((writer.out, fragment.data, _no_seal(len(fragment.data))))
    except (struct.error, OverflowError) as error:
        raise WireError(f'message {fragment.message} cannot be encoded: {error}') from None


def decode(raw: bytes) -> Fragment:
    """Return the fragment in a CDR message of either byte order; its data is a view of ``raw``.

    :raises WireError: if the bytes end too soon, are too many, or are none of this message.
    """
    order = {_LITTLE: '<', _BIG: '>'}.get(raw[:2])
    if order is None:
        raise WireError(f'a message of {len(raw)} bytes begins with {raw[:4].hex()!r}, which is not plain CDR')
    try:
        return _decode(_Reader(raw, order))
    except struct.error:
        raise WireError(f'a fragment of {len(raw)} bytes ends before it is complete') from None
    except UnicodeDecodeError:
        raise WireError('a fragment has text that is not UTF-8') from None


def _no_seal(data_bytes: int) -> bytes:
    """Return what follows the data, which begins at a multiple of 4."""
    return bytes(-data_bytes % 4 + 4)


@functools.lru_cache(maxsize=256)
def _sender(name: str) -> bytes:
    writer = _Writer(bytearray(_LITTLE + b'\0\0'))
    writer.text(name)
    writer.align(8)
    return bytes(writer.out)


def _decode(reader: _Reader) -> Fragment:
    sender = reader.text()
    incarnation, sent_ns, message, index, count, total, kind, paced, heads = reader.numbers(_FIXED, 8)
    if heads != (index == 0):
        raise WireError(f'fragment {index} of message {message} of {sender!r} has {heads} heads')
    head: dict[str, Any] = _read_head(reader) if heads else {}
    size = reader.number('I')
    reader.expect(size)
    data = memoryview(reader.raw)[reader.at : reader.at + size]
    reader.at += size
    seal = reader.number('I')
    end = reader.at + seal
    padding = _MOST_PADDING + _EMPTY_SHAPE * sum(not tensor.shape for tensor in head.get('layout', ()))
    if not end <= len(reader.raw) <= end + padding:
        raise WireError(f'fragment {index} of message {message} of {sender!r} claims {size} bytes but has another number')
    return Fragment(kind, sender, incarnation, message, index, count, total, data, paced, sent_ns, **head)


def _write_head(writer: _Writer, fragment: Fragment) -> None:
    address = fragment.address
    writer.text(address.model_sha256)
    writer.text(fragment.segment)
    writer.number('Q', address.frame_id)
    writer.number('I', address.plan_version)
    writer.number('H', address.attempt)
    writer.number('h', address.from_stage)
    writer.numbers('QQ', 8, (address.run, address.after))
    writer.number('?', address.snapshot)
    writer.number('d', fragment.encode_seconds)
    writer.sequence(fragment.layout, _write_tensor)
    writer.sequence(fragment.stages, _write_stage)
    writer.sequence(fragment.hops, _write_hop)


def _read_head(reader: _Reader) -> dict[str, Any]:
    model, segment = reader.text(), reader.text()
    frame_id, version = reader.number('Q'), reader.number('I')
    attempt, stage = reader.number('H'), reader.number('h')
    run, after = reader.numbers('QQ', 8)
    address = Address(model, version, frame_id, attempt, stage, run, after, reader.number('?'))
    return {
        'address': address, 'segment': segment,
        'encode_seconds': reader.number('d'), 'layout': reader.sequence(_read_tensor),
        'stages': reader.sequence(_read_stage), 'hops': reader.sequence(_read_hop),
    }  # fmt: skip


def _write_tensor(writer: _Writer, tensor: WireTensor) -> None:
    writer.text(tensor.name)
    writer.number('i', tensor.dtype)
    writer.number('I', len(tensor.shape))
    if tensor.shape:
        writer.numbers(f'{len(tensor.shape)}q', 8, tensor.shape)
    writer.text(tensor.encoding)
    writer.numbers('QQ', 8, (tensor.offset, tensor.size))


def _read_tensor(reader: _Reader) -> WireTensor:
    name, dtype, axes = reader.text(), reader.number('i'), reader.number('I')
    reader.expect(8 * axes)
    shape = reader.numbers(f'{axes}q', 8) if axes else ()
    encoding = reader.text()
    return WireTensor(name, dtype, shape, encoding, *reader.numbers('QQ', 8))


def _write_stage(writer: _Writer, stage: StageTime) -> None:
    writer.text(stage.device)
    writer.number('h', stage.stage)
    writer.numbers('6d', 8, (stage.queue_seconds, stage.decode_seconds, stage.run_seconds, stage.cpu_seconds,
                             stage.joules, stage.deviation_joules))  # fmt: skip
    writer.number('?', stage.energy_measured)


def _read_stage(reader: _Reader) -> StageTime:
    device, stage = reader.text(), reader.number('h')
    queue, decode, run, cpu, joules, deviation = reader.numbers('6d', 8)
    return StageTime(device, stage, queue, decode, run, cpu, joules, deviation, reader.number('?'))


def _write_hop(writer: _Writer, hop: HopTime) -> None:
    writer.text(hop.sender)
    writer.text(hop.receiver)
    writer.number('h', hop.from_stage)
    writer.numbers('QddQ', 8, (hop.size, hop.encode_seconds, hop.spread_seconds, hop.spread_bytes))


def _read_hop(reader: _Reader) -> HopTime:
    return HopTime(reader.text(), reader.text(), reader.number('h'), *reader.numbers('QddQ', 8))


_SIZES: Final = {code: struct.calcsize(f'={code}') for code in 'hHiIqQd?'}


class _Writer:
    """Appends values to ``out``, little endian. What stands in it begins with the header of four bytes."""

    def __init__(self, out: bytearray) -> None:
        self.out = out

    def align(self, size: int) -> None:
        self.out += bytes(-(len(self.out) - 4) % size)

    def number(self, code: str, value: float) -> None:
        self.align(_SIZES[code])
        self.out += struct.pack('<' + code, value)

    def numbers(self, codes: str, size: int, values: Iterable[float]) -> None:
        self.align(size)
        self.out += struct.pack('<' + codes, *values)

    def text(self, value: str) -> None:
        encoded = value.encode()
        self.number('I', len(encoded) + 1)
        self.out += encoded + b'\0'

    def sequence(self, items: tuple[T, ...], write: Callable[[_Writer, T], None]) -> None:
        self.number('I', len(items))
        for item in items:
            write(self, item)


class _Reader:
    """Reads values one after another; ``at`` is where the next one begins."""

    def __init__(self, raw: bytes, order: str) -> None:
        self.raw, self._order = raw, order
        self.at = 4

    def align(self, size: int) -> None:
        self.at += -(self.at - 4) % size

    def expect(self, size: int) -> None:
        if self.at + size > len(self.raw):
            raise WireError(f'a fragment of {len(self.raw)} bytes names {size} more than it has')

    def number(self, code: str) -> Any:
        self.align(_SIZES[code])
        (value,) = struct.unpack_from(self._order + code, self.raw, self.at)
        self.at += _SIZES[code]
        return value

    def numbers(self, codes: str, size: int) -> tuple[Any, ...]:
        self.align(size)
        form = self._order + codes
        values = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self) -> str:
        size = self.number('I')
        if size > _LONGEST_TEXT:
            raise WireError(f'a fragment has a text of {size} bytes')
        self.expect(size)
        start, self.at = self.at, self.at + size
        if not size or self.raw[self.at - 1]:
            raise WireError('a fragment has a text without an end')
        return self.raw[start : self.at - 1].decode()

    def sequence(self, read: Callable[[_Reader], T]) -> tuple[T, ...]:
        count = self.number('I')
        self.expect(8 * count)  # each item has a text and a number at least
        return tuple(read(self) for _ in range(count))

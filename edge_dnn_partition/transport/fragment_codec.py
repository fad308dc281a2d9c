# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments and acknowledgements as the bytes that DDS carries: TensorFragment and HopAck in CDR, without the generated classes.

The generated class costs several times as much on either side, and a copy of the data. A test holds the two against each
other: each reads what the other writes, so other nodes see ordinary messages.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import Any, Final

from edge_dnn_partition.errors import WireError

from .cdr import NO_SEAL, Reader, Writer
from .fragments import Ack, AckState, Address, Fragment
from .tensors import WireTensor
from .timing import HopTime, StageTime

_FIXED: Final = struct.Struct('<QQIIIIB?xxI')
"""From ``incarnation`` to the number of heads; begins at a multiple of 8."""
_FIXED_CODES: Final = 'QQIIIIB?I'
_EMPTY_SHAPE: Final = 8
"""So much longer than needed Fast DDS makes a message, for the numbers that an empty sequence does not have."""
_SIZE: Final = struct.Struct('<I')


def encode(fragment: Fragment) -> bytes:
    """Return a fragment as little-endian CDR; its data is copied once.

    :raises WireError: if it does not fit into the message.
    """
    data = fragment.data
    try:
        fixed = _sender(fragment.sender) + _FIXED.pack(
            fragment.incarnation, fragment.sent_ns, fragment.message, fragment.index, fragment.count, fragment.total,
            fragment.kind, fragment.paced, fragment.index == 0,
        )  # fmt: skip
        if not fragment.index:
            writer = Writer(fixed)
            _write_head(writer, fragment)
            writer.put('I', len(data))
            return b''.join((writer.out, data, bytes(-len(data) % 4), NO_SEAL))
        return b''.join((fixed, _SIZE.pack(len(data)), data, bytes(-len(data) % 4), NO_SEAL))
    except (struct.error, OverflowError) as error:
        raise WireError(f'message {fragment.message} cannot be encoded: {error}') from None


def decode(raw: bytes) -> Fragment:
    """Return the fragment in a CDR message of either byte order; its data is a view of ``raw``.

    :raises WireError: if the bytes end too soon, are too many, or are none of this message.
    """
    try:
        return _decode(Reader(raw))
    except struct.error:
        raise WireError(f'a fragment of {len(raw)} bytes ends before it is complete') from None
    except UnicodeDecodeError:
        raise WireError('a fragment has text that is not UTF-8') from None


@functools.lru_cache(maxsize=256)
def _sender(name: str) -> bytes:
    writer = Writer()
    writer.text(name)
    return bytes(writer.out) + bytes(-(len(writer.out) - 4) % 8)


def _decode(reader: Reader) -> Fragment:
    sender = reader.text()
    incarnation, sent_ns, message, index, count, total, kind, paced, heads = reader.take(_FIXED_CODES)
    if heads != (index == 0):
        raise WireError(f'fragment {index} of message {message} of {sender!r} has {heads} heads')
    head: tuple[Any, ...] = _read_head(reader) if heads else ()
    size = reader.count()
    reader.expect(size)
    data = memoryview(reader.raw)[reader.at : reader.at + size]
    reader.at += size
    if not reader.ends(_EMPTY_SHAPE * sum(not tensor.shape for tensor in head[1]) if head else 0):
        raise WireError(f'fragment {index} of message {message} of {sender!r} claims {size} bytes but has another number')
    return Fragment(kind, sender, incarnation, message, index, count, total, data, paced, sent_ns, *head)


def _write_head(writer: Writer, fragment: Fragment) -> None:
    address = fragment.address
    writer.text(address.model_sha256)
    writer.text(fragment.segment)
    writer.put(
        'QIHhQQ?d', address.frame_number, address.plan_version, address.attempt, address.from_stage, address.run, address.after,
        address.snapshot, fragment.encode_seconds,
    )  # fmt: skip
    writer.sequence(fragment.layout, _write_tensor)
    writer.sequence(fragment.stages, write_stage)
    writer.sequence(fragment.hops, write_hop)


def _read_head(reader: Reader) -> tuple[Any, ...]:
    """Return address, layout, stages, hops, encode_seconds and segment, as `Fragment` takes them."""
    model, segment = reader.text(), reader.text()
    frame_number, version, attempt, stage, run, after, snapshot, encode_seconds = reader.take('QIHhQQ?d')
    address = Address(model, version, frame_number, attempt, stage, run, after, snapshot)
    layout, stages = reader.sequence(_read_tensor), reader.sequence(read_stage)
    return address, layout, stages, reader.sequence(read_hop), encode_seconds, segment


def _write_tensor(writer: Writer, tensor: WireTensor) -> None:
    axes = len(tensor.shape)
    writer.text(tensor.name)
    writer.put(f'iI{axes}q' if axes else 'iI', tensor.dtype, axes, *tensor.shape)
    writer.text(tensor.encoding)
    writer.put('QQ', tensor.offset, tensor.size)


def _read_tensor(reader: Reader) -> WireTensor:
    name, (dtype,), shape, encoding = reader.text(), reader.take('i'), reader.numbers('q'), reader.text()
    return WireTensor(name, dtype, shape, encoding, *reader.take('QQ'))


def write_stage(writer: Writer, stage: StageTime) -> None:
    """Append a stage's timing as a StageTiming."""
    writer.text(stage.device)
    writer.put('h6d?', stage.stage, stage.queue_seconds, stage.decode_seconds, stage.run_seconds, stage.cpu_seconds,
               stage.joules, stage.deviation_joules, stage.energy_measured)  # fmt: skip


def read_stage(reader: Reader) -> StageTime:
    """Return a stage's timing from a StageTiming."""
    return StageTime(reader.text(), *reader.take('h6d?'))


def write_hop(writer: Writer, hop: HopTime) -> None:
    """Append a hop's timing as a HopTiming."""
    writer.text(hop.sender)
    writer.text(hop.receiver)
    writer.put('hQddQ', hop.from_stage, hop.size, hop.encode_seconds, hop.spread_seconds, hop.spread_bytes)


def read_hop(reader: Reader) -> HopTime:
    """Return a hop's timing from a HopTiming."""
    return HopTime(reader.text(), reader.text(), *reader.take('hQddQ'))


# Acknowledgements -------------------------------------------------------------------------------------------------


def encode_ack(ack: Ack, now: float) -> bytes:
    """Return an acknowledgement that is sent now as little-endian CDR.

    :raises WireError: if it does not fit into the message.
    """
    address, writer = ack.address, Writer()
    try:
        writer.put('BB', ack.state, ack.kind)
        writer.text(ack.sender)
        writer.put('Q', ack.incarnation)
        writer.text(ack.receiver)
        writer.put(
            'QHIhIQI', address.frame_number, address.attempt, address.plan_version, address.from_stage, ack.message, ack.total,
            ack.fragment_bytes,
        )  # fmt: skip
        writer.numbers('I', ack.also if ack.state == AckState.COMPLETE else ack.missing)
        held = 0.0 if math.isnan(ack.arrived) else now - ack.arrived
        writer.put('Qd?QQd', ack.spread_bytes, ack.spread_seconds, ack.paced, ack.since_sent_ns, ack.echo_sent_ns, held)
        writer.text(ack.reason)
        return writer.sealed()
    except (struct.error, OverflowError) as error:
        raise WireError(f'the acknowledgement of message {ack.message} cannot be encoded: {error}') from None


def decode_ack(raw: bytes) -> Ack:
    """Return the acknowledgement in a CDR message of either byte order.

    :raises WireError: if the bytes end too soon, are too many, or are none of this message; if its state is unknown, or a time in
        it cannot be.
    """
    try:
        reader = Reader(raw)
        state, kind = reader.take('BB')
        sender, (incarnation,), receiver = reader.text(), reader.take('Q'), reader.text()
        frame_number, attempt, version, from_stage, message, total, fragment_bytes = reader.take('QHIhIQI')
        numbers = reader.numbers('I')
        spread_bytes, spread_seconds, paced, since, echo, held = reader.take('Qd?QQd')
        reason, whole = reader.text(), reader.ends(_EMPTY_SHAPE)
    except struct.error:
        raise WireError(f'an acknowledgement of {len(raw)} bytes ends before it is complete') from None
    except UnicodeDecodeError:
        raise WireError('an acknowledgement has text that is not UTF-8') from None
    if not whole:
        raise WireError(f'an acknowledgement of {len(raw)} bytes, which are too many or too few')
    if state not in _STATES:
        raise WireError(f'an acknowledgement of the unknown state {state}')
    if not (0 <= spread_seconds <= _MOST_SECONDS and 0 <= held <= _MOST_SECONDS):
        raise WireError(f'an acknowledgement of {receiver[:80]!r} with impossible times')
    missing, also = ((), numbers) if state == AckState.COMPLETE else (numbers, ())
    address = Address('', version, frame_number, attempt, from_stage)
    return Ack(
        _STATES[state], kind, sender, incarnation, receiver, address, message, missing, reason, total, fragment_bytes, spread_bytes,
        spread_seconds, paced, since, echo, held_seconds=held, also=also,
    )  # fmt: skip


_STATES: Final = {int(state): state for state in AckState}
_MOST_SECONDS: Final = 1e18

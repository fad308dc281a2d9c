# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments as CDR: the bytes are those of the generated message, and no bytes do harm."""

import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.fragment_codec import decode, decode_ack, encode, encode_ack
from edge_dnn_partition.transport.fragments import NOWHERE, Ack, AckState, Address, Fragment
from edge_dnn_partition.transport.tensors import WireTensor
from edge_dnn_partition.transport.timing import HopTime, StageTime

TEXT = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), max_size=20)
U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
I16, I64 = st.integers(-(2**15), 2**15 - 1), st.integers(-(2**63), 2**63 - 1)
SECONDS = st.floats(allow_nan=False)
TENSORS = st.builds(
    WireTensor, TEXT, st.integers(-(2**31), 2**31 - 1), st.lists(I64, max_size=5).map(tuple), TEXT, U64, U64
)
STAGES = st.builds(StageTime, TEXT, I16, SECONDS, SECONDS, SECONDS, SECONDS, SECONDS, SECONDS, st.booleans())
HOPS = st.builds(HopTime, TEXT, TEXT, I16, U64, SECONDS, SECONDS, U64)
FIRST = st.builds(
    Fragment, st.integers(0, 255), TEXT, U64, U32, st.just(0), U32, U32, st.binary(max_size=50), st.booleans(), U64,
    st.builds(Address, TEXT, U32, U64, U16, I16), st.lists(TENSORS, max_size=3).map(tuple),
    st.lists(STAGES, max_size=3).map(tuple), st.lists(HOPS, max_size=3).map(tuple), SECONDS, TEXT,
)  # fmt: skip
LATER = st.builds(
    Fragment, st.integers(0, 255), TEXT, U64, U32, st.integers(1, 2**32 - 1), U32, U32, st.binary(max_size=50),
    st.booleans(), U64,
)  # fmt: skip
FRAGMENTS = FIRST | LATER
SIMPLE = Fragment(0, 'pi', 7, 5, 0, 2, 8, b'abcd', True, 9, Address('m', 1, 2, 0, -1),
               (WireTensor('t', 2, (8,), 'raw', 0, 8),), (StageTime('pi', 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.1, True),))  # fmt: skip


def message_of(fragment):
    """The same fragment as the generated class, with which the codec must agree."""
    from edge_dnn_partition.msg import FragmentHead, HopTiming, StageTiming, TensorFragment, TensorInfo

    message = TensorFragment(
        sender=fragment.sender, incarnation=fragment.incarnation, sent_ns=fragment.sent_ns, message=fragment.message, index=fragment.index,
        count=fragment.count, total=fragment.total, kind=fragment.kind, paced=fragment.paced, data=list(fragment.data),
    )  # fmt: skip
    if fragment.index == 0:
        message.head = [FragmentHead(
            model_sha256=fragment.address.model_sha256, segment=fragment.segment, frame_number=fragment.address.frame_number,
            plan_version=fragment.address.plan_version, attempt=fragment.address.attempt, from_stage=fragment.address.from_stage,
            run=fragment.address.run, after=fragment.address.after, snapshot=fragment.address.snapshot,
            encode_seconds=fragment.encode_seconds,
            tensors=[TensorInfo(name=t.name, dtype=t.dtype, shape=list(t.shape), encoding=t.encoding, offset=t.offset,
                                size=t.size) for t in fragment.layout],
            stages=[StageTiming(**vars(s)) for s in fragment.stages], hops=[HopTiming(**vars(h)) for h in fragment.hops],
        )]  # fmt: skip
    return message


@settings(deadline=None, derandomize=True)
@given(FRAGMENTS)
def test_there_and_back(fragment):
    assert decode(encode(fragment)) == fragment
    assert decode(encode(fragment) + b'\0\0\0') == fragment, 'padding to a multiple of four'


@settings(deadline=None, derandomize=True, max_examples=300)
@given(FRAGMENTS)
@example(SIMPLE)
def test_the_generated_message_reads_and_writes_the_same(fragment):
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    from edge_dnn_partition.msg import TensorFragment
    from rclpy.serialization import deserialize_message, serialize_message

    message = message_of(fragment)
    serialized = serialize_message(message)
    assert decode(serialized) == fragment
    mine = encode(fragment)
    assert deserialize_message(mine, TensorFragment) == message
    assert 0 <= len(serialized) - len(mine) < 32, 'bytes between the values are whatever was in memory, so only their number'


def test_big_endian_is_read_as_well():
    fragment = dataclasses.replace(SIMPLE, index=1, address=NOWHERE, layout=(), stages=())
    fixed = [(7, 8), (9, 8), (5, 4), (1, 4), (2, 4), (8, 4), (0, 1), (1, 1), (0, 2), (0, 4), (4, 4)]
    raw = b'\0\0\0\0' + (3).to_bytes(4, 'big') + b'pi\0\0' + b''.join(v.to_bytes(n, 'big') for v, n in fixed) + b'abcd'
    raw += (0).to_bytes(4, 'big')
    assert decode(raw) == fragment


@settings(deadline=None, derandomize=True)
@given(FRAGMENTS, st.data())
def test_a_fragment_that_ends_too_soon_is_refused(fragment, data):
    raw = encode(fragment)
    with pytest.raises(WireError):
        decode(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(WireError):
        decode(raw + bytes(32))


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.binary(max_size=200) | st.builds(lambda rest: b'\0\1\0\0' + rest, st.binary(max_size=200)))
def test_any_bytes_are_a_fragment_or_are_refused(raw):
    try:
        fragment = decode(raw)
    except WireError:
        return
    assert len(fragment.data) <= len(raw)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(FRAGMENTS, st.data())
def test_changed_bytes_are_a_fragment_or_are_refused(fragment, data):
    raw = bytearray(encode(fragment))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        changed = decode(bytes(raw))
    except WireError:
        return
    assert len(changed.layout) + len(changed.stages) + len(changed.hops) <= len(raw)


@pytest.mark.parametrize(
    ('change', 'words'),
    [({'total': 2**32}, 'message 5 cannot be encoded'), ({'index': -1}, 'message 5 cannot be encoded'),
     ({'segment': 'x' * 5000}, None)],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change, words):
    fragment = dataclasses.replace(SIMPLE, **change)
    if words is None:
        with pytest.raises(WireError, match='text of 5001 bytes'):
            decode(encode(fragment))
    else:
        with pytest.raises(WireError, match=words):
            encode(fragment)


# Acknowledgements -------------------------------------------------------------------------------------------------

TIMES = st.floats(0, 1e18)
ACKS = st.builds(
    Ack, st.sampled_from(AckState), st.integers(0, 255), TEXT, U64, TEXT, st.builds(Address, st.just(''), U32, U64, U16, I16), U32,
    st.lists(U32, max_size=5).map(tuple), TEXT, U64, U32, U64, TIMES, st.booleans(), U64, U64,
).map(lambda ack: dataclasses.replace(ack, also=ack.missing, missing=()) if ack.state == AckState.COMPLETE else ack)  # fmt: skip
ACK = Ack(AckState.RUN, 0, 'pi', 7, 'jetson', Address('', 3, 4, 5, -1), 6, (), '', 8, 9, 10, 0.5, True, 11, 12, arrived=1.0)


def ack_message(ack, held_seconds=0.0):
    from edge_dnn_partition.msg import HopAck

    address = ack.address
    return HopAck(
        state=int(ack.state), kind=ack.kind, sender=ack.sender, incarnation=ack.incarnation, receiver=ack.receiver,
        frame_number=address.frame_number, attempt=address.attempt, plan_version=address.plan_version, from_stage=address.from_stage,
        message=ack.message, missing=[*ack.missing, *ack.also], reason=ack.reason, total=ack.total, fragment_bytes=ack.fragment_bytes,
        spread_bytes=ack.spread_bytes, spread_seconds=ack.spread_seconds, paced=ack.paced, since_sent_ns=ack.since_sent_ns,
        echo_sent_ns=ack.echo_sent_ns, held_seconds=held_seconds,
    )  # fmt: skip


def same(one, other):
    return dataclasses.replace(one, arrived=0.0) == dataclasses.replace(other, arrived=0.0)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(ACKS)
@example(dataclasses.replace(ACK, arrived=float('nan')))
def test_the_generated_acknowledgement_reads_and_writes_the_same(ack):
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    from edge_dnn_partition.msg import HopAck
    from rclpy.serialization import deserialize_message, serialize_message

    message = ack_message(ack)
    assert same(decode_ack(serialize_message(message)), ack)
    assert deserialize_message(encode_ack(ack, 1.0), HopAck) == message
    assert same(decode_ack(encode_ack(ack, 1.0)), ack)


def test_an_acknowledgement_says_how_long_it_was_held():
    assert decode_ack(encode_ack(ACK, 1.25)).held_seconds == 0.25


@settings(deadline=None, derandomize=True, max_examples=300)
@given(ACKS, st.data())
def test_a_damaged_acknowledgement_is_one_or_is_refused(ack, data):
    raw = bytearray(encode_ack(ack, 1.0))
    with pytest.raises(WireError):
        decode_ack(bytes(raw[: data.draw(st.integers(0, len(raw) - 1))]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_ack(bytes(raw)).spread_seconds >= 0
    except WireError:
        return


@pytest.mark.parametrize(
    ('change', 'words'),
    [({'state': 9}, 'unknown state 9'), ({'spread_seconds': float('nan')}, 'impossible times'),
     ({'spread_seconds': -1.0}, 'impossible times'), ({'spread_seconds': float('inf')}, 'impossible times'),
     ({'arrived': 2.0}, 'impossible times')],
)  # fmt: skip
def test_an_impossible_acknowledgement_is_refused(change, words):
    with pytest.raises(WireError, match=words):
        decode_ack(encode_ack(dataclasses.replace(ACK, **change), 1.0))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of one fragment are acknowledged together, soon enough, and nothing is taken for lost meanwhile."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_hop import Hop

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.fragment_receiver import QUIET_SECONDS, FragmentReceiver
from edge_dnn_partition.transport.fragments import FRAME, HOLD_SECONDS, AckState, Address, TensorMessage
from edge_dnn_partition.transport.tensors import WireTensor


def message(number, size=100, fragment_bytes=1000, sender='a', incarnation=1):
    layout = (WireTensor('t', 2, (size,), 'raw', 0, size),)
    address = Address('m', 1, number, 0, 0)
    return TensorMessage(FRAME, sender, incarnation, address, number, memoryview(bytes(size)), layout, fragment_bytes=fragment_bytes)


def numbers(ack):
    return {ack.message, *ack.also}


@pytest.fixture
def receiver():
    return FragmentReceiver('b', lambda *_: None)


def test_several_are_acknowledged_together(receiver):
    acks = [receiver.on_fragment(message(number).fragment(0), 1.0) for number in range(10)]
    assert [ack and numbers(ack) for ack in acks] == [{0}, None, None, None, {1, 2, 3, 4}, None, None, None, {5, 6, 7, 8}, None]
    assert all(ack.state == AckState.COMPLETE for ack in acks if ack)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 0.3), st.sampled_from('ac'), st.integers(1, 2), st.booleans()), max_size=40))
def test_each_is_acknowledged_once_and_in_time(arrivals):
    receiver, now, tick_at, arrived, answered = FragmentReceiver('b', lambda *_: None), 1.0, math.inf, {}, {}

    def answer(acks):
        for ack in acks:
            for number in numbers(ack):
                key = ack.sender, ack.incarnation, number
                assert key not in answered
                answered[key] = now

    def tick_until(until):
        nonlocal now, tick_at
        while tick_at <= until:
            now = tick_at
            answer(receiver.on_tick(now))
            tick_at = now + QUIET_SECONDS / 2 if receiver.incomplete else math.inf

    for number, (gap, sender, incarnation, large) in enumerate(arrivals, start=1):
        until = now + gap
        tick_until(until)
        now = until
        sent = message(number, 2500 if large else 100, sender=sender, incarnation=incarnation)
        for index in range(sent.count):
            ack = receiver.on_fragment(sent.fragment(index), now)
            answer([] if ack is None else [ack])
        arrived[sender, incarnation, number] = now
        if receiver.incomplete:
            tick_at = min(tick_at, now + QUIET_SECONDS / 2)
    tick_until(now + 1.0)
    assert answered.keys() == arrived.keys()
    assert all(answered[key] - at <= HOLD_SECONDS + 1e-6 for key, at in arrived.items())


def test_messages_that_come_seldom_are_acknowledged_at_once(receiver):
    for number in range(5):
        assert numbers(receiver.on_fragment(message(number).fragment(0), 1.0 + HOLD_SECONDS * number)) == {number}
        assert not receiver.incomplete


def test_a_message_of_several_fragments_takes_others_along(receiver):
    receiver.on_fragment(message(0).fragment(0), 1.0)
    assert receiver.on_fragment(message(1).fragment(0), 1.0) is None
    large = message(2, 2500)
    acks = [receiver.on_fragment(large.fragment(index), 1.0) for index in range(3)]
    assert [ack and numbers(ack) for ack in acks] == [None, None, {1, 2}]


def test_what_comes_again_or_is_refused_is_answered_at_once(receiver):
    receiver.on_fragment(message(0).fragment(0), 1.0)
    assert receiver.on_fragment(message(1).fragment(0), 1.0) is None
    assert numbers(receiver.on_fragment(message(1).fragment(0), 1.1)) == {1}, 'its sender has had no answer'

    def refuse(*_):
        raise WireError('no')

    assert FragmentReceiver('b', refuse).on_fragment(message(1).fragment(0), 1.0).state == AckState.REFUSED


def test_the_own_device_is_answered_at_once(receiver):
    for number in (1, 2, 3):
        assert numbers(receiver.on_fragment(message(number, sender='b').fragment(0), 1.0)) == {number}


@pytest.mark.parametrize(('megabits', 'gap'), [(1.0, 1 / 30), (40.0, 1 / 30), (40.0, 0.5), (100.0, 0.002)])
def test_a_stream_of_small_messages_is_sent_once_and_its_link_stays_as_measured(megabits, gap):
    hop = Hop(megabits, 0.01, 20.0)
    hop.frames(60_000, 5)
    measured, answers = hop.sender.states(hop.now)['b'].bytes_per_second, hop.answers
    count, most_waiting = 200, 0
    taken, take = itertools.count(), hop.outbox.take

    def counted(now):
        found = take(now)
        if found is not None:
            next(taken)
        return found

    hop.outbox.take = counted
    for _ in range(count):
        hop._put(1000)
        until = hop.now + gap
        while hop.now < until:
            hop._step()
            if hop.outbox.quiet and hop.outbox.bytes_unacknowledged:
                assert hop.outbox.may_be_probed(hop.now), 'a link is probed between small messages'
        most_waiting = max(most_waiting, hop.outbox.bytes_unacknowledged)
        assert hop.sender.states(hop.now)['b'].bytes_per_second == pytest.approx(measured, rel=0.05)
    while hop.outbox.bytes_unacknowledged:
        hop._step()
    assert next(taken) == count, 'nothing is sent again'
    assert hop.answers - answers <= (count if gap > HOLD_SECONDS else 0.35 * count)
    assert most_waiting <= (8_000 if gap > 0.01 else 100_000)


def test_small_messages_wait_for_no_answer_while_the_rate_is_a_guess():
    hop = Hop(10.0, 0.01, 20.0)
    for _ in range(3):
        hop._put(1000)
    begun = hop.now
    while hop.outbox._queue:
        hop._step()
    assert hop.now - begun < 0.02


def test_a_lost_small_message_is_sent_again():
    hop = Hop(10.0, 0.01, 20.0)
    hop.cut(0.0, 0.2)
    hop._put(1000)
    while hop.outbox.bytes_unacknowledged:
        assert hop.now < 2.0
        hop._step()
    assert hop._arrived > 0.2


@pytest.mark.parametrize('size', [1000, 60_000, 600_000])
@pytest.mark.parametrize('share', [0.05, 0.3])
def test_acknowledgements_that_are_lost_cost_fragments_and_no_message(size, share):
    hop = Hop(20.0, 0.01, 20.0, lost_answers=lambda: chance.random() < share)
    chance, arrivals = random.Random(7), []
    hop.receiver._on_message = lambda received, _: arrivals.append(received.number)
    for _ in range(60):
        hop._put(size)
        until = hop.now + max(0.05, 1.2 * size / hop.wire.rate)
        while hop.now < until:
            hop._step()
    while hop.outbox.bytes_unacknowledged:
        assert hop.now < 120
        hop._step()
    assert len(arrivals) == 60, 'each arrives once'
    assert hop.sender.links['b'].estimator.estimate.bytes_per_second > 0.5 * hop.wire.rate

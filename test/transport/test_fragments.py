# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages come back whole from fragments in any order, and a contradictory fragment changes nothing."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.assembler import Assembler
from edge_dnn_partition.transport.fragments import FRAGMENTS_FOR_DISPERSION, FRAME, NOWHERE, PROBE, Address, TensorMessage
from edge_dnn_partition.transport.tensors import WireTensor, pack, unpack

ADDRESS = Address('a' * 64, 3, 17, 0, 1)


def message(size=1000, fragment_bytes=90, number=5, seed=0):
    data = np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)
    layout, buffer = pack({'t': data})
    return TensorMessage(FRAME, 'pi', 7, ADDRESS, number, buffer, layout, fragment_bytes=fragment_bytes, encode_seconds=0.25)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 700), st.integers(1, 120), st.data())
def test_any_order_with_losses_and_repetitions(size, fragment_bytes, data):
    sent = message(size, fragment_bytes)
    assembler = Assembler()
    order = data.draw(st.permutations(range(sent.count)))
    lost = data.draw(st.sets(st.integers(0, sent.count - 1), max_size=63))
    stream = [i for i in order if i not in lost]
    stream = [i for i in stream for _ in range(data.draw(st.integers(1, 2)) if i % 5 == 0 else 1)]
    done = [assembler.add(sent.fragment(i), 1.0) for i in stream]
    whole = [item for item in done if item is not None]
    assert len(whole) == (not lost)
    if lost and stream:
        (gap,) = assembler.overdue(2.0, 0.5)
        assert (gap.key, gap.address, gap.kind, gap.missing) == (
            ('pi', 7, 5), NOWHERE if 0 in lost else ADDRESS, FRAME, sorted(lost)
        )  # fmt: skip
        assert not list(assembler.overdue(2.1, 0.5)), 'asked again too soon'
        (again,) = assembler.overdue(3.1, 0.5)
        assert (again.missing, again.spread_bytes) == (gap.missing, 0)
    whole += [item for i in sorted(lost) if (item := assembler.add(sent.fragment(i), 3.0))]
    assert len(whole) == 1
    assert whole[0].buffer == bytes(sent.buffer)
    assert (whole[0].layout, whole[0].address, whole[0].encode_seconds) == (sent.layout, ADDRESS, 0.25)
    assert unpack(whole[0].layout, whole[0].buffer)['t'].tobytes() == bytes(sent.buffer)
    assert assembler.held_bytes == 0
    assert assembler.is_done(('pi', 7, 5))
    assert assembler.add(sent.fragment(0), 4.0) is None, 'a message came out twice'


def test_a_message_that_comes_under_two_numbers_is_handed_over_once():
    """A sender that cuts a message anew cannot know whether the old fragments arrive after all."""
    one, other = message(number=5), message(number=6, fragment_bytes=50)
    assembler = Assembler()
    for index in range(one.count - 1):
        assert assembler.add(one.fragment(index), 1.0) is None
    assert [assembler.add(other.fragment(i), 2.0) for i in range(other.count)][-1].buffer == bytes(one.buffer)
    assert assembler.add(one.fragment(one.count - 1), 3.0) is None
    assert assembler.is_done(('pi', 7, 5))
    assert assembler.held_bytes == 0
    again = dataclasses.replace(one, number=7, address=dataclasses.replace(ADDRESS, attempt=1))
    assert [assembler.add(again.fragment(i), 4.0) for i in range(again.count)][-1] is not None


WRONG = {
    'count': {'count': 11}, 'total': {'total': 999}, 'none': {'count': 0}, 'too many': {'count': 1 << 24},
    'index': {'index': 12}, 'short': {'data': b'x' * 80},
    'empty': {'data': b''}, 'too long': {'data': b'x' * 950}, 'too large': {'total': 1 << 40},
}  # fmt: skip


@pytest.mark.parametrize('wrong', WRONG)
@pytest.mark.parametrize('before', [0, 1, 4])
def test_a_contradictory_fragment_is_refused_and_what_was_there_stays(wrong, before):
    sent = message()
    assembler = Assembler(max_bytes=1 << 20)
    for i in range(2, 2 + before):
        assert assembler.add(sent.fragment(i), 0.0) is None
    held = assembler.held_bytes
    bad = dataclasses.replace(sent.fragment(1), **WRONG[wrong])
    if before or wrong != 'total':  # of a first fragment alone nobody can tell
        with pytest.raises(WireError):
            assembler.add(bad, 1.0)
        assert assembler.held_bytes == held
        whole = [assembler.add(sent.fragment(i), 2.0) for i in range(sent.count)]
        assert whole[-1].buffer == bytes(sent.buffer)


def test_a_last_fragment_with_a_wrong_length_leaves_no_hole():
    sent = message(100, 60)
    bad = dataclasses.replace(sent.fragment(1), data=sent.buffer[70:])
    assembler = Assembler()
    with pytest.raises(WireError):
        [assembler.add(fragment, 0.0) for fragment in (bad, sent.fragment(0))]
    assert not assembler.is_done(('pi', 7, 5))


def test_a_layout_that_lies_outside_is_refused_and_the_right_one_taken():
    sent = message()
    bad = dataclasses.replace(sent.fragment(0), layout=(WireTensor('t', 2, (2000,), 'raw', 0, 2000),))
    assembler = Assembler()
    assembler.add(sent.fragment(1), 0.0)
    with pytest.raises(WireError, match='outside'):
        assembler.add(bad, 0.0)
    assert [assembler.add(sent.fragment(i), 0.0) for i in range(sent.count)][-1].buffer == bytes(sent.buffer)


def test_memory_is_bounded_and_the_oldest_makes_room():
    assembler = Assembler(max_bytes=2500)
    for number in range(1, 6):
        assembler.add(message(number=number).fragment(0), float(number))
        assert assembler.held_bytes <= 2500
    assert assembler.evicted == 3
    assert sorted(gap.key[2] for gap in assembler.overdue(100.0, 1.0)) == [4, 5]
    assert assembler.forget(12.5, 8.0) == 1
    assert assembler.held_bytes == 1000


def arrive(fragments, gap_seconds, *, paced, sent_gap=0.001, lost=()):
    """Return what the assembler says of a message of so many fragments of 90 bytes."""
    sent, assembler = message(90 * fragments, 90), Assembler()
    came = None
    for i in range(fragments):
        if i not in lost:
            fragment = sent.fragment(i, paced=paced, sent_ns=round(i * sent_gap * 1e9))
            came = assembler.add(fragment, 10.0 + i * gap_seconds)
    return came, assembler


def test_rate_is_taken_from_all_fragments_or_from_those_that_were_sent_faster():
    whole, _ = arrive(20, 0.005, paced=True)
    assert (whole.spread_bytes, whole.spread_seconds, whole.paced) == (19 * 90, pytest.approx(0.095), False)
    whole, _ = arrive(20, 0.005, paced=False)
    assert (whole.spread_bytes, whole.spread_seconds) == ((FRAGMENTS_FOR_DISPERSION - 1) * 90, pytest.approx(0.035))
    whole, _ = arrive(4, 0.005, paced=False)
    assert (whole.spread_bytes, whole.spread_seconds) == (3 * 90, pytest.approx(0.015))


def runs_of(gaps, *, fast=0, sent_gap=0.01):
    """Return what is told of a message while it comes: each fragment so long after the one before, the first few sent faster."""
    sent, assembler = message(90 * (len(gaps) + 1), 90), Assembler()
    told, now = [], 10.0
    for i, gap in enumerate((0.0, *gaps)):
        now += gap
        fragment = sent.fragment(i, paced=i >= fast, sent_ns=round((i + 1) * sent_gap * 1e9))
        received = assembler.add(fragment, now)
        told.append(assembler.run(fragment))
    return [run for run in told if run is not None], received


def test_a_long_message_is_told_of_while_it_comes():
    told, received = runs_of([0.01] * 11 + [0.03] * 15)
    assert [run.as_they_left for run in told] == [True, False]
    assert told[0].bytes == 11 * 90 and told[0].seconds == pytest.approx(0.11)
    assert told[1].bytes == 7 * 90 and told[1].seconds == pytest.approx(0.21)
    assert received.spread_bytes == 8 * 90 and received.spread_seconds == pytest.approx(0.24), 'the rest of it'
    assert received.since_sent_ns == told[1].echo_sent_ns


def test_fragments_that_look_for_room_are_a_run_of_their_own():
    told, _ = runs_of([0.005] * 7 + [0.01] * 30, fast=8, sent_gap=0.005)
    assert (told[0].bytes, told[0].seconds) == (7 * 90, pytest.approx(0.035))
    assert told[0].echo_sent_ns == round(8 * 0.005e9)


def test_of_what_comes_slowly_few_fragments_are_told_of():
    told, _ = runs_of([0.1] * 8)
    assert [run.bytes for run in told] == [3 * 90, 3 * 90]


def test_a_short_message_is_told_of_once():
    told, received = runs_of([0.004] * 20)
    assert not told and not received.since_sent_ns and received.spread_bytes == 20 * 90


@given(st.lists(st.floats(0.0, 0.3), min_size=2, max_size=60), st.integers(0, 20))
def test_what_is_told_of_a_message_adds_up_to_what_has_come(gaps, fast):
    told, received = runs_of(gaps, fast=fast)
    assert all(before.echo_sent_ns <= after.since_sent_ns for before, after in itertools.pairwise(told))
    assert sum(run.bytes for run in told) + (received.spread_bytes if told else 0) <= 90 * len(gaps)
    assert all(run.seconds >= (run.echo_sent_ns - run.since_sent_ns) * 1e-9 - 1e-6 for run in told)


def test_the_pace_is_what_was_measured_unless_the_link_stretched_it():
    assert arrive(20, 0.5, paced=True, sent_gap=0.5)[0].paced
    assert arrive(20, 0.5, paced=True, sent_gap=0.49)[0].paced
    assert not arrive(20, 0.5, paced=True, sent_gap=0.4)[0].paced
    held_up, _ = arrive(20, 0.0, paced=True, sent_gap=0.4)
    assert held_up.paced
    assert held_up.spread_seconds == pytest.approx(19 * 0.4)


def test_a_sender_that_was_late_shows_its_own_pace_also_with_the_fragments_that_look_for_room():
    as_they_left, _ = arrive(20, 0.5, paced=False, sent_gap=0.5)
    assert as_they_left.paced
    assert not arrive(20, 0.5, paced=False, sent_gap=0.4)[0].paced


def test_what_is_missing_of_a_probe_is_told_once():
    assembler = Assembler()
    probe = dataclasses.replace(message(900, 90), kind=PROBE)
    for i in range(4):
        assembler.add(probe.fragment(i), 10.0)
    told = [gap for at in (10.5, 11.0, 20.0) for gap in assembler.overdue(at, 0.1)]
    assert [gap.missing for gap in told] == [list(range(4, 10))]
    assert assembler.held_bytes == 0


def test_a_gap_says_what_is_missing_and_how_fast_the_rest_came():
    came, assembler = arrive(20, 0.005, paced=True, lost=(3, 4, 11))
    assert came is None
    sent = message(1800, 90)
    assert assembler.gap(sent.fragment(18), 20.0) is None, 'too few to be worth an acknowledgement while others are coming'
    gap = assembler.gap(sent.fragment(19), 20.0)
    assert (gap.missing, gap.spread_bytes, gap.spread_seconds) == ([3, 4, 11], 16 * 90, pytest.approx(0.095))
    assert assembler.gap(sent.fragment(19), 20.1).spread_bytes == 0
    assert assembler.gap(dataclasses.replace(sent, number=6).fragment(19), 20.0) is None
    whole = [assembler.add(sent.fragment(i), 21.0) for i in (3, 4, 11)][-1]
    assert whole.buffer == bytes(sent.buffer)
    assert (whole.spread_bytes, whole.spread_seconds) == (0, 0.0), 'what was sent again says nothing of the rate'


def test_many_missing_fragments_are_told_of_before_the_last_is_here():
    """And again when they are twice as many: the link is far slower than the pace."""
    sent = message(18_000, 90)
    assembler = Assembler()
    told = []
    for index in range(0, 199, 4):
        fragment = sent.fragment(index)
        assert assembler.add(fragment, 10.0 + index) is None
        if (gap := assembler.gap(fragment, 10.0 + index)) is not None:
            told.append((index, gap.spread_bytes, gap.spread_seconds))
            assert gap.missing == [i for i in range(index) if i % 4]
    assert told == [(24, 6 * 90, 24.0), (48, 0, 0.0), (96, 0, 0.0), (192, 0, 0.0)]


def test_slow_fragments_are_waited_for():
    _, assembler = arrive(5, 0.4, paced=True, lost=(4,))
    assert not list(assembler.overdue(11.2 + 0.5, 0.1))
    assert [gap.missing for gap in assembler.overdue(11.2 + 1.0, 0.1)] == [[4]]

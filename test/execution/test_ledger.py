# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's books stay right whatever happens, and results come in order, each once."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_dnn_partition.execution.frames.ledger import DELIVERED, EXPIRED, FAILED, LOST, FrameLedger
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.monitoring.missed_results import MissedResults

ONE = np.ones(1)


def inputs(data, encoding='jpeg', header=None):
    return FrameInputs.of_image(CameraImage(data, encoding), header)


class Books(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.ledger = FrameLedger(waiting=2, attempts=3)
        self.now = 0.0
        self.offered = self.whole = self.refused = self.late = 0
        self.expired, self.failed, self.lost = set(), set(), set()
        self.begun, self.timeouts = {}, {}
        self.open = {}
        self.waiting = []
        self.asking = []
        self.asked_last = False
        self.released = []

    @rule()
    def offer(self):
        self.offered += 1
        self.ledger.offer(inputs(np.full(1, self.offered % 256, np.uint8), 'jpeg', self.offered))
        self.waiting = [*self.waiting, self.offered][-2:]

    @rule()
    def ask(self):
        self.offered += 1
        self.ledger.ask(inputs(np.zeros(2, np.uint8), 'mono8', self.offered), call=self.offered)
        self.asking.append(self.offered)

    @rule(place=st.integers(0, 3))
    def withdraw(self, place):
        number = self.asking.pop(place) if place < len(self.asking) else self.offered + 1
        assert self.ledger.withdraw(number) is (number <= self.offered)

    @rule(most=st.integers(1, 4))
    def accept(self, most):
        self.now += 1
        frame = self.ledger.accept(self.now, 1, most)
        if (self.waiting or self.asking) and len(self.open) < most:
            asked = frame.call is not None
            if self.waiting and self.asking:
                assert asked is not self.asked_last, 'they take turns'
            self.asked_last = asked
            number = (self.asking if asked else self.waiting).pop(0)
            assert (frame.inputs.header, frame.call) == (number, number if asked else None)
            self.open[frame.frame_number] = (0, set())
            self.begun[frame.frame_number] = self.now
        else:
            assert frame is None

    def some(self, number, under_way):
        """Return a frame's number; that of one under way, if there is one and it is wanted."""
        return sorted(self.open)[number % len(self.open)] if under_way and self.open else number

    @rule(number=st.integers(1, 12), under_way=st.booleans(), timeout=st.booleans())
    def repeat(self, number, under_way, timeout):
        frame_number = self.some(number, under_way)
        frame = self.ledger.repeat(frame_number, self.now, 2, timeout=timeout)
        if frame_number not in self.open:
            assert frame is None
            return
        self.timeouts[frame_number] = self.timeouts.get(frame_number, 0) + timeout
        attempt = self.open[frame_number][0] + 1
        if self.timeouts[frame_number] >= 3:
            assert frame is None
            del self.open[frame_number]
            self.lost.add(frame_number)
        else:
            assert (frame.attempt, frame.plan_version, frame.outputs) == (attempt, 2, {})
            self.open[frame_number] = (attempt, set())

    @rule(number=st.integers(1, 12), under_way=st.booleans())
    def fail(self, number, under_way):
        frame_number = self.some(number, under_way)
        assert self.ledger.fail(frame_number, self.now, f'cut off, {frame_number}') is (frame_number in self.open)
        if self.open.pop(frame_number, None) is not None:
            self.failed.add(frame_number)

    @rule(
        number=st.integers(1, 12), under_way=st.booleans(), attempt=st.integers(0, 3),
        names=st.sets(st.sampled_from('ab'), min_size=1),
    )  # fmt: skip
    def result(self, number, under_way, attempt, names):
        frame_number = self.some(number, under_way)
        whole = self.ledger.result(frame_number, attempt, min(attempt, 1) + 1, dict.fromkeys(names, ONE), (), (), 2, self.now)
        if frame_number not in self.open:
            if frame_number in self.expired | self.failed | self.lost:
                self.late += 1
            else:
                self.refused += 1
            assert not whole
            return
        now, have = self.open[frame_number]
        if attempt == now or len(names) == 2:
            have |= names
        assert (whole is not None) == (len(have) == 2)
        if whole:
            del self.open[frame_number]
            self.whole += 1

    @rule()
    def release(self):
        for frame in self.ledger.release():
            ends = {EXPIRED: self.expired, FAILED: self.failed, LOST: self.lost}
            assert {status for status, frames in ends.items() if frame.frame_number in frames} == {frame.status} - {DELIVERED}
            assert frame.reason == (f'cut off, {frame.frame_number}' if frame.status == FAILED else frame.reason)
            self.released.append(frame.frame_number)
        assert not self.released or not self.open or self.released[-1] < min(self.open)

    @rule(age=st.integers(1, 5))
    def expire(self, age):
        old = [frame_number for frame_number in self.open if self.now - self.begun[frame_number] >= age]
        assert [frame.frame_number for frame in self.ledger.expire(self.now, age)] == old
        for frame_number in old:
            del self.open[frame_number]
        self.expired.update(old)

    @precondition(lambda self: len(self.open) > 2)
    @rule()
    def give_up(self):
        self.ledger.give_up(self.now)
        self.lost.update(self.open)
        self.open.clear()

    @invariant()
    def books(self):
        counts = self.ledger.counts
        assert counts.accepted == counts.delivered + counts.expired + counts.lost + counts.failed + self.ledger.in_flight
        assert counts.offered == self.offered == counts.accepted + counts.dropped + len(self.waiting) + len(self.asking)
        assert (counts.delivered, counts.duplicated) == (self.whole, self.refused)
        assert (counts.expired, counts.failed, counts.late) == (len(self.expired), len(self.failed), self.late)
        assert [frame.frame_number for frame in self.ledger.unfinished] == sorted(self.open)
        assert self.released == list(range(1, len(self.released) + 1))


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestBooks = Books.TestCase


@pytest.mark.parametrize(('attempt', 'version'), [(0, 1), (1, 1), (0, 2)])
def test_parts_of_two_sendings_are_not_mixed(attempt, version):
    ledger = FrameLedger(first_id=1)
    ledger.offer(inputs(np.zeros(1, np.uint8)))
    ledger.accept(0.0, 1, 1)
    ledger.repeat(1, 1.0, 2)
    assert ledger.result(1, attempt, version, {'a': np.zeros(1)}, (), (), 2, 2.0) is None
    assert ledger.result(1, 1, 2, {'b': ONE}, (), (), 2, 3.0) is None
    whole = ledger.result(1, 1, 2, {'a': ONE}, (), (), 2, 4.0)
    assert [int(whole.outputs[name][0]) for name in 'ab'] == [1, 1]


def test_frames_of_an_earlier_run_go_first_in_order():
    ledger = FrameLedger(first_id=100)
    one = inputs(np.zeros(1, np.uint8))
    ledger.restore(7, one, 1.0)
    ledger.restore(9, one, 1.0)
    for wrong in (8, 100):
        with pytest.raises(ValueError, match='restored'):
            ledger.restore(wrong, one, 1.0)
    ledger.offer(one)
    assert ledger.accept(2.0, 1, 3).frame_number == 100
    assert [ledger.repeat(frame, 2.0, 1).frame_number for frame in (7, 9)] == [7, 9]
    for frame in (100, 9, 7):
        assert ledger.release() == []
        ledger.result(frame, 1 if frame < 100 else 0, 1, {'a': ONE}, (), (), 1, 3.0)
    assert [frame.frame_number for frame in ledger.release()] == [7, 9, 100]
    counts = ledger.counts
    assert (counts.offered, counts.accepted, counts.delivered) == (3, 3, 3)


def test_a_frame_of_an_earlier_run_whose_result_came_is_not_lost():
    ledger = FrameLedger(first_id=100)
    one = inputs(np.zeros(1, np.uint8))
    for frame in (7, 8, 9):
        ledger.restore(frame, one, 1.0)
    for frame in (7, 9):
        assert ledger.result(frame, 0, 1, {'a': ONE}, (), (), 1, 3.0)
    assert [frame.frame_number for frame in ledger.release()] == [7]
    assert [ledger.lose(frame, 4.0) for frame in (7, 8, 9)] == [False, True, False]
    assert (ledger.counts.delivered, ledger.counts.lost) == (2, 1)
    assert [frame.frame_number for frame in ledger.release()] == [8, 9]


def test_numbers_rise_although_the_wall_clock_was_set_back():
    ledger = FrameLedger(first_id=100)
    ledger.number_above(5_000)
    ledger.number_above(7)
    ledger.offer(inputs(np.zeros(1, np.uint8)))
    assert ledger.accept(0.0, 1, 1).frame_number == 5_001


def test_results_that_wait_behind_one_frame_are_bounded():
    ledger = FrameLedger(first_id=1, hold_bytes=100)
    for _ in range(2):
        ledger.offer(inputs(np.zeros(60, np.uint8)))
        ledger.accept(0.0, 1, 10)
        ledger.result(2, 0, 1, {'a': ONE}, (), (), 1, 1.0)
    for _ in range(2):  # 68 bytes wait, then 136: what is accepted now would wait as well
        ledger.offer(inputs(np.zeros(60, np.uint8)))
        if (frame := ledger.accept(1.0, 1, 10)) is not None:
            ledger.result(frame.frame_number, 0, 1, {'a': ONE}, (), (), 1, 1.0)
    assert [ledger.release(), ledger.counts.accepted] == [[], 3]
    ledger.fail(1, 2.0, 'cut off')
    assert [frame.frame_number for frame in ledger.release()] == [1, 2, 3]
    assert ledger.accept(2.0, 1, 10).frame_number == 4


def test_a_reader_counts_what_it_missed():
    missed = MissedResults()
    results = [(5, 8), (5, 9), (5, 12), (5, 12), (6, 1), (7, 3)]
    found = [missed.received(SimpleNamespace(incarnation=run, sequence=number, frame_number=0)) for run, number in results]
    assert (found, missed.missed) == ([0, 0, 2, 0, 0, 2], 4)


def test_a_reader_knows_what_comes_again():
    missed, taken = MissedResults(), []
    for number, frame_number, redelivered in [(1, 10, False), (2, 11, False), (1, 11, True), (2, 12, True), (3, 13, False), (4, 13, True)]:
        result = SimpleNamespace(incarnation=number, sequence=number, frame_number=frame_number, redelivered=redelivered)
        if missed.is_new(result):
            taken.append(frame_number)
        missed.received(result)
    assert (taken, missed.again) == ([10, 11, 12, 13], 2)

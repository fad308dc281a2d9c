# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whole messages leave by priority, are kept until they are answered, and show rate and delay of their link."""

import math

import pytest

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.fragments import FRAME, Ack, AckState, Address, TensorMessage
from edge_dnn_partition.transport.whole_sender import PING_BYTES, WholeSender

FLEET = parse_fleet({'fleet': 'f', 'source': 'pi', 'devices': {'pi': {}, 'box': {}}}, what='fleet')
TARGET = ('box', False)


class Link:
    """A link with a queue: what is taken arrives after its own time behind all before it, and is answered."""

    def __init__(self, megabits=8.0, delay=0.02):
        self.rate, self.delay, self.now, self.free_at = megabits * 125e3, delay, 100.0, 0.0
        self.sender = WholeSender(FLEET, 'pi', 7)
        self.sender.connect(TARGET)
        self.sender.on_present(TARGET, True, self.now)
        self.answers, self.got, self.works = [], [], True

    def send(self, frame, size=100_000, **how):
        message = TensorMessage(FRAME, 'pi', 7, Address('m', 1, frame, 0, -1), next(self.sender.numbers), memoryview(bytes(size)), **how)
        self.sender.put(TARGET, message, self.now)

    def go(self, seconds):
        end = self.now + seconds
        while self.now < end:
            while (taken := self.sender.take(self.now)) is not None:
                flight = taken[1]
                self.sender.queued(flight, self.now)
                if self.works:
                    size = len(flight.message.buffer)
                    self.free_at = max(self.free_at, self.now) + size / self.rate if size > PING_BYTES else self.free_at
                    there = self.delay + (self.free_at if size > PING_BYTES else self.now)
                    self.answers.append((there + self.delay, flight.message))
            for at, message in [answer for answer in self.answers if answer[0] <= self.now]:
                self.answers.remove((at, message))
                if message.kind == FRAME:
                    self.got.append(message.address.frame_number)
                self.sender.on_ack(Ack(AckState.COMPLETE, message.kind, 'pi', 7, 'box', message.address, message.number), self.now)
            self.now += 0.001

    def state(self):
        return self.sender.states(self.now)['box']


def test_rate_and_delay_are_those_of_the_link():
    link = Link(megabits=8.0, delay=0.02)
    assert math.isnan(link.state().bytes_per_second)
    for frame in range(6):
        link.send(frame)
        link.go(0.3)
    assert link.got == list(range(6)) and not link.sender.bytes_waiting
    assert link.state().bytes_per_second == pytest.approx(1e6, rel=0.05)
    assert link.state().latency_seconds == pytest.approx(0.02, abs=0.002)
    link.rate /= 4
    for frame in range(6, 10):
        link.send(frame)
        link.go(0.6)
    assert link.state().bytes_per_second == pytest.approx(0.25e6, rel=0.05)


def test_a_queue_of_messages_keeps_the_link_busy_and_shows_its_rate():
    link = Link(megabits=8.0, delay=0.1)
    link.send(0)
    link.go(1.0)
    for frame in range(1, 11):
        link.send(frame)
    link.go(1.4)
    assert link.got == list(range(11)), 'ten messages of 0.1 s and two delays'
    assert link.state().bytes_per_second == pytest.approx(1e6, rel=0.05)


def test_priority_deadline_and_dropped_frames_count_until_a_message_has_left():
    link = Link()
    link.send(0)
    link.go(1.0)
    for frame, how in enumerate([{}, {}, {}, {'priority': 1}, {'deadline': link.now + 0.05}, {}], 1):
        link.send(frame, **how)
    assert link.sender.seconds_left(3, link.now) == pytest.approx(0.32, abs=0.02), 'those before it go first'
    link.sender.forget_frame(6, link.now)
    assert link.sender.seconds_left(6, link.now) == 0.0
    link.go(3.0)
    assert link.got == [0, 4, 1, 2, 3]
    assert not link.sender.bytes_waiting


def test_what_a_broken_connection_took_leaves_again_when_somebody_is_there():
    link = Link()
    link.works = False
    link.send(1)
    link.go(0.1)
    link.sender.on_present(TARGET, False, link.now)
    link.send(2)
    link.go(5.0)
    assert link.sender.bytes_waiting == 200_000
    link.works = True
    link.sender.on_present(TARGET, True, link.now)
    link.go(0.5)
    assert link.got == [1, 2] and not link.sender.bytes_waiting


def test_what_is_not_answered_leaves_again_ever_later():
    link = Link()
    link.send(0)
    link.go(1.0)
    link.works = False
    link.send(1)
    link.go(3.0)
    assert link.sender.ways[TARGET].flights[max(link.sender.ways[TARGET].flights)].times >= 2
    assert link.state().bytes_per_second < 0.5e6
    link.works = True
    link.go(10.0)
    assert link.got == [0, 1] and not link.sender.bytes_waiting


def test_what_waits_in_a_dead_connection_is_overdue_too():
    link = Link(megabits=8.0)
    link.send(0)
    link.go(1.0)
    assert link.sender.overdue_at() == math.inf
    link.send(1)
    while (taken := link.sender.take(link.now)) is not None and taken[1].message.kind != FRAME:
        pass
    assert link.now + 1.0 < link.sender.overdue_at() < link.now + 2.0, 'it is not queued yet'
    assert link.sender.take(link.now + 5.0) is None, 'nor to leave again on the same connection'
    link.sender.on_present(TARGET, False, link.now)
    link.sender.on_present(TARGET, True, link.now)
    link.go(0.5)
    assert link.got == [0, 1]


def test_a_window_full_of_lost_messages_leaves_again():
    link = Link(megabits=8.0, delay=0.1)
    link.send(0)
    link.go(1.0)
    link.works = False
    for frame in range(1, 9):
        link.send(frame, size=10_000)
        link.go(0.02)
    link.works = True
    link.go(10.0)
    assert link.got == list(range(9)) and not link.sender.bytes_waiting


def test_a_frame_dropped_on_its_way_is_awaited_by_nobody():
    link = Link()
    link.works = False
    link.send(1)
    link.go(0.1)
    link.sender.forget_frame(1, link.now, late=True)
    assert not link.sender.bytes_waiting
    link.works = True
    link.go(5.0)
    assert link.got == []
    link.send(2)
    link.sender.forget_device('box')
    link.go(1.0)
    assert link.got == [] and not link.sender.bytes_waiting


def test_an_idle_link_is_probed():
    link = Link(megabits=40.0)
    for _ in range(100):
        link.sender.probe('box', link.now)
        link.go(0.05)
    assert link.state().bytes_per_second == pytest.approx(5e6, rel=0.2)


def test_who_is_not_connected_is_named():
    with pytest.raises(WireError, match='box is not connected'):
        WholeSender(FLEET, 'pi', 7).way(TARGET)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The thread of a link wakes when something is due, and not for each message and acknowledgement."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.nodes.transport.dds_link import DdsLink
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.fragment_codec import decode, encode_ack
from edge_dnn_partition.transport.fragment_receiver import FragmentReceiver
from edge_dnn_partition.transport.fragments import Address

FLEET = parse_fleet({
    'fleet': 'f', 'source': 'pi', 'links': [{'between': ['pi', 'jetson'], 'rate': '80 Mbit/s', 'delay': '1 ms'}],
    'devices': {'pi': {}, 'jetson': {}},
}, what='fleet')  # fmt: skip
TARGET = ('jetson', False)


class Node:
    """What `DdsLink` needs of a node; its messages go to ``on_message``, as bytes."""

    def __init__(self):
        self.topics, self.incarnation, self.inboxes = Topics('f', 'pi'), 7, {}
        self.ending = threading.Event()
        self.on_message = lambda _: None

    def advertise(self, *_, **__):
        return SimpleNamespace(publish=self._publish, get_subscription_count=lambda: 1)

    def _publish(self, raw):
        self.on_message(raw)

    def subscribe(self, *_, **__):
        pass


@pytest.fixture
def link():
    link = DdsLink(Node(), FLEET)
    link.connect(TARGET)
    link.waits = 0
    wait = link._condition.wait

    def counted(*given):
        link.waits += 1
        return wait(*given)

    link._condition.wait = counted
    yield link
    link.stop()


def send(link, number, size=1000):
    link.send(TARGET, Address('m', 1, number, 0, 0), {'t': np.zeros(size, np.uint8)}, {})


def until(condition):
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_stream_of_small_messages_does_not_wake_it_each_time(link):
    receiver, arrived = FragmentReceiver('jetson', lambda received, _: arrived.append(received.number)), []

    def receive(raw):
        ack = receiver.on_fragment(decode(raw), time.monotonic())
        if ack is not None:
            link._on_ack(encode_ack(ack, time.monotonic()))

    link._node.on_message = receive
    begun = time.monotonic()
    for number in range(400):
        send(link, number)
        time.sleep(0.001)
    passed = time.monotonic() - begun
    assert len(arrived) == len(set(arrived)) == 400
    assert link.waits <= 40 + 10 * passed, 'it looks at what is overdue a few times a second'


def test_it_wakes_for_what_has_no_answer(link):
    sent = []
    link._node.on_message = lambda raw: sent.append(decode(raw))
    send(link, 1)
    until(lambda: len(sent) >= 2)
    assert sent[0].message == sent[1].message


@pytest.mark.parametrize('size', [60_000, 2_000_000])
def test_it_sends_what_the_pace_holds_back(link, size):
    receiver, arrived = FragmentReceiver('jetson', lambda received, _: arrived.append(received.number)), []

    def receive(raw):
        ack = receiver.on_fragment(decode(raw), time.monotonic())
        if ack is not None:
            link._on_ack(encode_ack(ack, time.monotonic()))

    link._node.on_message = receive
    for number in range(3):
        send(link, number, size)
    until(lambda: len(arrived) == 3 and not link.bytes_waiting)

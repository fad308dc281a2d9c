# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The two ends of a hop over real DDS: in pieces, through shared memory, and back to pieces where that cannot be."""

import time

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.runtime.segments import SegmentReader

SIZES = (1, 5_000, 40_000, 700_000)


class Hop:
    """A sender and an inbox, as two nodes of this process."""

    def __init__(self, context, here, there):
        from edge_dnn_partition.msg import HopReceipt
        from rclpy.executors import SingleThreadedExecutor

        from edge_dnn_partition.nodes import qos
        from edge_dnn_partition.nodes.base import FleetNode
        from edge_dnn_partition.nodes.inbox import TensorInbox, views
        from edge_dnn_partition.nodes.sender import TensorSender
        from edge_dnn_partition.planning.fleet import Fleet

        fleet = Fleet.model_validate({
            'fleet': 'hop', 'source': here, 'devices': {name: {} for name in {here, there}},
            'links': [] if here == there else [{'between': [here, there], 'rate': '1 Gbit/s'}],
        })  # fmt: skip
        self.got, self.receipts = [], []

        def take(received, hop):
            self.got.append((received.address.frame_id, views(received)[0]))

        def receipt(message):
            self.receipts.append(message)
            self.sender.on_receipt(message)

        self.ends = [
            FleetNode(f'end_{i}', namespace=f'/hop/{device}', context=context) for i, device in enumerate((here, there))
        ]  # fmt: skip
        for end in self.ends:
            end.autostart()
        self.sender = TensorSender(self.ends[0], fleet)
        self.answers = TensorSender(self.ends[1], fleet)
        self.inbox = TensorInbox(self.ends[1], self.ends[1].topics.tensors(), self.answers, take)
        self.inbox.connect(here)
        self.target = (there, False)
        self.sender.connect(self.target)
        self.ends[0].subscribe(HopReceipt, self.ends[0].topics.receipts(), receipt, qos.RECEIPTS)
        self.executor = SingleThreadedExecutor(context=context)
        for end in self.ends:
            self.executor.add_node(end)

    def spin_until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, (self.got, self.receipts)
            self.executor.spin_once(timeout_sec=0.02)

    def send(self, frame, arrays):
        from edge_dnn_partition.runtime.pieces import Address

        self.sender.send(self.target, Address('m', 1, frame, 0, -1), arrays, {})

    def end(self):
        self.sender.stop()
        self.answers.stop()
        self.executor.shutdown()
        for node in self.ends:
            node.destroy_node()


@pytest.fixture
def hops(context):
    made = []

    def make(here, there):
        made.append(Hop(context, here, there))
        hop = made[-1]
        hop.spin_until(lambda: hop.sender.connected(hop.target) and hop.ends[1].count_subscribers('/hop/' + here + '/receipts'))
        return hop

    yield make
    for hop in made:
        hop.end()


def tensors(frame):
    random = np.random.default_rng(frame)
    return {f't{size}': random.standard_normal(size).astype(np.float32) for size in SIZES[: 1 + frame % len(SIZES)]}


@pytest.mark.parametrize('hidden', [False, True])
@pytest.mark.parametrize(('here', 'there'), [('pi', 'pi'), ('pi', 'jetson')])
def test_tensors_arrive_as_they_were_sent(hops, tmp_path, here, there, hidden):
    """``hidden``: the receiver does not see the sender's shared memory, as in another container."""
    hop = hops(here, there)
    if hidden:
        hop.inbox._segments = SegmentReader(tmp_path)
    for frame in range(12):
        hop.send(frame, tensors(frame))
    hop.spin_until(lambda: len(hop.got) == 12)
    for frame, arrays in hop.got:
        wanted = tensors(frame)
        assert list(arrays) == list(wanted)
        for name, value in wanted.items():
            np.testing.assert_array_equal(arrays[name], value)
    assert sorted(frame for frame, _ in hop.got) == list(range(12))
    hop.spin_until(lambda: hop.sender.bytes_waiting == 0)
    peer = hop.sender._peers[hop.target]
    assert peer.shared == {}
    assert (peer.segments is not None) == (here == there and not hidden)


def test_shared_memory_is_used_again(hops):
    hop = hops('pi', 'pi')
    for frame in range(20):
        hop.send(frame, {'t': np.full(300_000, frame, np.float32)})
        hop.spin_until(lambda frame=frame: len(hop.got) == frame + 1)
        assert hop.got[-1][1]['t'][-1] == frame
        hop.got[-1] = None
    pool = hop.sender._peers[hop.target].segments
    assert 1 <= len(pool._segments) <= 3
    paths = [segment.path for segment in pool._segments]
    hop.sender.stop()
    assert not any(path.exists() for path in paths)

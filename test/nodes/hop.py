# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A sender and an inbox over real DDS, as two nodes of one process, for tests."""

import time


def use_key(node, key):
    """Give a node a key, as its fleet file would."""
    from edge_dnn_partition.nodes.core.seals import Seals

    node.seals = Seals(node, node.topics, key, node.refuse)


class Hop:
    """A sender and an inbox.

    :param got: frame number and tensors of each message that was accepted.
    :param max_bytes: of messages that are not whole yet.
    :param key: of the fleet; None: it has none.
    """

    def __init__(self, context, here, there, *, max_bytes=1 << 30, key=None):
        from edge_dnn_partition.msg import HopAck
        from rclpy.executors import SingleThreadedExecutor

        from edge_dnn_partition.nodes.core import qos
        from edge_dnn_partition.nodes.core.base import FleetNode
        from edge_dnn_partition.nodes.transport.dds_link import DdsLink
        from edge_dnn_partition.planning.fleet.fleet import Fleet

        fleet = Fleet.model_validate({
            'fleet': 'hop', 'source': here, 'devices': {name: {} for name in {here, there}},
            'links': [] if here == there else [{'between': [here, there], 'rate': '1 Gbit/s'}],
        })  # fmt: skip
        self.got, self.acks = [], []

        def take(received, hop):
            self.got.append((received.address.frame_number, received.views()[0]))

        self.ends = [
            FleetNode(f'end_{i}', namespace=f'/hop/{device}', context=context) for i, device in enumerate((here, there))
        ]  # fmt: skip
        for end in self.ends:
            end.autostart()
            use_key(end, key)
        self._key, self._take, self._max_bytes = key, take, max_bytes
        self.fleet = fleet
        self.sender = DdsLink(self.ends[0], fleet)
        self.answers = DdsLink(self.ends[1], fleet)
        self.inbox = self.answers.listen(False, take, max_bytes=max_bytes)
        self.target = (there, False)
        self.sender.connect(self.target)
        self.ends[0].subscribe(HopAck, self.ends[0].topics.acks(), self.acks.append, qos.ACKS)
        self.executor = SingleThreadedExecutor(context=context)
        for end in self.ends:
            self.executor.add_node(end)

    def stop_receiver(self):
        """Take the inbox away."""
        self.answers.stop()
        self.ends[1].trigger_deactivate()
        self.ends[1].trigger_cleanup()

    def start_receiver(self):
        """Put another inbox, of another session, in the place of one that was stopped."""
        from edge_dnn_partition.nodes.transport.dds_link import DdsLink

        node = self.ends[1]
        node.autostart()
        use_key(node, self._key)
        self.answers = DdsLink(node, self.fleet)
        self.inbox = self.answers.listen(False, self._take, max_bytes=self._max_bytes)

    def spin_until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, (self.got, self.acks)
            self.executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=max(0.0, deadline - time.monotonic()))

    def discover(self):
        here = self.ends[0].topics.device
        self.spin_until(lambda: self.sender.connected(self.target) and self.ends[1].count_subscribers(f'/hop/{here}/receipts'))

    def send(self, frame, arrays):
        from edge_dnn_partition.transport.fragments import Address

        self.sender.send(self.target, Address('m', 1, frame, 0, -1), arrays, {})

    def end(self):
        self.sender.stop()
        self.answers.stop()
        self.executor.shutdown()
        for node in self.ends:
            node.destroy_node()

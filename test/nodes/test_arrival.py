# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When a message came is told by the middleware, and not by when a busy process takes it."""

import threading
import time

import pytest

from edge_dnn_partition.nodes.core.rclpy_gaps import arrived_at


@pytest.mark.parametrize(('received', 'arrived'), [(999.7, 9.7), (1000.0, 10.0), (0.0, 10.0), (1000.5, 10.0), (998.0, 10.0)])
def test_a_message_came_when_it_was_received_unless_the_clock_was_set_meanwhile(received, arrived):
    assert arrived_at(10.0, 1000.0, received) == pytest.approx(arrived)


@pytest.mark.parametrize('kind', ['events', 'single'])
def test_what_came_while_a_callback_was_at_work_came_before_its_end(context, kind):
    from edge_dnn_partition.msg import TensorFragment

    from edge_dnn_partition.nodes.core import qos
    from edge_dnn_partition.nodes.core.base import FleetNode
    from edge_dnn_partition.nodes.core.process import Spinner

    node = FleetNode('reader', namespace='/arrival/a', context=context)
    node.autostart()
    publisher = node.create_publisher(TensorFragment, 'fragments', qos.TENSORS)
    arrived, ended, done = [], [], threading.Event()

    def take(_):
        arrived.append(node.arrived)
        if not ended:
            publisher.publish(TensorFragment())
            time.sleep(0.5)
            ended.append(time.monotonic())
        else:
            done.set()

    node.subscribe(TensorFragment, 'fragments', take, qos.TENSORS, raw=True)
    spinner = Spinner(node, kind=kind)
    spinner.start()
    try:
        while not arrived:
            publisher.publish(TensorFragment())
            done.wait(0.1)
        assert done.wait(30)
    finally:
        spinner.ask_to_end()
        spinner.join(5.0)
        node.destroy_node()
    assert arrived[0] < arrived[1] < ended[0]

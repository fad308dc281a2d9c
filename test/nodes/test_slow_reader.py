# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A reader of results that is stopped for a while misses none within what is promised, and counts what it missed beyond."""

import array
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from support import ros_arguments, wait_until

HERE = Path(__file__).parent


@pytest.mark.parametrize(('size', 'kept'), [(4_000, 1000), (600_000, 111), (1 << 30, 64)])
def test_large_results_are_kept_up_to_64_mib(size, kept):
    from edge_dnn_partition.nodes.core import qos

    assert qos.result_writer(size).depth == kept


def test_a_stopped_reader_gets_what_is_promised_and_counts_the_rest(nodes, context):
    import rclpy
    from edge_dnn_partition.msg import Result, TensorData

    from edge_dnn_partition.nodes.core import qos

    reader = nodes.start(HERE / 'trial_node.py', 'reader', *ros_arguments('/trial'))
    reader.wait_for('active')
    node = rclpy.create_node('writer', context=context)
    size = 4_000
    publisher = node.create_publisher(Result, '/trial/result', qos.result_writer(size))
    wait_until(lambda: publisher.get_subscription_count() == 1, 'the reader')
    sequence, kept = 0, qos.result_writer(size).depth
    data = TensorData(name='y', dtype=2, shape=[size], data=array.array('B', bytes(size)))

    def publish(count):
        nonlocal sequence
        for _ in range(count):
            sequence += 1
            publisher.publish(Result(incarnation=5, sequence=sequence, outputs=[data]))
            time.sleep(0.001)

    publish(3)
    reader.wait_for('result 3, missed 0')
    reader.send(signal.SIGSTOP)
    publish(kept - 100)  # seven seconds at 125 a second
    reader.send(signal.SIGCONT)
    publish(1)
    reader.wait_for(f'result {sequence}, missed 0')
    reader.send(signal.SIGSTOP)
    publish(kept + 500)
    reader.send(signal.SIGCONT)
    wait_until(lambda: f'result {sequence}, missed' in reader.output, 'the last result')
    came = reader.output.count('result ')
    assert came < sequence
    assert f'result {sequence}, missed {sequence - came}' in reader.output
    node.destroy_node()

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An answer that comes later is sent once, whichever thread gives it and whenever the service has said how to send it."""

import threading

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')


def test_given_and_attached_at_the_same_time():
    from edge_dnn_partition.nodes.core.rclpy_gaps import DeferredResponse

    for _ in range(300):
        later, sent, together = DeferredResponse(), [], threading.Barrier(3)

        def run(action, argument, together=together):
            together.wait()
            action(argument)

        threads = [
            threading.Thread(target=run, args=arguments)
            for arguments in ((later.send, 'first'), (later.send, 'second'), (later.attach, sent.append))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sent in (['first'], ['second'])

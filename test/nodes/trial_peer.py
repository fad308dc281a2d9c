# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A process that tells its name and says whom it hears: ``trial_peer.py NAME OTHER [BYTES]``."""

import sys

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from std_msgs.msg import String


def main(own, other, size='0'):
    rclpy.init()
    node = rclpy.create_node(own)
    heard = set()

    def hear(message):
        # The other's words name whom it has heard: both directions work when it names this one.
        name, names = message.data.split(' ', 2)[:2]
        state = 'both ways' if names == own else 'one way'
        if state not in heard:
            heard.add(state)
            print(f'{own} heard {name} {state}', flush=True)
            words.data = f'{own} {name} ' + 'x' * int(size)

    words = String(data=f'{own} nobody ' + 'x' * int(size))
    publisher = node.create_publisher(String, f'/trial/{own}', QoSProfile(depth=10))
    node.create_subscription(String, f'/trial/{other}', hear, QoSProfile(depth=10))
    node.create_timer(0.05, lambda: publisher.publish(words))
    print(f'{own} is there', flush=True)
    try:
        rclpy.spin(node)
    except (ExternalShutdownException, KeyboardInterrupt):
        pass
    except RCLError:  # the signal came while the executor made its wait set
        if rclpy.ok():
            raise


if __name__ == '__main__':
    main(*sys.argv[1:])

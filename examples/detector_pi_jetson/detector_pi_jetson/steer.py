# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Turns a robot towards the object that is seen best."""

import contextlib

import rclpy
from edge_dnn_partition.msg import Detections
from geometry_msgs.msg import Twist
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node


class Steer(Node):
    """Parameters: fleet, image_width (pixels), gain (rad/s at the image's edge), label (of interest; empty: any)."""

    def __init__(self) -> None:
        super().__init__('steer')
        fleet = self.declare_parameter('fleet', 'robot').value
        self.half = self.declare_parameter('image_width', 640).value / 2
        self.gain = self.declare_parameter('gain', 0.8).value
        self.label = self.declare_parameter('label', '').value
        self.commands = self.create_publisher(Twist, 'cmd_vel', 1)
        self.create_subscription(Detections, f'/{fleet}/detections', self.seen, 1)

    def seen(self, message: Detections) -> None:
        """Turn to the best object; stand still where there is none."""
        command = Twist()
        for found in message.detections:  # best first
            if self.label in ('', found.what.label):
                middle = (found.left + found.right) / 2
                command.angular.z = self.gain * (self.half - middle) / self.half  # left is positive
                break
        self.commands.publish(command)


def main() -> None:
    """Run the node until it is told to end."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Steer())

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the fleet what is on an image, once in a while."""

import contextlib

import cv2
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from edge_dnn_partition.client import InferenceClient, InferenceError


class PacingSample(Node):
    """Parameters: fleet, image (a file), period (seconds)."""

    def __init__(self) -> None:
        super().__init__('look')
        self.fleet = InferenceClient(self, fleet=self.declare_parameter('fleet', 'robot').value)
        self.image = cv2.imread(self.declare_parameter('image', 'photo.jpg').value)
        self.create_timer(self.declare_parameter('period', 1.0).value, self.look)

    async def look(self) -> None:
        """Send the image through the fleet and say what came of it."""
        try:
            result = await self.fleet.infer(self.image, encoding='bgr8')
            self.get_logger().info(f'{[one.label for one in result.classes] or list(result.outputs)}: {result.message}')
        except (InferenceError, ValueError) as error:
            self.get_logger().warning(f'no result: {error}')


def main() -> None:
    """Run the node until it is told to end."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PacingSample())

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Plays a battery that runs down, to see what the fleet makes of it."""

import contextlib
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import BatteryState


class PlayBattery(Node):
    """Parameters: topic, begin and end (percent of charge), seconds from one to the other, watts that it gives."""

    def __init__(self) -> None:
        super().__init__('play_battery')
        self.begin = self.declare_parameter('begin', 100.0).value
        self.end = self.declare_parameter('end', 5.0).value
        self.seconds = self.declare_parameter('seconds', 60.0).value
        self.watts = self.declare_parameter('watts', 6.0).value
        topic = self.declare_parameter('topic', '/robot/rover/battery').value
        self.states = self.create_publisher(BatteryState, topic, 1)
        self.since = time.monotonic()
        self.create_timer(0.5, self.tell)

    def tell(self) -> None:
        """Publish the state of this moment."""
        share = min((time.monotonic() - self.since) / self.seconds, 1.0)
        message = BatteryState(present=True, voltage=12.0, current=-self.watts / 12.0)
        message.header.stamp = self.get_clock().now().to_msg()
        message.percentage = (self.begin + share * (self.end - self.begin)) / 100
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
        self.states.publish(message)


def main() -> None:
    """Run the node until it is told to end."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PlayBattery())

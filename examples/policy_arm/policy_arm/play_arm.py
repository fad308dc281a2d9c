# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Plays an arm with two cameras: it follows the trajectories, and publishes its joints and what its cameras would see."""

import contextlib

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, JointState
from trajectory_msgs.msg import JointTrajectory

JOINTS = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'gripper')
HERTZ = 30
IMAGE_EVERY = 3
"""Images come at 10 Hz."""


class PlayArm(Node):
    """Parameters: actions (topic of the trajectories), cameras (namespace of the two cameras' topics)."""

    def __init__(self) -> None:
        super().__init__('play_arm')
        topic = self.declare_parameter('actions', '/policy/actions').value
        cameras = self.declare_parameter('cameras', '/policy/arm').value
        self.joints = self.create_publisher(JointState, '/joint_states', 10)
        self.cameras = [
            self.create_publisher(CompressedImage, f'{cameras}/{name}/image_raw/compressed', 2) for name in ('front', 'wrist')
        ]
        self.position = np.zeros(len(JOINTS))
        self.points: tuple[np.ndarray, np.ndarray] | None = None
        self.ticks = 0
        self.held_since: float | None = None
        self.create_subscription(JointTrajectory, topic, self.follow, 1)
        self.create_timer(1 / HERTZ, self.tick)

    def follow(self, message: JointTrajectory) -> None:
        """Take a trajectory in place of the one before it; its times count from its stamp."""
        begin = Time.from_msg(message.header.stamp).nanoseconds * 1e-9
        after = [point.time_from_start.sec + point.time_from_start.nanosec * 1e-9 for point in message.points]
        order = [message.joint_names.index(name) for name in JOINTS]
        positions = np.array([point.positions for point in message.points])[:, order]
        now = self.now()
        self.points = np.array([now, *(begin + np.array(after))]), np.vstack([self.position, positions])

    def tick(self) -> None:
        """Move, and publish what is seen; hold the last position where there is no action."""
        now = self.now()
        if self.points is not None:
            times, positions = self.points
            self.position = np.array([np.interp(now, times, column) for column in positions.T])
            self.tell(now, holds=now > times[-1])
        stamp = self.get_clock().now().to_msg()
        state = JointState(name=list(JOINTS), position=self.position.tolist())
        state.header.stamp = stamp
        self.joints.publish(state)
        if self.ticks % IMAGE_EVERY == 0:
            for publisher, angles in zip(self.cameras, (self.position[:3], self.position[3:]), strict=True):
                image = CompressedImage(format='jpeg', data=drawn(angles))
                image.header.stamp = stamp
                publisher.publish(image)
        self.ticks += 1

    def tell(self, now: float, *, holds: bool) -> None:
        """Log when the arm begins and ends to hold."""
        if holds and self.held_since is None:
            self.held_since = now
            self.get_logger().info('holds: the last chunk is over')
        elif not holds and self.held_since is not None:
            self.get_logger().info(f'moves again after {now - self.held_since:.2f} s')
            self.held_since = None

    def now(self) -> float:
        """Return the time of the node's clock, in seconds."""
        return self.get_clock().now().nanoseconds * 1e-9


def drawn(angles: np.ndarray) -> bytes:
    """Return three links of an arm at some angles, as JPEG."""
    image = np.full((120, 160, 3), 200, np.uint8)
    at, heading = np.array([80.0, 110.0]), -np.pi / 2
    for angle, colour in zip(angles, ((180, 60, 60), (60, 160, 60), (60, 60, 180)), strict=True):
        heading += angle
        to = at + 34 * np.array([np.cos(heading), np.sin(heading)])
        cv2.line(image, at.astype(int).tolist(), to.astype(int).tolist(), colour, 8)
        at = to
    return cv2.imencode('.jpg', image)[1].tobytes()


def main() -> None:
    """Run the node until it is told to end."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PlayArm())

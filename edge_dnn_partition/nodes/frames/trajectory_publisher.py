# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's topic `actions`: a policy's chunks, blended into what the robot's joints are to do from now on."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Duration, Time
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.results.actions import Actions, ChunkBlender, Trajectory


class TrajectoryPublisher:
    """Publishes a trajectory for every chunk that is still of use.

    Its stamp is that of the observation, so that it tells its age, and the times of its points count from there; a controller
    that gets no further one follows it to its end.
    """

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self._publisher = node.advertise(JointTrajectory, node.topics.actions, qos.ACTIONS)
        self._blender = ChunkBlender()

    def has_subscribers(self) -> bool:
        """Return whether anybody listens."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, actions: Actions, header: Header, latency_seconds: float) -> None:
        """Blend a chunk into what is being done, and publish that.

        :param header: of the observation; without a stamp it is taken to be as old as its result.
        """
        now = self._node.get_clock().now().nanoseconds * 1e-9
        observed_at = header.stamp.sec + header.stamp.nanosec * 1e-9
        if not observed_at:
            observed_at = now - latency_seconds
            header = Header(frame_id=header.frame_id, stamp=_time(Time, observed_at))
        trajectory = self._blender.take(actions, observed_at, now)
        if trajectory is None:
            self._node.refuse('actions', f'a chunk of an observation {now - observed_at:.2f} s old: all of it is past or replaced')
            return
        self._publisher.publish(message(trajectory, header))


def message(trajectory: Trajectory, header: Header) -> JointTrajectory:
    """Return a trajectory as a message; its points' times count from the header's stamp."""
    after = trajectory.times - trajectory.observed_at
    points = [
        JointTrajectoryPoint(positions=row, time_from_start=_time(Duration, seconds))
        for row, seconds in zip(trajectory.positions.tolist(), after.tolist(), strict=True)
    ]
    return JointTrajectory(header=header, joint_names=list(trajectory.joints), points=points)


def _time(kind: Any, seconds: float) -> Any:
    """Return a stamp or a duration, rounded to nanoseconds."""
    whole, rest = divmod(round(seconds * 1e9), 10**9)
    return kind(sec=whole, nanosec=rest)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy's chunks as trajectory_msgs: due by the observation's stamp, with their age, late ones refused."""

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from builtin_interfaces.msg import Time
from rclpy.clock import ClockType
from rclpy.time import Time as Moment
from std_msgs.msg import Header

from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.nodes.frames.trajectory_publisher import TrajectoryPublisher
from edge_dnn_partition.results.actions import Actions


class Node:
    """What a publisher needs of a node; its clock shows `now`, in seconds."""

    topics = Topics('robot', 'pi')

    def __init__(self):
        self.now_seconds, self.published, self.refused, self.topic = 0.0, [], [], ''

    def advertise(self, _, topic, __):
        self.topic = topic
        return self

    def publish(self, message):
        self.published.append(message)

    def get_clock(self):
        return self

    def now(self):
        return Moment(nanoseconds=round(self.now_seconds * 1e9), clock_type=ClockType.ROS_TIME)

    def refuse(self, what, reason):
        self.refused.append((what, reason))


@pytest.fixture
def node():
    return Node()


def actions(first, steps=10):
    return Actions(('a', 'b'), first + np.arange(2 * steps, dtype=float).reshape(steps, 2), 0.1, 0.2)


def seconds(part):
    return part.sec + part.nanosec * 1e-9


def test_points_count_from_the_observation(node):
    publisher = TrajectoryPublisher(node)
    node.now_seconds = 1_700_000_000.35
    publisher.publish(actions(0), Header(stamp=Time(sec=1_700_000_000), frame_id='base'), 0.1)
    (message,) = node.published
    assert (node.topic, message.joint_names, message.header.frame_id) == ('/robot/actions', ['a', 'b'], 'base')
    assert message.header.stamp == Time(sec=1_700_000_000)
    assert [seconds(point.time_from_start) for point in message.points] == pytest.approx([0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert [list(point.positions) for point in message.points][:2] == [[8, 9], [10, 11]]


def test_an_observation_without_a_stamp_is_as_old_as_its_result(node):
    publisher = TrajectoryPublisher(node)
    node.now_seconds = 100.0
    publisher.publish(actions(0), Header(), 0.25)
    (message,) = node.published
    assert seconds(message.header.stamp) == pytest.approx(99.75) and seconds(message.points[0].time_from_start) == pytest.approx(0.3)


def test_late_chunks_are_refused_and_said(node):
    publisher = TrajectoryPublisher(node)
    node.now_seconds = 102.5
    publisher.publish(actions(0), Header(stamp=Time(sec=102)), 0.5)
    publisher.publish(actions(0), Header(stamp=Time(sec=101, nanosec=900_000_000)), 0.6)  # older than the one before it
    publisher.publish(actions(0), Header(stamp=Time(sec=100)), 2.5)  # all past
    assert len(node.published) == 1
    assert [what for what, _ in node.refused] == ['actions', 'actions'] and '2.50 s old' in node.refused[1][1]

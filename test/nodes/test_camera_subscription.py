# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Images as pixels come, from cameras that offer them reliably and from those that do not."""

import time

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from rclpy.qos import QoSProfile, ReliabilityPolicy
from support import ros_arguments, wait_until
from test_base_signals import TRIAL

LARGE = 1_500_000
"""Three times the shared memory that Fast DDS gives a camera by itself."""
SMALL = 3_000


class Cameras:
    """Publishers of one topic in this process, from which a process hears."""

    def __init__(self, node, watcher):
        self.node, self.watcher = node, watcher
        self._number = 0
        """Of a first image, by its size: it is shown until it comes, since both ends must have found each other."""

    def offer(self, reliability):
        from sensor_msgs.msg import Image

        return self.node.create_publisher(Image, '/trial/device/image', QoSProfile(depth=2, reliability=reliability))

    def reliable_ends(self):
        ends = self.node.get_subscriptions_info_by_topic('/trial/device/image')
        return [end.qos_profile.reliability == ReliabilityPolicy.RELIABLE for end in ends]

    def wait_until(self, reliable):
        wait_until(lambda: self.reliable_ends() == [reliable], f'a subscription that is reliable: {reliable}')

    def show(self, publisher, size, count):
        """Show images, each when the one before has come."""
        def heard(text, number):
            return lambda: self.watcher.output.count(text) >= number

        self._number += 1
        first = f'image of {self._number} bytes\n'
        wait_until(lambda: self._publish(publisher, self._number) or heard(first, 1)(), 'a first image')
        text = f'image of {size} bytes\n'
        before = self.watcher.output.count(text)
        for number in range(1, count + 1):
            self._publish(publisher, size)
            wait_until(heard(text, before + number), f'image {number}')

    def _publish(self, publisher, size):
        from sensor_msgs.msg import Image

        publisher.publish(Image(height=1, width=size, step=size, encoding='mono8', data=bytes(size)))


@pytest.fixture
def cameras(nodes, context):
    import rclpy

    watcher = nodes.start(TRIAL, 'watcher', *ros_arguments('/trial/device'))
    node = rclpy.create_node('cameras', context=context)
    yield Cameras(node, watcher)
    node.destroy_node()
    watcher.assert_clean_end()


def test_of_a_camera_that_offers_pixels_reliably_all_come(cameras):
    camera = cameras.offer(ReliabilityPolicy.RELIABLE)
    cameras.wait_until(reliable=True)
    cameras.show(camera, LARGE, 20)


def test_a_best_effort_camera_is_heard_before_and_after_a_reliable_one(cameras):
    modest = cameras.offer(ReliabilityPolicy.BEST_EFFORT)
    cameras.show(modest, SMALL, 3)
    assert cameras.reliable_ends() == [False]
    cameras.node.destroy_publisher(modest)
    camera = cameras.offer(ReliabilityPolicy.RELIABLE)
    cameras.wait_until(reliable=True)
    cameras.show(camera, LARGE, 3)
    modest = cameras.offer(ReliabilityPolicy.BEST_EFFORT)  # beside the other
    cameras.wait_until(reliable=False)
    cameras.show(modest, SMALL, 3)


def test_a_reliability_that_the_user_chose_stays(nodes, context):
    import rclpy

    chosen = {'qos_overrides./trial/device/image.subscription.reliability': 'best_effort'}
    watcher = nodes.start(TRIAL, 'watcher', *ros_arguments('/trial/device', **chosen))
    node = rclpy.create_node('cameras', context=context)
    cameras = Cameras(node, watcher)
    camera = cameras.offer(ReliabilityPolicy.RELIABLE)
    cameras.show(camera, SMALL, 2)
    deadline = time.monotonic() + 1.5  # it looks at the offers every half second
    while time.monotonic() < deadline:
        assert cameras.reliable_ends() == [False]
        time.sleep(0.05)
    node.destroy_node()
    watcher.assert_clean_end()

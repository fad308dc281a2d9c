# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where a frame source's images come from: a topic, or a folder, video or camera that it reads itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.inputs.images import images
from edge_dnn_partition.nodes.conversions.camera_messages import from_compressed_message, from_image_message
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.inputs import Camera

_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0
_FOLLOW_SECONDS: Final = 0.5


class CameraFeed:
    """Offers what a camera shows to a node.

    :param node: a frame source.
    :param camera: what the fleet file says.
    :param offer: takes the inputs of a frame; called from the thread that spins, or from this feed's own.
    """

    def __init__(self, node: FleetNode, camera: Camera, offer: Callable[[FrameInputs], None]) -> None:
        self._node, self._camera, self._offer = node, camera, offer
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._topic = node.params.text('image_topic') or camera.topic or ''
        if not self._topic:
            return
        if node.params.flag('compressed') and camera.compressed:
            kind, convert = CompressedImage, from_compressed_message
        else:
            kind, convert = Image, from_image_message
        CameraSubscription(node, kind, self._topic, lambda message: offer(FrameInputs.of_image(convert(message), message.header)))

    def start(self) -> None:
        """Begin to read images, if they do not come over a topic."""
        self._ending.clear()
        if self._topic:
            return
        if self._images() is None:
            self._node.get_logger().info(
                f'no camera: images come by the service {self._node.topics.infer} only; '
                'for others set image_topic, or camera: {topic, images, video or camera} in the fleet file'
            )
            return
        self._thread = threading.Thread(target=self._read, name='camera', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def _images(self) -> Iterator[CameraImage] | None:
        return images(self._camera, self._node.params.whole('jpeg_quality'))

    def _read(self) -> None:
        """Offer images; a camera or file that cannot be read is tried again, later each time: it may be plugged in again."""
        node, stream, wait = self._node, self._images(), _FIRST_WAIT_SECONDS
        assert stream is not None
        due = time.monotonic()
        while not node.ending.is_set() and not self._ending.is_set():
            try:
                image = next(stream)
            except (StopIteration, UserError, OSError) as error:
                if isinstance(error, StopIteration) and self._camera.video is not None:
                    node.get_logger().info('the video has ended')
                    return
                reason = str(error) or f'camera {self._camera.camera} gives no more images'
                node.repeats.warning('camera', f'no image: {reason}; retrying in {wait:g} s')
                stream, until = self._images(), wait
                wait = min(_LONGEST_WAIT_SECONDS, 2 * wait)
                assert stream is not None
                if self._ending.wait(until):
                    return
                continue
            wait = _FIRST_WAIT_SECONDS
            rate = node.params.number('rate') or self._camera.rate
            due = max(due + 1 / rate, time.monotonic() - 1 / rate)
            if self._ending.wait(max(0.0, due - time.monotonic())):
                return
            header = Header(frame_id='camera')
            header.stamp = node.get_clock().now().to_msg()
            if node.active:
                self._offer(FrameInputs.of_image(image, header))


class CameraSubscription:
    """Subscribes to a camera, best effort as is usual for sensors; to pixels reliably, where every camera there offers that.

    An image as pixels is a megabyte or more, a dozen datagrams and more than the half megabyte of shared memory that Fast DDS
    gives a camera node by itself: with a best-effort reader most were lost whole (640 x 480: two in three, on one machine). A
    reliable reader gets nothing of a best-effort camera, though, and which cameras there are shows in time.

    :param kind: Image or CompressedImage.
    :param callback: takes each message.
    """

    def __init__(self, node: FleetNode, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        self._node, self._kind, self._topic, self._callback = node, kind, topic, callback
        self._reliable = False
        self._subscription = node.subscribe(kind, topic, callback, qos_profile_sensor_data, overridable=True)
        override = f'qos_overrides.{node.resolve_topic_name(topic)}.subscription.reliability'
        if kind is Image and override not in node._parameter_overrides:  # noqa: SLF001 (rclpy tells nobody what was given)
            node.every(_FOLLOW_SECONDS, self._follow)

    def _follow(self) -> None:
        offers = [end.qos_profile.reliability for end in self._node.get_publishers_info_by_topic(self._topic)]
        reliable = all(offer == ReliabilityPolicy.RELIABLE for offer in offers)
        if not offers or reliable == self._reliable:
            return
        self._reliable = reliable
        self._node.destroy_subscription(self._subscription)
        profile = qos.PIXELS if reliable else qos_profile_sensor_data
        self._subscription = self._node.subscribe(self._kind, self._topic, self._callback, profile)

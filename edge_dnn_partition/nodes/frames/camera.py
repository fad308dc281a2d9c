# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where a frame source's images come from: a topic, or a folder, video or camera that it reads itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.inputs.images import images
from edge_dnn_partition.nodes.conversions.camera_messages import from_compressed_message, from_image_message
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Camera

from .camera_subscription import CameraSubscription

_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0


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
        self._thread = threading.Thread(target=self._shoot, name='camera', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def _images(self) -> Iterator[CameraImage] | None:
        return images(self._camera, self._node.params.whole('jpeg_quality'))

    def _shoot(self) -> None:
        """Offer images; what cannot be read is tried again, later and later: a camera may be plugged in again."""
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

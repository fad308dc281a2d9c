# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Images that a frame source reads itself, and its subscriptions to sensors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.images import images
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.inputs import Camera

_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0
_FOLLOW_SECONDS: Final = 0.5


class CameraReader:
    """Reads images from folders, videos and cameras on a thread of its own, one of each at a time.

    :param node: a frame source.
    :param cameras: what the fleet file says, by input; the first one's rate is that of all.
    :param offer: takes images by input.
    """

    def __init__(self, node: FleetNode, cameras: Mapping[str, Camera], offer: Callable[[Mapping[str, CameraImage]], None]) -> None:
        self._node, self._cameras, self._offer = node, cameras, offer
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read."""
        self._ending.clear()
        self._thread = threading.Thread(target=self._read, name='camera', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def _images(self) -> dict[str, Iterator[CameraImage]]:
        quality = self._node.params.whole('jpeg_quality')
        streams = {name: images(camera, quality) for name, camera in self._cameras.items()}
        return {name: stream for name, stream in streams.items() if stream is not None}

    def _read(self) -> None:
        """Offer images; a camera or file that cannot be read is tried again, later each time: it may be plugged in again."""
        node, streams, wait = self._node, self._images(), _FIRST_WAIT_SECONDS
        due = time.monotonic()
        while not node.ending.is_set() and not self._ending.is_set():
            name = ''
            shown = {}
            try:
                for name, stream in streams.items():
                    shown[name] = next(stream)
            except (StopIteration, UserError, OSError) as error:
                camera = self._cameras[name]
                if isinstance(error, StopIteration) and camera.video is not None:
                    node.get_logger().info('the video has ended')
                    return
                reason = str(error) or f'camera {camera.camera} gives no more images'
                node.repeats.warning('camera', f'no image: {reason}; retrying in {wait:g} s')
                streams, until = self._images(), wait
                wait = min(_LONGEST_WAIT_SECONDS, 2 * wait)
                if self._ending.wait(until):
                    return
                continue
            wait = _FIRST_WAIT_SECONDS
            rate = node.params.number('rate') or next(iter(self._cameras.values())).rate
            due = max(due + 1 / rate, time.monotonic() - 1 / rate)
            if self._ending.wait(max(0.0, due - time.monotonic())):
                return
            if node.active:
                self._offer(shown)


class SensorSubscription:
    """Subscribes to a sensor, best effort as is usual; where it ``follows``, reliably while every publisher there offers that.

    It warns where the topic has messages of another type.

    An image as pixels is a megabyte or more, a dozen datagrams and more than the half megabyte of shared memory that Fast DDS
    gives a camera node by itself: with a best-effort reader most were lost whole (640 x 480: two in three, on one machine). A
    reliable reader gets nothing of a best-effort camera, though, and which cameras there are shows in time. It also takes what
    was published before, while every publisher there keeps it (transient local), if ``keeps``: a task is set once.

    :param kind: of the messages.
    :param callback: takes each message.
    """

    def __init__(
        self, node: FleetNode, kind: type, topic: str, callback: Callable[[Any], None], *,
        follows: bool = False, keeps: bool = False,
    ) -> None:  # fmt: skip
        self._node, self._kind, self._topic, self._callback, self._keeps = node, kind, topic, callback, keeps
        self._offered = (False, False)
        self._subscription = node.subscribe(kind, topic, callback, qos_profile_sensor_data, overridable=True, foreign=True)
        override = f'qos_overrides.{node.resolve_topic_name(topic)}.subscription.reliability'
        chosen = override in node._parameter_overrides  # noqa: SLF001 (rclpy tells nobody what was given)
        self._follows = (follows or keeps) and not chosen
        node.every(_FOLLOW_SECONDS, self._follow)

    def _follow(self) -> None:
        ends = self._node.get_publishers_info_by_topic(self._topic)
        kind = f'{self._kind.__module__.partition(".")[0]}/msg/{self._kind.__name__}'
        if ends and all(end.topic_type != kind for end in ends):
            self._node.repeats.warning('type', f'{self._topic} has {ends[0].topic_type}, not {kind}; correct the fleet file')
        if not self._follows:
            return
        offers = [end.qos_profile for end in ends]
        reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        kept = self._keeps and reliable and all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        if not offers or (reliable, kept) == self._offered:
            return
        self._offered = (reliable, kept)
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._node.subscribe(self._kind, self._topic, self._callback, self._profile(), foreign=True)

    def _profile(self) -> QoSProfile:
        reliable, kept = self._offered
        if kept:
            return qos.KEPT
        return qos.PIXELS if reliable else qos_profile_sensor_data

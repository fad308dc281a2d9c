# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A subscription to a camera's topic that asks for pixels as reliably as the cameras offer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image

from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode

_PERIOD_SECONDS: Final = 0.5


class CameraSubscription:
    """Hears a camera, best effort as is usual for sensors; pixels reliably, where every camera there offers that.

    An image as pixels is a megabyte or more, a dozen datagrams and more than the half megabyte of shared memory that Fast DDS
    gives a camera node by itself: with a best-effort reader most were lost whole (640 x 480: two in three, on one machine). A
    reliable reader does not hear a best-effort camera, though, and which cameras there are shows in time.

    :param kind: Image or CompressedImage.
    :param callback: takes each message.
    """

    def __init__(self, node: FleetNode, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        self._node, self._kind, self._topic, self._callback = node, kind, topic, callback
        self._reliable = False
        self._subscription = node.subscribe(kind, topic, callback, qos_profile_sensor_data, overridable=True)
        override = f'qos_overrides.{node.resolve_topic_name(topic)}.subscription.reliability'
        if kind is Image and override not in node._parameter_overrides:  # noqa: SLF001 (rclpy tells nobody what was given)
            node.every(_PERIOD_SECONDS, self._follow)

    def _follow(self) -> None:
        offers = [end.qos_profile.reliability for end in self._node.get_publishers_info_by_topic(self._topic)]
        reliable = all(offer == ReliabilityPolicy.RELIABLE for offer in offers)
        if not offers or reliable == self._reliable:
            return
        self._reliable = reliable
        self._node.destroy_subscription(self._subscription)
        profile = qos.PIXELS if reliable else qos_profile_sensor_data
        self._subscription = self._node.subscribe(self._kind, self._topic, self._callback, profile)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What makes sealed publishers and subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rclpy.qos import QoSProfile


class Carrier(Protocol):
    """Makes publishers and subscriptions whose messages are sealed: an `EntityNode`, or `Seals` of any other node."""

    def advertise(self, message_type: type, topic: str, qos: QoSProfile, /) -> Any:
        """Return a publisher."""

    def subscribe(self, message_type: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile, /) -> Any:
        """Return a subscription."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The node `device_monitor`: publishes the state of its host, and that it lives."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import psutil

from edge_dnn_partition.msg import Heartbeat, Telemetry
from edge_dnn_partition.sensing.host import HostMeter

from . import qos
from .base import FleetNode, run_node
from .conversions import telemetry_to_message
from .parameters import Parameter

PARAMETERS = (Parameter('rate_hz', 2.0, 'how often telemetry and heartbeat are published, Hz', 0.1, 50.0),)


class DeviceMonitor(FleetNode):
    """Publishes Telemetry and Heartbeat of the device that it runs on.

    :param root: of the proc and sysfs that are read; empty for this machine's own.
    :param kwargs: for `FleetNode`.
    """

    def __init__(self, *, root: str = '', **kwargs: Any) -> None:
        super().__init__('device_monitor', PARAMETERS, **kwargs)
        self._root = root
        self._process = psutil.Process()
        self._timer: Any = None
        self.params.on_change(self._follow_rate, 'rate_hz')

    def setup(self) -> None:
        """Make the publishers and the timer."""
        self._meter = HostMeter(self._root)
        self._telemetry = self.advertise(Telemetry, self.topics.telemetry, qos.TELEMETRY)
        self._heartbeat = self.advertise(Heartbeat, self.topics.heartbeat, qos.HEARTBEAT)
        self._timer = self.every(1 / self.params.number('rate_hz'), self._publish)

    def start(self) -> None:
        """Take the first reading, so that the first telemetry knows rates."""
        self._meter.sample(time.monotonic())

    def teardown(self) -> None:
        """Forget the timer, which is about to go."""
        self._timer = None

    def _follow_rate(self, _name: str, rate_hz: float) -> None:
        if self._timer is not None:
            self.set_period(self._timer, 1 / rate_hz)

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        device = self.topics.device
        sample = self._meter.sample(time.monotonic())
        self._telemetry.publish(
            telemetry_to_message(sample, device=device, incarnation=self.incarnation, stamp=stamp)
        )
        self._heartbeat.publish(
            Heartbeat(
                stamp=stamp,
                device=device,
                node='device_monitor',
                incarnation=self.incarnation,
                resident_bytes=self._process.memory_info().rss,
                speed_factor=math.nan,
                refused=sum(self.refused.values()),
                last_refusal=self.last_refusal,
            )
        )


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the exit code."""
    return run_node(DeviceMonitor, args)

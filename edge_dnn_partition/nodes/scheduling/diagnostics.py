# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's diagnostics (REP 107): once a second one status for each device and one for the pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from edge_dnn_partition.cache import troubles
from edge_dnn_partition.control.state.snapshot import FleetView
from edge_dnn_partition.monitoring.health import Health, Rising, device_health, pipeline_health
from edge_dnn_partition.monitoring.stream_watch import StreamWatch
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.topics import DIAGNOSTICS
from edge_dnn_partition.planning.plans.plan import Plan

try:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
except ImportError:
    DiagnosticArray = None

_PERIOD_SECONDS: Final = 1.0


class DiagnosticsPublisher:
    """Publishes while the scheduler is active, where diagnostic_msgs is installed.

    :param node: the scheduler.
    :param state: returns the plan in force and the last decision in words.
    :param derating: returns why a device is spared; empty: it is not.
    """

    def __init__(
        self,
        node: FleetNode,
        view: FleetView,
        watch: StreamWatch,
        state: Callable[[], tuple[Plan | None, str]],
        derating: Callable[[str], str],
    ) -> None:
        self._node, self._view, self._watch, self._state, self._derating = node, view, watch, state, derating
        self._rising = Rising()
        if DiagnosticArray is None:
            node.get_logger().info('no diagnostics: diagnostic_msgs is not installed')
            return
        self._publisher = node.advertise(DiagnosticArray, DIAGNOSTICS, qos.DIAGNOSTICS, overridable=True)
        node.every(_PERIOD_SECONDS, self._publish)

    def _publish(self) -> None:
        now = time.monotonic()
        plan, decision = self._state()
        ready = self._view.ready(now)
        gone = [name for name in self._view.devices if name not in ready]
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        for name in self._view.devices:
            health = device_health(
                name, self._view, self._watch, self._rising, plan, now, derating=self._derating(name)
            )
            message.status.append(self._status(f'device {name}', name, health))
        whole = pipeline_health(plan, self._watch, self._rising, decision, gone, now, troubles())
        message.status.append(self._status('pipeline', self._node.topics.fleet, whole))
        self._publisher.publish(message)

    def _status(self, task: str, hardware: str, health: Health) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([health.level]), name=f'{self._node.topics.fleet}/{self._node.get_name()}: {task}',
            hardware_id=hardware, message=health.message,
            values=[KeyValue(key=key, value=value) for key, value in health.values.items()],
        )  # fmt: skip

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a worker's heartbeats say: what it holds, how fast it is, what its process takes; and who hears them."""

from __future__ import annotations

import math
import time

import psutil

from edge_dnn_partition.cache import troubles
from edge_dnn_partition.execution.frames.plan_registry import WorkerPlans
from edge_dnn_partition.execution.stages.device_frames import DeviceFrames
from edge_dnn_partition.msg import Heartbeat
from edge_dnn_partition.nodes.conversions.wire import write_links
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.link import TensorLink

from .stage_runner import StageRunner

_RELEASED_SECONDS = 3.0
"""For so long the frame source still hears a worker that has let its last stages go, so that it knows of that."""


class VitalSigns:
    """Publishes a worker's heartbeats: to the scheduler, and while it takes part in a plan to the frame source as well."""

    def __init__(
        self, node: FleetNode, fleet: Fleet, model_sha256: str, frames: DeviceFrames, plans: WorkerPlans, runner: StageRunner,
        link: TensorLink,
    ) -> None:  # fmt: skip
        self._node, self._fleet, self._model_sha256 = node, fleet, model_sha256
        self._frames, self._plans, self._runner, self._link = frames, plans, runner, link
        self._heartbeat = node.advertise(Heartbeat, node.topics.heartbeat, qos.HEARTBEAT)
        self._stage_heartbeat = node.advertise(Heartbeat, node.topics.stage_heartbeat, qos.HEARTBEAT)
        self._took_part_at = -math.inf
        self._process = psutil.Process()
        self._cpu_percent, self._resident_bytes = math.nan, 0

    def measure(self) -> None:
        """Look what the process takes; called once a second."""
        self._cpu_percent = float(round(self._process.cpu_percent()))  # such that most heartbeats say the same
        self._resident_bytes = self._process.memory_info().rss >> 20 << 20

    def publish(self) -> None:
        """Publish a heartbeat; may be called from any thread."""
        node, now = self._node, time.monotonic()
        message = Heartbeat(
            device=node.topics.device, node='worker', incarnation=node.incarnation, model_sha256=self._model_sha256,
            plan_versions=self._frames.versions, active_version=self._plans.active_version,
            active_scheduler=self._plans.active_scheduler, last_version=self._plans.last_version,
            frames=self._frames.under_way,
            resident_bytes=self._resident_bytes, process_cpu_percent=self._cpu_percent,
            speed_factor=self._runner.speed.factor, stage_factor=self._runner.stage_watch.factor(now),
            refused=sum(node.refused.values()), last_refusal=node.last_refusal, troubles=troubles(),
        )  # fmt: skip
        message.stamp = node.get_clock().now().to_msg()
        write_links(message, self._link.states())
        self._heartbeat.publish(message)
        if self._takes_part(now):
            self._stage_heartbeat.publish(message)

    def _takes_part(self, now: float) -> bool:
        """Return whether the frame source has to know that this worker lives: it has stages of a plan, or had them lately."""
        device, plan = self._node.topics.device, self._plans.active
        if device == self._fleet.source or self._frames.versions or (plan is not None and device in plan.devices):
            self._took_part_at = now
        return now - self._took_part_at < _RELEASED_SECONDS

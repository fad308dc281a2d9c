# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the frame source says of itself: its signs of life, and its books."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final

from edge_dnn_partition.cache import troubles
from edge_dnn_partition.execution.frames.hedge import Hedger
from edge_dnn_partition.execution.frames.ledger import FrameLedger
from edge_dnn_partition.execution.frames.shadow_run import ShadowRun
from edge_dnn_partition.execution.frames.source_plans import SourcePlans
from edge_dnn_partition.msg import Heartbeat, SourceStatus
from edge_dnn_partition.nodes.conversions.wire import write_links
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.transport.link import TensorLink

from .input_sender import InputSender

_BEAT_SECONDS: Final = 0.1
_BOOKS_SECONDS: Final = 0.5


class SourceHeartbeat:
    """Publishes both by timers of the node's; the books also when they are asked for.

    :param lock: guards plans and ledger.
    :param link: knows the links that start here.
    :param inputs: knows what the camera's images are like.
    """

    def __init__(
        self, node: FleetNode, model_sha256: str, lock: AbstractContextManager[Any], plans: SourcePlans, ledger: FrameLedger,
        link: TensorLink, inputs: InputSender, *, hedger: Hedger, shadows: ShadowRun,
    ) -> None:  # fmt: skip
        self._node, self._model_sha256, self._lock, self._plans, self._ledger = node, model_sha256, lock, plans, ledger
        self._link, self._inputs, self._hedger, self._shadows = link, inputs, hedger, shadows
        self.books = node.advertise(SourceStatus, node.topics.source_status, qos.STATE, overridable=True)
        """The publisher of the books."""
        self._heartbeat = node.advertise(Heartbeat, node.topics.heartbeat, qos.HEARTBEAT)
        node.every(_BEAT_SECONDS, self._beat)
        node.every(_BOOKS_SECONDS, self.publish_status)

    def _beat(self) -> None:
        node = self._node
        message = Heartbeat(
            device=node.topics.device, node='frame_source', incarnation=node.incarnation, model_sha256=self._model_sha256,
            active_version=self._plans.active_version, active_scheduler=self._plans.active_scheduler,
            last_version=self._plans.last_version, frames=self._ledger.in_flight,
            speed_factor=float('nan'), process_cpu_percent=float('nan'), refused=sum(node.refused.values()),
            last_refusal=node.last_refusal, troubles=troubles(),
        )  # fmt: skip
        message.stamp = node.get_clock().now().to_msg()
        write_links(message, self._link.states())
        self._heartbeat.publish(message)

    def publish_status(self) -> None:
        """Publish the books as they are now."""
        with self._lock:
            counts = self._ledger.counts
            message = SourceStatus(
                device=self._node.topics.device, incarnation=self._node.incarnation,
                plan_version=self._plans.active_version, offered=counts.offered,
                dropped=counts.dropped, accepted=counts.accepted, delivered=counts.delivered, expired=counts.expired,
                lost=counts.lost, failed=counts.failed, last_failure=self._ledger.last_failure,
                duplicated=counts.duplicated, repeated=counts.repeated,
                in_flight=self._ledger.in_flight, late=counts.late, hedged=self._hedger.started,
                hedge_won=self._hedger.won, shadows=self._shadows.run, shadows_unanswered=self._shadows.unanswered,
                image_encoding=self._inputs.last_encoding, image_bytes=self._inputs.last_bytes,
            )  # fmt: skip
        message.stamp = self._node.get_clock().now().to_msg()
        self.books.publish(message)

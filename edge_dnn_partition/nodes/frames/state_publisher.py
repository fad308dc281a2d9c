# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the frame source says of itself: that it lives, and its counters."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from edge_dnn_partition.cache import troubles
from edge_dnn_partition.execution.frames.dispatcher import FrameDispatcher
from edge_dnn_partition.msg import Heartbeat, SourceStatus
from edge_dnn_partition.nodes.conversions.wire import write_links
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.transport.link import TensorLink

from .input_sender import InputSender

_HEARTBEAT_SECONDS = 0.1
_REST_HEARTBEAT_SECONDS = 0.25
"""Between heartbeats where no inputs waited and no frame was under way for a while:"""
_REST_SECONDS = 2.0
_STATUS_SECONDS = 0.5
"""Between checks whether the counters have changed ..."""
_REPEAT_STATUS_SECONDS = 2.0
"""... and between messages where they have not."""


class StatePublisher:
    """Publishes heartbeats and the status of a frame source at intervals.

    :param look: gives the dispatcher to read, under its lock; nothing is published meanwhile.
    :param inputs: which knows what the last inputs were like.
    """

    def __init__(
        self, node: FleetNode, look: Callable[[], AbstractContextManager[FrameDispatcher]], link: TensorLink, inputs: InputSender,
        model_sha256: str,
    ) -> None:  # fmt: skip
        self._node, self._look, self._link, self._inputs, self._model_sha256 = node, look, link, inputs, model_sha256
        self.statuses = node.advertise(SourceStatus, node.topics.source_status, qos.STATE, overridable=True)
        self._heartbeats = node.advertise(Heartbeat, node.topics.heartbeat, qos.HEARTBEAT)
        self._stirred_at = time.monotonic()
        self._status: tuple[SourceStatus | None, float] = None, 0.0
        self._replayed = 0
        self._beating = node.every(_HEARTBEAT_SECONDS, self._beat)
        node.every(_STATUS_SECONDS, lambda: self.publish(_REPEAT_STATUS_SECONDS))

    def stir(self) -> None:
        """Publish heartbeats more often: inputs wait, or a frame is under way."""
        self._stirred_at = time.monotonic()
        self._beating.set_period(_HEARTBEAT_SECONDS)

    def _beat(self) -> None:
        node = self._node
        with self._look() as dispatcher:
            if time.monotonic() - self._stirred_at > _REST_SECONDS:
                self._beating.set_period(_REST_HEARTBEAT_SECONDS)
            plans, frames = dispatcher.plans, dispatcher.ledger.in_flight
            message = Heartbeat(
                device=node.topics.device, node='frame_source', incarnation=node.incarnation, model_sha256=self._model_sha256,
                active_version=plans.active_version, active_scheduler=plans.active_scheduler, last_version=plans.last_version,
                frames=frames, speed_factor=float('nan'), process_cpu_percent=float('nan'),
                refused=sum(node.refused.values()), last_refusal=node.last_refusal, troubles=troubles(),
            )  # fmt: skip
        message.stamp = node.get_clock().now().to_msg()
        write_links(message, self._link.states())
        self._heartbeats.publish(message)

    def publish(self, unless_within_seconds: float = 0.0) -> None:
        """Publish the counters, unless they say what was said within so many seconds."""
        node = self._node
        with self._look() as dispatcher:
            ledger, hedger, shadows = dispatcher.ledger, dispatcher.hedger, dispatcher.shadows
            replayed = 0 if dispatcher.states is None else dispatcher.states.replayed
            message = SourceStatus(
                device=node.topics.device, incarnation=node.incarnation, plan_version=dispatcher.plans.active_version,
                **vars(ledger.counts), last_failure=ledger.last_failure, in_flight=ledger.in_flight,
                hedged=hedger.started, hedge_won=hedger.won, shadows=shadows.run, shadows_unanswered=shadows.unanswered,
                image_encoding=self._inputs.last_encoding, image_bytes=self._inputs.last_bytes,
                input_names=list(self._inputs.other_bytes), input_bytes=list(self._inputs.other_bytes.values()),
            )  # fmt: skip
        last, at = self._status
        if last is not None and message == last and time.monotonic() - at < unless_within_seconds:
            return
        self._status = copy.copy(message), time.monotonic()
        message.stamp = node.get_clock().now().to_msg()
        self.statuses.publish(message)
        if replayed > self._replayed:
            node.get_logger().info(f"{replayed - self._replayed} frames ran again to bring the model's state back")
            self._replayed = replayed

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's hedges: keeps their plan prepared on its own device, and starts them."""

from __future__ import annotations

from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, TAIL_VERSION, Hedger, is_hedge
from edge_dnn_partition.execution.frames.ledger import Frame
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.msg import Heartbeat
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.plan_messages import plan_message
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.plan import Plan


class Hedging:
    """Decides on and counts the hedges of one frame source; used under its lock.

    :param node: a frame source.
    :param model: runs whole on ``device``, the source.
    """

    def __init__(self, node: FleetNode, model: Model, device: str) -> None:
        self._node, self._device = node, device
        whole = [(device, True, ((0, len(model.layers)),))]
        self.plan = compose(model, whole, version=HEDGE_VERSION, source=device, sink=device)
        self.hedger = Hedger()
        self._ready = False
        self._plans = node.advertise(PlanMessage, node.topics.hedge_plan(), qos.PLAN)
        node.params.on_change(lambda *_: self.announce(), 'hedge')

    def announce(self) -> None:
        """Let the worker of this device prepare the plan, or let it go."""
        status = PlanMessage.PROPOSED if self._node.params.flag('hedge') else PlanMessage.DROPPED
        self._plans.publish(plan_message(self.plan, status))

    def alive(self, message: Heartbeat) -> None:
        """Take in what this device's worker has prepared."""
        if message.device == self._device:
            self._ready = HEDGE_VERSION in message.plan_versions

    def due(self, frame: Frame, plan: Plan, now: float) -> bool:
        """Return whether to send a frame to this device as well, and note it as sent if so."""
        if not self._ready or not self._node.params.flag('hedge') or plan.placement == self.plan.placement:
            return False
        self.hedger.share = self._node.params.number('hedge_share')
        self.hedger.follow(plan.version, plan.latency_seconds)
        age, limit = now - frame.accepted_at, self._node.params.number('max_age')
        if not self.hedger.due(frame.frame_id, age, now, limit):
            return False
        self.hedger.start(frame.frame_id, age, now, limit)
        return True

    def came(self, frame_id: int, version: int, now: float) -> None:
        """Take in that a result has come, under whatever plan."""
        if is_hedge(version):
            self.hedger.came(frame_id, now, tail=version == TAIL_VERSION)

    def finished(self, frame_id: int, version: int, latency: float) -> None:
        """Take in that a frame has its result, from which plan, and after how long (seconds)."""
        limit = self._node.params.number('max_age')
        self.hedger.finished(frame_id, latency, limit, hedge=is_hedge(version))

    def expired(self) -> None:
        """Take in that a frame has no result in time."""
        self.hedger.expired(self._node.params.number('max_age'))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's second sendings: of frames that are lost, and of late ones whose plan has been replaced."""

from __future__ import annotations

from collections.abc import Callable

from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.transport.sender import TensorSender
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.runtime.frames.ledger import Frame, FrameLedger
from edge_dnn_partition.runtime.frames.source_plans import Patience, SourcePlans


class Repeating:
    """Used under the frame source's lock.

    :param node: a frame source.
    :param send: sends a frame out under a plan.
    """

    def __init__(
        self, node: FleetNode, plans: SourcePlans, ledger: FrameLedger, sender: TensorSender,
        send: Callable[[Frame, Plan], None],
    ) -> None:  # fmt: skip
        self._node, self._plans, self._ledger, self._sender, self._send = node, plans, ledger, sender, send

    def again(self, frame: Frame, plan: Plan, now: float, *, heard: bool) -> bool:
        """Send a frame again under the plan in force, if that is due; return whether it is.

        :param heard: somebody would hear the result of a frame of an earlier run.
        """
        number = self._node.params.number
        patience = Patience(number('repeat_factor'), number('repeat_least'), number('heartbeat_timeout'))
        overtaken = self._plans.overtaken(frame, now, number('overtake'))
        if not overtaken and not self._plans.overdue(frame, now, patience):
            return False
        if not heard and self._plans.plan_of(frame) is None:
            return False
        self._sender.forget_frame(frame.frame_id, late=overtaken)
        again = self._ledger.repeat(frame.frame_id, now, plan.version)
        if again is not None:
            if overtaken:
                self._ledger.hedged(frame.frame_id)  # two results are to be expected
            self._send(again, plan)
        return True

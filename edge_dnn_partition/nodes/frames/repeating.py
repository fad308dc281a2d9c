# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's second sendings: of frames that are lost, and of late ones whose plan has been replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.parameters import Parameter
from edge_dnn_partition.nodes.transport.sender import TensorSender
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.runtime.frames.ledger import Frame, FrameLedger
from edge_dnn_partition.runtime.frames.source_plans import Patience, SourcePlans

PARAMETERS: Final = (
    Parameter(
        'repeat_factor', 6.0,
        "a frame is sent again after so many times the plan's latency, or half as many times what its last frames took",
        minimum=2.0, maximum=100.0,
    ),
    Parameter('repeat_least', 3.0, '... but not before so many seconds', minimum=0.1, maximum=600.0),
    Parameter(
        'overtake', 1.5,
        'a frame of an earlier plan is sent again under the plan in force after so many times its usual latency; 0: never',
        minimum=0.0, maximum=100.0,
    ),
    Parameter(
        'heartbeat_timeout', 1.0, 'seconds without a sign of life after which a worker counts as gone', minimum=0.2,
        maximum=60.0,
    ),
)  # fmt: skip


class Repeating:
    """Used under the frame source's lock.

    :param node: has `PARAMETERS`.
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

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's shadow frames: sends them in between the others, and says what they cost."""

from __future__ import annotations

from collections.abc import Callable, Collection

from edge_dnn_partition.execution.frames.shadow_run import ShadowRun
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.msg import FrameReport
from edge_dnn_partition.nodes.conversions.result_messages import shadow_report
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.link import TensorLink
from edge_dnn_partition.transport.timing import HopTime

from .input_sender import InputSender


class ShadowFrames:
    """One at a time, while no other frame is under way; used under the frame source's lock.

    :param outputs: of the model, by name.
    :param reachable: returns whether a plan's first device can be sent to.
    """

    def __init__(
        self, outputs: Collection[str], inputs: InputSender, link: TensorLink, reachable: Callable[[Plan], bool]
    ) -> None:
        self._outputs, self._inputs, self._link, self._reachable = frozenset(outputs), inputs, link, reachable
        self.run = ShadowRun(len(self._outputs))

    def begin(self, inputs: FrameInputs | None, now: float) -> bool:
        """Send inputs that have their result once more, if that was asked for; return whether a shadow frame is under way now."""
        if inputs is None:
            return False
        shadow = self.run.begin(now)
        if shadow is None or not self._reachable(shadow.plan):
            self.run.forget()
            return False
        self._inputs.send(inputs, shadow.plan, shadow.number, 0)
        return True

    def receive(self, received: Received, hop: HopTime) -> FrameReport | None:
        """Take outputs in, which are nobody's; return what the frame cost if they were its last ones."""
        arrays, _ = received.views()
        names = [name for name in arrays if name in self._outputs]
        done = self.run.result(received.address.frame_id, names, received.stages, (*received.hops, hop), received.arrived)
        if done is None:
            return None
        self._link.forget_frame(done.number)
        return shadow_report(done)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A frame's inputs on their way to the devices that read them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.planning.plans.plan import SOURCE_STAGE, Plan
from edge_dnn_partition.transport.fragments import Address


@dataclass(frozen=True, eq=False)
class Send:
    """Send a frame's inputs to the devices that read them under a plan.

    :param number: of the frame.
    :param run: this and what follows is of a model that carries state, see `Address`.
    """

    inputs: FrameInputs
    plan: Plan
    number: int
    attempt: int
    run: int = 0
    after: int = 0
    snapshot: bool = False

    @property
    def address(self) -> Address:
        """What its messages belong to."""
        return Address(
            self.plan.model_sha256, self.plan.version, self.number, self.attempt, SOURCE_STAGE, self.run, self.after, self.snapshot
        )

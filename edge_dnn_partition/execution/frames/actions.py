# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the dispatcher wants done: actions that the frame source carries out, in order."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.planning.plans.plan import SOURCE_STAGE, Plan
from edge_dnn_partition.transport.fragments import Address

from .ledger import Frame
from .shadow_run import Shadow


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


@dataclass(frozen=True)
class Forget:
    """Send nothing more of a frame; ``late``: because a link may hold it up."""

    frame_number: int
    late: bool = False


@dataclass(frozen=True)
class ForgetDevice:
    """Send nothing more to a device, which has started anew."""

    device: str


@dataclass(frozen=True, eq=False)
class Accepted:
    """A frame has been accepted: note it on disk before it is sent."""

    frame: Frame


@dataclass(frozen=True, eq=False)
class Ended:
    """A frame has ended, and it is its turn: publish its result.

    :param in_flight: how many frames were under way when it was accepted, itself included.
    """

    frame: Frame
    in_flight: int


@dataclass(frozen=True)
class ShadowEnded:
    """A shadow frame has come to its end: report what it cost."""

    shadow: Shadow


@dataclass(frozen=True)
class Refuse:
    """Say why a frame cannot be processed."""

    reason: str


Action = Send | Forget | ForgetDevice | Accepted | Ended | ShadowEnded | Refuse

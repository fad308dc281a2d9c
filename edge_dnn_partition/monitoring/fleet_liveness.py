# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What one can tell of a fleet's machines by listening to it for a few seconds: who is there, their DDS, models and clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CLOCK_SECONDS: Final = 0.1
"""A clock that is so much ahead is said to be so: messages cannot arrive before they were sent."""
DELAY_SECONDS: Final = 0.5
"""Messages that arrive so late may be late, or of a clock that is behind: nobody can tell from one side."""


@dataclass
class DeviceLiveness:
    """What was heard of one device.

    :param nodes: that it was heard of.
    :param middlewares: whose DDS they use.
    :param models: hashes of the worker's model file.
    :param lateness: seconds from sending, by the sender's clock, to arrival, by this machine's; the least of all messages.
    """

    nodes: set[str] = field(default_factory=set)
    middlewares: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    lateness: float | None = None
    messages: int = 0
    unsealed: int = 0
    """Those without a valid seal, where the fleet has a key."""

    def heard(self, node: str, sent_ns: int, received_ns: int, model: str = '') -> None:
        """Take a message in; the times are in nanoseconds since 1970."""
        self.nodes.add(node)
        self.messages += 1
        if model:
            self.models.add(model)
        if sent_ns and received_ns:
            late = (received_ns - sent_ns) * 1e-9
            self.lateness = late if self.lateness is None else min(self.lateness, late)

    @property
    def clock(self) -> str:
        """What is wrong with its clock, in words; empty if nothing is, or it is not known."""
        if self.lateness is None:
            return ''
        if self.lateness < -CLOCK_SECONDS:
            return f'is {-self.lateness:.2f} s ahead of this machine, or more'
        if self.lateness > DELAY_SECONDS:
            return f'is {self.lateness:.2f} s behind this machine, or its messages take that long (clock or delay)'
        return ''

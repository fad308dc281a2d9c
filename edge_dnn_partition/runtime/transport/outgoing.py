# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle on its way to one device: what of it is still to be sent, and how it was sent."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .pieces import PROBE, Bundle
from .room_search import piece_gain, shows_room

_TELLING_PIECES: Final = 3
"""The spacing of only two is too noisy to tell by itself whether there was room."""
_BLOCKED: Final = 0.25
"""Where sending was blocked for so large a share of the time that a bundle took to leave, the link held it up."""


@dataclass
class Outgoing:
    """Times in seconds, rates in bytes per second.

    :param todo: the pieces that are to be sent, by index.
    :param probe_gain: the pace of its first pieces over the estimated rate; 0 if it does not look for room.
    :param since: when it was queued.
    :param bold: a probe that looks for what the link was seen to carry; what is lost of it says nothing.
    :param offered: how many pieces were queued the last time that some were.
    :param to_another: its receiver is another process than when it was queued; what is not answered of it says nothing.
    """

    bundle: Bundle
    todo: deque[int]
    probe_gain: float
    since: float
    bold: bool = False
    sent_at: float = 0.0
    rounds: int = 0
    offered: int = 0
    to_another: bool = False
    rates: array[float] = field(default_factory=lambda: array('d'))
    """The pace at which each piece left last."""
    asked: float = 0.0
    """From this rate on its first pieces show that there is room."""
    pace: float = 0.0
    """The fastest that its pieces were to leave; 0: they were not paced."""
    first_sent_at: float = 0.0
    blocked_seconds: float = 0.0
    """So long its pieces waited for the network as they were sent."""

    def left(self, index: int, rate: float) -> None:
        """Take in that a piece leaves, and how fast the link is estimated to be."""
        pace = rate * self.gain(index)
        self.pace = max(self.pace, pace)
        if len(self.rates) != self.bundle.count:
            self.rates = array('d', bytes(8 * self.bundle.count))
        self.rates[index] = pace
        if self.probe_gain and self.bundle.count >= _TELLING_PIECES:
            self.asked = self.asked or rate * shows_room(self.probe_gain)

    def left_at(self, indices: Sequence[int]) -> float:
        """The fastest pace at which one of these pieces left; 0 if they were not paced."""
        return max((self.rates[index] for index in indices), default=0.0) if self.rates else 0.0

    def gain(self, index: int) -> float:
        """The pace of a piece over the estimated rate."""
        return piece_gain(0.0 if self.rounds else self.probe_gain, index)

    @property
    def was_blocked(self) -> bool:
        """True if the link held it up as it was sent."""
        return self.blocked_seconds > _BLOCKED * (self.sent_at - self.first_sent_at)

    @property
    def shows_room_from(self) -> float:
        """The rate from which on it shows by itself that there is room; 0 if it does not: any burst holds a probe."""
        return 0.0 if self.rounds or self.bundle.kind == PROBE else self.asked

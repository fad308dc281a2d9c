# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The last probes that have left for a target: answers to them may still come, and say what they lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .outgoing import MUCH_LOST, Loss, Outgoing


@dataclass
class SentProbes:
    """Remembers a few; nobody waits for them."""

    _whole: deque[Outgoing] = field(default_factory=lambda: deque(maxlen=8))
    _cut_short: deque[int] = field(default_factory=lambda: deque(maxlen=8))

    def add(self, probe: Outgoing) -> None:
        """Remember a probe all of whose fragments have left."""
        self._whole.append(probe)

    def cut_short(self, number: int) -> None:
        """Remember one of which no more is sent."""
        self._cut_short.append(number)

    def get(self, number: int) -> Outgoing | None:
        """Return a whole one."""
        return next((probe for probe in self._whole if probe.message.number == number), None)

    def lost(self, number: int, missing: Sequence[int], *, guessed: bool) -> Loss | None:
        """Return what an incomplete probe says of the link; None: nothing, nor does what arrived of it.

        Of one that was cut short, or that was bold, only what arrived counts; not even that if much of a bold one is lost.

        :param guessed: the link's rate is a guess.
        """
        if number in self._cut_short:
            return Loss()
        probe = self.get(number)
        if probe is None:
            return None
        if probe.bold:
            return None if len(missing) > MUCH_LOST * probe.message.count and not guessed else Loss()
        return probe.lost(missing) if missing else Loss(1.0)

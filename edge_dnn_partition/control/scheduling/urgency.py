# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When to decide sooner than at the next turn: an estimate has made a step. Pure; times in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from edge_dnn_partition.control.decision.steps import Steps

LEAST_SECONDS: Final = 0.06
"""Between two decisions."""
MOST_SHARE: Final = 0.25
"""And so long that decisions that do not wait for their turn take no larger share of the time."""
HURRY_SECONDS: Final = 0.3
"""So long after a change decisions follow each other soon, so that one which is to be confirmed is."""


@dataclass
class Urgency:
    """Tells from the estimates that the last decision was taken on whether the next one should wait for its turn."""

    _steps: Steps = field(default_factory=Steps)
    _hurry_until: float = -math.inf
    _next_at: float = -math.inf

    def is_due(self, now: float, signs: Callable[[], Mapping[Hashable, float]]) -> bool:
        """Return whether to decide now.

        :param signs: returns the estimates by name, above 0: factors of devices, rates of links.
        """
        if now < self._next_at:
            return False
        return now <= self._hurry_until or self._steps.are_in(signs())

    def decided(self, now: float, signs: Mapping[Hashable, float]) -> None:
        """Take in that a decision is taken now, on these estimates."""
        if self._steps.observe(now, signs):
            self._hurry_until = now + HURRY_SECONDS
        self._next_at = now + LEAST_SECONDS

    def took(self, now: float, seconds: float) -> None:
        """Take in that a decision has taken so long, until now."""
        self._next_at = max(self._next_at, now + seconds * (1 / MOST_SHARE - 1))

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
"""Decisions out of turn take no larger share of the time."""
HURRY_SECONDS: Final = 0.3
"""So long after a step decisions follow each other soon, so that one which needs confirmation gets it."""


@dataclass
class Urgency:
    """Tells from the estimates that the last decision rested on whether the next one should wait for its turn."""

    _steps: Steps = field(default_factory=Steps)
    _hurry_until: float = -math.inf
    _next_at: float = -math.inf

    def is_due(self, now: float, estimates: Callable[[], Mapping[Hashable, float]]) -> bool:
        """Return whether to decide now.

        :param estimates: returns the estimates by name, above 0: factors of devices, rates of links.
        """
        if now < self._next_at:
            return False
        return now <= self._hurry_until or self._steps.are_in(estimates())

    def on_decision(self, now: float, estimates: Mapping[Hashable, float]) -> None:
        """Record that a decision is taken now, on these estimates."""
        if self._steps.observe(now, estimates):
            self._hurry_until = now + HURRY_SECONDS
        self._next_at = now + LEAST_SECONDS

    def on_duration(self, now: float, seconds: float) -> None:
        """Record how long a decision has taken, until now."""
        self._next_at = max(self._next_at, now + seconds * (1 / MOST_SHARE - 1))

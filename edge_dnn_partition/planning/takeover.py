# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When learning takes over from the exact planner, and when it hands back."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TakeoverSettings:
    """What makes the planner count as wrong, and as right again.

    :param threshold: mean absolute logarithm of measured over predicted cost after switches.
    :param hold_seconds: for so much evidence it must have been above to take over.
    :param agree_share: below this share of the threshold predictions agree.
    :param return_seconds: for so much evidence they must have agreed to hand back.
    :param watch_seconds: how long after a switch frames are evidence.
    :param shadow_seconds: for how many seconds of evidence a shadow frame stands.
    """

    threshold: float = 0.15
    hold_seconds: float = 3.0
    agree_share: float = 0.6
    return_seconds: float = 12.0
    watch_seconds: float = 6.0
    shadow_seconds: float = 2.0


class Takeover:
    """Who decides: ``learning`` is false while the planner does, which it does at the start.

    Only predictions *after switches* count, which the planner has made without having seen
    the plan at work: within ``watch_seconds`` of a switch, and for shadow frames. How well the plan in force is
    predicted later says little, since its predictions have been corrected by then.
    """

    def __init__(self, settings: TakeoverSettings | None = None) -> None:
        self.settings = settings or TakeoverSettings()
        self.learning = False
        self.error = 0.0
        self._held = 0.0
        self._agreed = 0.0
        self._switched_at = -math.inf
        self._frame_at = -math.inf

    def switched(self, now: float) -> None:
        """Take in that a plan has come into force."""
        self._switched_at = self._frame_at = now

    def frame(self, now: float, log_error: float, *, shadow: bool = False) -> bool:
        """Take a frame in and return who decides now (:attr:`learning`).

        :param log_error: logarithm of the measured cost over what was predicted for the plan at the switch, under
            the present estimates.
        """
        if not math.isfinite(log_error):
            return self.learning
        if shadow:
            weight = self.settings.shadow_seconds
        elif now - self._switched_at <= self.settings.watch_seconds:
            weight = min(max(now - self._frame_at, 0.0), 1.0)
            self._frame_at = now
        else:
            return self.learning
        settings = self.settings
        self.error += (1 - math.exp(-weight / max(settings.hold_seconds, 1e-9))) * (abs(log_error) - self.error)
        self._held = self._held + weight if self.error > settings.threshold else 0.0
        self._agreed = self._agreed + weight if self.error < settings.agree_share * settings.threshold else 0.0
        if not self.learning and self._held >= settings.hold_seconds:
            self.learning, self._agreed = True, 0.0
        elif self.learning and self._agreed >= settings.return_seconds:
            self.learning, self._held = False, 0.0
        return self.learning

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Bounds what is reported of a link beyond its measurements: while a message is overdue, and where only probes raised the rate.

Pure; time is passed in, seconds; rates in bytes per second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from edge_dnn_partition.sensing.link import LEAST_RATE, LinkEstimate
from edge_dnn_partition.sensing.windowed_max import HeldMax

from .outgoing import Waiting
from .partial import SLOW_RUN_SECONDS

OVERDUE: Final = 2.0
OVERDUE_SECONDS: Final = 0.1
"""A message bounds its link's rate once its acknowledgement takes so many times the expected time, and so many seconds more."""
BOUND_SECONDS: Final = 1.5
"""A bound holds this long at least, and until something is measured after it: silence is no sign that the link is as before."""
SEEN_SECONDS: Final = 120.0
"""Probes look again for what the link carried within this time."""
SHY_SECONDS: Final = (4.0, 60.0)
"""Where tensors twice in a row do not find the rate that probes have raised, probes look for no more than a little for this long,
and three times as long each further time, up to the second value: a token bucket lets probes pass and no tensors. Once is no
evidence, as a link that has just become slower looks the same."""
HOLDS_SECONDS: Final = 10.0
"""A raised rate that no tensor has contradicted for so long holds."""
_MUCH: Final = 1.5


def overdue_bound(estimate: LinkEstimate, trip_seconds: float, waiting: Waiting) -> float | None:
    """Return the most that a link carries on which word of a message is overdue; None if it is not, or nothing has been measured.

    :param trip_seconds: there and back, without the message's own time on the link.
    """
    usual = waiting.size / estimate.bytes_per_second + trip_seconds
    if not estimate.measured or waiting.seconds < OVERDUE * usual + OVERDUE_SECONDS:
        return None
    seconds = waiting.seconds - trip_seconds
    return max((waiting.most if seconds > SLOW_RUN_SECONDS else waiting.size) / seconds, LEAST_RATE)


@dataclass
class EstimateGuard:
    """Of one direction of a link; not thread safe."""

    _bound: float = math.inf
    _bound_at: float = -math.inf
    _seen: HeldMax = field(default_factory=lambda: HeldMax(SEEN_SECONDS))
    _raised: tuple[float, float, float] = (-math.inf, 0.0, 0.0)
    """When probes raised the rate by much, to what, and the probe's bytes; no tensor has confirmed or contradicted it yet."""
    _contradicted: int = 0
    """How often in a row tensors have not found the raised rate."""
    _shy_until: float = -math.inf

    def overdue(self, now: float, bound: float) -> None:
        """Record that a message is overdue, and what that allows of the link at most."""
        self._bound, self._bound_at = bound, now

    def no_longer_overdue(self) -> None:
        """Drop the bound: another process receives now, or a probe has confirmed the rate."""
        self._bound_at = -math.inf

    def bound(self, now: float, measured_at: float = math.inf) -> float:
        """Return the most that may be reported of the link now; infinite if no message was overdue of late.

        :param measured_at: when something was measured last; infinite: a while ago at most.
        """
        return self._bound if now - self._bound_at <= BOUND_SECONDS or measured_at < self._bound_at else math.inf

    def probed(self, now: float, before: float, after: float, size: float = 0.0) -> None:
        """Record what a probe of ``size`` bytes has changed the estimate to."""
        if after > _MUCH * before:
            self._raised = now, after, size

    def tensor(self, now: float, rate: float, size: float = math.inf, *, at_least: bool = False) -> None:
        """Record what a tensor has shown of the link's rate.

        :param size: its bytes: one that is no larger than a probe passes a token bucket as well.
        :param at_least: the link may carry more than that.
        """
        at, raised, probe_size = self._raised
        found = _MUCH * rate >= raised
        if now - at > HOLDS_SECONDS or (found and size <= probe_size) or (at_least and not found):
            return
        self._raised = -math.inf, 0.0, 0.0
        self._contradicted = 0 if found else self._contradicted + 1
        if self._contradicted > 1:
            first, longest = SHY_SECONDS
            self._shy_until = now + min(first * 3.0 ** (self._contradicted - 2), longest)

    def seen(self, now: float, estimate: LinkEstimate) -> float:
        """Return the highest rate that held of late.

        :param estimate: the present one, which is recorded.
        """
        return self._seen.add(now, estimate.bytes_per_second if estimate.measured else 0.0)

    def shy(self, now: float) -> bool:
        """True while probes are to look for no more than a little."""
        return now < self._shy_until

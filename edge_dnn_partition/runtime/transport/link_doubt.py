# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is to be said of a link beyond what was measured on it: a tensor that has not arrived in time, a rate that was higher.

Pure; time is passed in, seconds; rates in bytes per second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from edge_dnn_partition.sensing.link import LEAST_RATE, LinkEstimate

from .windowed_max import WindowedMax

OVERDUE: Final = 2.0
OVERDUE_SECONDS: Final = 0.1
"""A bundle whose receipt takes so many times, and so many seconds more than, what it should take bounds its link's rate."""
BOUND_SECONDS: Final = 1.5
"""So long a bound holds after the bundle has come or is given up: by then a probe, or a second bundle, tells as well."""
SEEN_SECONDS: Final = 120.0
"""Of the last while: what a link was measured to carry in it, probes look for again."""
SHY_SECONDS: Final = (5.0, 60.0)
"""Where tensors did not find what a probe has raised a link's rate to, probes look for no more than a little for so long, twice as
long each time, up to the second of these: a token bucket lets probes pass that does not let tensors pass. A link that has just
become slower looks the same once."""
HOLDS_SECONDS: Final = 10.0
"""A raised rate that no tensor has contradicted for so long holds."""
_MUCH: Final = 1.5


def overdue_bound(estimate: LinkEstimate, trip_seconds: float, size: int, seconds: float) -> float | None:
    """Return the most that a link carries on which a bundle is overdue; None if it is not, or nothing was ever measured.

    :param trip_seconds: there and back, without the bundle's own time on the link.
    :param size: the bundle's bytes.
    :param seconds: for which it has been on its way without a receipt.
    """
    if not estimate.measured or seconds < OVERDUE * (size / estimate.bytes_per_second + trip_seconds) + OVERDUE_SECONDS:
        return None
    return max(size / (seconds - trip_seconds), LEAST_RATE)


@dataclass
class LinkDoubt:
    """Of one direction of a link; not thread safe."""

    _bound: float = math.inf
    _bound_at: float = -math.inf
    _seen: WindowedMax = field(default_factory=lambda: WindowedMax(SEEN_SECONDS))
    _raised: tuple[float, float] = (-math.inf, 0.0)
    """When a probe raised the rate by much, and to what."""
    _shy_until: float = -math.inf
    _shy_for: float = SHY_SECONDS[0]

    def overdue(self, now: float, bound: float) -> None:
        """Take in that a bundle is overdue, and what that allows of the link at most."""
        self._bound, self._bound_at = bound, now

    def receiver_anew(self) -> None:
        """Take in that the receiver is another process now, which is not who did not answer."""
        self._bound_at = -math.inf

    def bound(self, now: float) -> float:
        """Return the most that may be said of the link now; infinite if no bundle was overdue of late."""
        return self._bound if now - self._bound_at <= BOUND_SECONDS else math.inf

    def probed(self, now: float, before: float, after: float) -> None:
        """Take in what a probe has made of the link's rate."""
        if after > _MUCH * before:
            if math.isfinite(self._raised[0]) and now - self._raised[0] > HOLDS_SECONDS:
                self._shy_for = SHY_SECONDS[0]
            self._raised = now, after

    def tensor(self, now: float, rate: float) -> None:
        """Take in what a tensor has shown of the link's rate."""
        at, raised = self._raised
        if now - at <= HOLDS_SECONDS and _MUCH * rate < raised:
            self._shy_until, self._raised = now + self._shy_for, (-math.inf, 0.0)
            self._shy_for = min(2 * self._shy_for, SHY_SECONDS[1])

    def worth_looking_for(self, now: float, estimate: LinkEstimate) -> float:
        """Return what a probe is to look for: the most that was measured of late; 0: no more than a little.

        :param estimate: what is believed now; is remembered.
        """
        seen = self._seen.add(now, estimate.bytes_per_second if estimate.measured else 0.0)
        return seen if now >= self._shy_until else 0.0

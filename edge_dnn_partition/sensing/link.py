# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A link's rate and latency, from what its receiver saw of the tensors that crossed it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

_LOSS_FACTOR: Final = 0.97
_LOSS_FLOOR: Final = 0.1
_CONFIRMS: Final = 0.9
_DOUBT: Final = math.log(1.4)
STALE_SECONDS: Final = 2.0
"""What another process measured counts once it is this much newer than what was measured here."""
_NEWS_SECONDS: Final = 0.05
"""A report no newer than this is an echo of what was measured here."""
_RETURNS: Final = 0.9
"""Of the rate before an outage, this share is believed after it: what was lost was lost to the outage, and what is sent too
fast shows after a few fragments."""
_OUTAGE: Final = 0.26
"""A silence is an outage once it has lowered the estimate to this share."""
_FULL_SECONDS: Final = 0.2
"""A loss this soon after the link was seen full lowers the estimate no further than to the rate seen then, as lost fragments
crossed in part..."""
_IN_PART: Final = 2.0
"""... unless the loss shows a rate this many times lower: then the link has become slower since."""
_TOLD_SECONDS: Final = 2.0
"""For this long after a silence receivers report what was lost in it."""
_WINDOW: Final = 3
"""How many transfers the median looks back."""

_RISEN_TRIPS: Final = 4
_RISEN_SECONDS: Final = 0.5
"""The link's delay has risen where so many round trips on end, over so many seconds, all took longer ..."""
_RISEN: Final = (1.5, 0.01)
"""... by this factor, and so many seconds more: no queue of this sender's, whose fragments are paced, lasts as long ..."""
_FAR_RISEN_TRIPS: Final = 2
_FAR_RISEN: Final = (5.0, 0.05)
"""... or, where they took as much longer as this, so many: a slow stream has few."""
_USUAL_BYTES: Final = 100_000
_SHORT_SECONDS: Final = 0.02
"""A latency up to this makes no link another one."""

LEAST_BYTES: Final = 4_000
"""Smaller transfers take too short a time to be timed."""

LEAST_RATE: Final = 2_000.0
"""Bytes per second that a link is believed to carry however much is lost on it."""


@dataclass(frozen=True)
class LinkEstimate:
    """One direction of a link; ``measured`` is False while it is a first guess."""

    bytes_per_second: float
    latency_seconds: float
    measured: bool


def speed_of(bytes_per_second: float, latency_seconds: float) -> float:
    """Return a link's rate, lowered where its latency is long: what a tensor of 100 kB sees. Tells that a link has changed."""
    late = max(latency_seconds - _SHORT_SECONDS, 0.0)
    return bytes_per_second / (1 + late * bytes_per_second / _USUAL_BYTES) if late else bytes_per_second


@dataclass
class LinkEstimator:
    """Follows one direction of a link; time is passed in, seconds.

    The rate of a transfer is its dispersion: the bytes that came after the first fragment over the time between the first
    and the last fragment, on one clock. The estimate is the median of the last few transfers, so that one that was held up,
    or whose fragments a busy receiver found side by side, moves nothing (BBR's windowed maximum believes such a sample for
    its whole window, and a link that has become slower only after it). A transfer whose sender held fragments back shows
    only that the link bears so much (application-limited samples of BBR, Cardwell et al., ACM Queue 14(5), 2016): it
    raises the estimate or, where it is nearly as fast, confirms it, and so outvotes one that a busy receiver held up. The
    latency is half the least round trip of the last few seconds, so it is split evenly between the directions; where a few
    on end took much longer, it has risen, and what was before counts no more.

    :param guess: rate (bytes per second) and latency (seconds) until something was measured.
    :param round_trip_seconds: how long a round trip counts.
    """

    guess: tuple[float, float]
    round_trip_seconds: float = 20.0
    _rates: deque[float] = field(default_factory=deque)
    _trips: deque[tuple[float, float]] = field(default_factory=deque)
    """When a round trip ended, and what it took; rising, as a later one that is shorter takes the place of those before."""
    _long: int = 0
    """How many round trips on end took much longer than the least."""
    _long_since: float = math.inf
    _long_least: float = math.inf
    last_at: float = float('-inf')
    """When the estimate was measured, here or elsewhere."""
    _own_at: float = float('-inf')
    """When something was last measured here; what did not arrive shows only an upper bound."""
    _full: tuple[float, float] = (float('-inf'), 0.0)
    """When a transfer arrived more slowly than it left, and its rate: that is what the link carried."""
    timed: bool = False
    """The estimate was timed; else it follows from what did not arrive, and the link may carry more."""
    silent: bool = False
    """Nothing has been acknowledged of late."""
    _before: float = 0.0
    """The estimate when the link fell silent."""
    _returned_at: float = float('-inf')
    _at_last_answer: tuple[float, ...] | None = None
    """The rates at the last acknowledgement, where silence has lowered them since."""

    def transfer(
        self, now: float, size: float, seconds: float, *, sender_limited: bool, found_room: bool = False, short: bool = False
    ) -> None:  # fmt: skip
        """Record one transfer: ``size`` bytes that came in ``seconds`` after its first fragment.

        :param found_room: the sender had looked for more than the estimate, and there was: what this transfer shows
            is believed at once if it is more.
        :param short: it counts although it is small: it has taken long enough to be timed.
        """
        if (size < LEAST_BYTES and not short) or seconds <= 0:
            return
        rate = size / seconds
        if sender_limited and self._rates and rate <= median(self._rates):
            if rate < _CONFIRMS * median(self._rates):
                return
            rate = median(self._rates)  # what left so fast came so fast: what is believed holds
        if not sender_limited:
            self._full = now, rate
        if (found_room or not (self.timed or short)) and self._rates and rate > median(self._rates):
            self._rates.clear()
        self.last_at = self._own_at = now
        self.timed = True
        self._rates.append(rate)
        while len(self._rates) > _WINDOW:
            self._rates.popleft()

    def on_report(self, at: float, bytes_per_second: float) -> None:
        """Take over what another process of this device measured, if it is newer and nothing was measured here for long.

        :param at: when it was measured.
        """
        if bytes_per_second > 0 and at >= self.last_at + _NEWS_SECONDS and at >= self._own_at + STALE_SECONDS:
            self._rates.clear()
            self._rates.append(bytes_per_second)
            self.last_at = at
            self.timed, self.silent = True, False

    @property
    def settled(self) -> bool:
        """True once the window of the median is full."""
        return len(self._rates) >= _WINDOW

    @property
    def uncertainty(self) -> float:
        """Half the range of the latest rates over the estimate; NaN while there are fewer than two."""
        if len(self._rates) < 2:
            return math.nan
        return (max(self._rates) - min(self._rates)) / (2 * median(self._rates))

    @property
    def doubtful(self) -> bool:
        """True if the last transfer had another rate than the estimate, and nothing has confirmed it yet."""
        return len(self._rates) > 1 and abs(math.log(self._rates[-1] / median(self._rates))) > _DOUBT

    def loss(self, now: float, size: float, seconds: float, *, bound: float = math.inf) -> None:
        """Record that fragments were lost: what has arrived shows what the link bears, which is less than the estimate.

        :param size: bytes that came in ``seconds``; 0 if that is not known.
        :param bound: the link bears no more bytes per second than this, since so much was sent at a known rate and so
            much of it lost; what came may have been too little to be timed.
        """
        present = self.estimate.bytes_per_second
        timed = size >= LEAST_BYTES and seconds > 0
        self.timed &= timed
        seen = size / seconds if timed else present
        if now - self._full[0] <= _FULL_SECONDS and self._full[1] < _IN_PART * seen:
            seen = max(seen, self._full[1])
        floor = _LOSS_FLOOR * present if self._rates else LEAST_RATE  # a guess may be wrong by far
        self._rates.clear()
        self._rates.append(max(min(_LOSS_FACTOR * present, seen, bound), floor, LEAST_RATE))
        if timed:
            self.last_at = self._own_at = now
        elif bound < math.inf:
            self.last_at = now

    def given_up(self, now: float, bound: float) -> None:
        """Record that nobody waits any longer for an answer by which the link bears no more than ``bound`` bytes per second."""
        self._keep()
        self.loss(now, 0.0, 0.0, bound=bound)

    def silence(self, now: float) -> None:
        """Record that nothing is acknowledged: halve the estimate until something is measured."""
        self._keep()
        present = self.estimate.bytes_per_second
        if not self.silent:
            self._before = present if self._rates else 0.0
        self.silent = True
        self._rates.clear()
        self._rates.append(max(present / 2, LEAST_RATE))
        self.timed = False
        self.last_at = now

    def answered(self, now: float) -> None:
        """Record an acknowledgement. If it ends an outage (a silence that halved the rate twice), the link is back."""
        self._at_last_answer = None
        if self.silent:
            self.silent = False
            self._returned_at = now
            if self.estimate.bytes_per_second <= _OUTAGE * self._before:
                self._restore(now)

    def receiver_anew(self, now: float) -> None:
        """Record that another process receives now: the one before may have died, and its silence says nothing of the link.

        The estimate at its last acknowledgement holds again, and is as old as this call.
        """
        if self._at_last_answer is not None:
            self._rates = deque(self._at_last_answer)
            self.last_at = self._own_at = now if self._rates else -math.inf
        self._at_last_answer, self.silent = None, False

    def _keep(self) -> None:
        if self._at_last_answer is None:
            self._at_last_answer = tuple(self._rates)

    def lost_whole(self, now: float) -> bool:
        """Record that all of what was sent is missing; return whether it was lost to an outage.

        A link that is merely slower than believed carries some of it, while this is not answered at all.
        """
        ended = now - self._returned_at < _TOLD_SECONDS
        if ended:
            self._restore(now)
        return ended

    def _restore(self, now: float) -> None:
        if self._before > 0:
            present = self.estimate.bytes_per_second
            self._rates.clear()
            self._rates.append(max(present, _RETURNS * self._before))
            self.last_at = self._own_at = now

    def round_trip(self, now: float, seconds: float) -> None:
        """Record the round trip of a fragment and its acknowledgement, without the time for which the receiver held it."""
        if not seconds >= 0:
            return
        while self._trips and (self._trips[-1][1] >= seconds or self._trips[0][0] < now - self.round_trip_seconds):
            if self._trips[-1][1] >= seconds:
                self._trips.pop()
            else:
                self._trips.popleft()
        self._trips.append((now, seconds))
        factor, more = _RISEN
        if seconds <= factor * self._trips[0][1] + more:
            self._long, self._long_since, self._long_least = 0, math.inf, math.inf
            return
        self._long, self._long_since = self._long + 1, min(self._long_since, now)
        self._long_least = min(self._long_least, seconds)
        far = self._long_least > _FAR_RISEN[0] * self._trips[0][1] + _FAR_RISEN[1]
        if self._long >= (_FAR_RISEN_TRIPS if far else _RISEN_TRIPS) and now - self._long_since >= _RISEN_SECONDS:
            while self._trips[0][0] < self._long_since:
                self._trips.popleft()

    @property
    def estimate(self) -> LinkEstimate:
        """The present estimate."""
        rate, latency = self.guess
        if self._rates:
            rate = median(self._rates)
        if self._trips:
            latency = self._trips[0][1] / 2
        return LinkEstimate(rate, latency, bool(self._rates))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a sender knows of its link to one other device: every acknowledgement, loss and silence goes into one estimate here.

`LinkEstimator` follows the rate, `EstimateGuard` bounds what is reported of it while a message is overdue and where only probes
raised it, `LinkProber` decides when an idle link is measured. Pure; time is passed in, seconds; rates in bytes per second.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from edge_dnn_partition.sensing.link import LEAST_BYTES, LEAST_RATE, LinkEstimate, LinkEstimator
from edge_dnn_partition.sensing.windowed_max import HeldMax

from .fragments import PROBE, Ack, AckState, in_packets
from .link import LinkState, Shaper, Shaping
from .outbox import Outbox
from .outgoing import Loss, PacingSample, Waiting
from .partial import SLOW_RUN_SECONDS
from .probing import SHORT_SECONDS, LinkProber

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


MOST_GUESSED: Final = 5e6
"""A guessed rate is capped at this: then fragments are small and many."""
FEW_LOST: Final = 0.02
"""Where no more of a message is lost than this, its rate was right: looking for headroom costs that much (as in BBR version 2)."""
LEAST_PACE: Final = in_packets(1) / 0.1
"""A packet each tenth of a second floods no link. An estimate that nothing has timed slows no sender below it."""
OVERTAKEN: Final = 1.2
"""Losses at a pace this many times above the present estimate say nothing against it."""
CONFIRMS: Final = 0.7
"""A probe that shows this share of the estimate confirms it, whatever was overdue before."""
GUESS: Final = (12.5e6, 0.002)
"""Rate and latency of a link that the fleet file does not name."""


class Unshaped:
    """The link itself."""

    def shaper(self, receiver: str) -> None:
        """Return nothing."""

    def delay(self, receiver: str) -> float:  # noqa: ARG002
        """Return no delay."""
        return 0.0


class LinkModel:
    """One direction of a link; not thread safe.

    :param device: at its other end.
    :param guess: rate and latency until something is measured.
    :param local: the other end is on the same device, and nothing is paced.
    """

    def __init__(
        self, device: str, guess: tuple[float, float] = GUESS, shaping: Shaping | None = None, *, local: bool = False
    ) -> None:
        self.device, self.local = device, local
        self._shaping: Shaping = shaping or Unshaped()
        self.estimator = LinkEstimator((min(guess[0], MOST_GUESSED), guess[1]))
        self.guard = EstimateGuard()
        self.prober = LinkProber()

    @property
    def delay(self) -> float:
        """The seconds by which this process delays what leaves for the device; 0 on a real link."""
        return self._shaping.delay(self.device)

    @property
    def shaper(self) -> Shaper | None:
        """What holds fragments back in place of the pace."""
        return self._shaping.shaper(self.device)

    @property
    def hold(self) -> float:
        """The seconds for which a fragment that may leave is kept here: the delay, unless the shaper applies it."""
        return 0.0 if self.shaper is not None else self.delay

    @property
    def pace(self) -> float | None:
        """The rate that fragments are paced to; None: they are not paced."""
        if self.local or self.shaper is not None:
            return None
        rate = self.estimator.estimate.bytes_per_second
        return rate if self.estimator.timed else max(rate, LEAST_PACE)

    def set_pace(self, outbox: Outbox) -> None:
        """Let an outbox send at the estimated rate."""
        outbox.rate = self.pace
        outbox.cautious = outbox.rate is not None and not self.estimator.estimate.measured

    def on_silence(self, now: float, answered: bool) -> float | None:
        """Lower the estimate: a message was not acknowledged, while others were (``answered``) or none was; return the new pace."""
        if self.pace is None:
            return None
        if answered:
            self.estimator.answered(now)
            self._lower(now, 0.0, 0.0)
        else:
            self.estimator.silence(now)
        return self.pace

    def on_ack(self, ack: Ack, outboxes: Collection[Outbox], now: float) -> None:
        """Learn from an acknowledgement, and pass it to the outbox that its message is in.

        :param outboxes: all to this device.
        """
        measured = ack.spread_bytes / ack.spread_seconds if ack.spread_seconds > 0 else 0.0
        span = ack.message, ack.since_sent_ns, ack.echo_sent_ns
        if ack.state == AckState.RUN:
            for outbox in outboxes:
                sample = outbox.on_run(*span, ack.spread_bytes, now)
                if sample is not None and measured:
                    self.on_transfer(ack, sample, now)
                    self.set_pace(outbox)
                    limited = sample.sender_limited(as_they_left=ack.paced)
                    outbox.next_train(ack.message, sample, measured, sender_limited=limited)
            return
        sample = PacingSample()
        if ack.state == AckState.COMPLETE:
            sample = min((outbox.sample(*span) for outbox in outboxes), key=lambda sample: sample.pace, default=sample)
            self.on_transfer(ack, sample, now)
        limited = sample.sender_limited(as_they_left=ack.paced)
        for outbox in outboxes:
            self.set_pace(outbox)
            if ack.state == AckState.MISSING:
                probe = ack.kind == PROBE
                loss = outbox.probe_lost(ack.message, ack.missing) if probe else outbox.resend(ack.message, ack.missing, now)
                if loss is not None:
                    self.on_loss(ack, loss, now)
                self.set_pace(outbox)
            else:
                outbox.acknowledge(ack.message, measured, now=now, sender_limited=limited, sample=sample)
                for number in ack.also:
                    outbox.acknowledge(number, now=now)

    def on_transfer(self, ack: Ack, sample: PacingSample, now: float) -> None:
        """Learn from a message, or a run of its fragments, that arrived completely."""
        if self.local:
            return
        estimator = self.estimator
        estimator.answered(now)
        if ack.spread_bytes == 0:
            return
        # The last fragment's own time on the wire is taken off, at the rate of its own message.
        last = min(ack.fragment_bytes, ack.total)
        on_wire = last * ack.spread_seconds / ack.spread_bytes
        trip = now - ack.echo_sent_ns * 1e-9 - ack.held_seconds - on_wire
        if trip > 0:
            estimator.round_trip(now, trip)
        seconds = max(ack.spread_seconds, ack.spread_bytes / sample.pace)
        headroom = seconds > 0 and sample.shows_the_rate(ack.spread_bytes / seconds)
        limited = sample.sender_limited(as_they_left=ack.paced)
        before = estimator.estimate.bytes_per_second
        short = ack.kind == PROBE and ack.spread_bytes < LEAST_BYTES
        if ack.kind == PROBE and seconds < SHORT_SECONDS and (short or estimator.estimate.measured):
            least = SHORT_SECONDS if short else min(SHORT_SECONDS, ack.spread_bytes / before)
            if seconds < least:  # a token bucket may have let that many packets pass at once
                seconds, limited, headroom = least, True, False
        estimator.transfer(now, ack.spread_bytes, seconds, sender_limited=limited, found_room=headroom, short=short)
        if ack.kind == PROBE:
            after = estimator.estimate.bytes_per_second
            self.guard.probed(now, before, after, ack.spread_bytes)
            if seconds > 0 and ack.spread_bytes / seconds >= CONFIRMS * after:
                self.guard.no_longer_overdue()
        elif seconds > 0:
            self.guard.tensor(now, ack.spread_bytes / seconds, ack.spread_bytes, at_least=limited)

    def on_loss(self, ack: Ack, loss: Loss, now: float) -> None:
        """Learn from fragments that were lost; where they are few, what arrived still shows the rate."""
        if self.local or self.shaper is not None:
            return
        estimator = self.estimator
        estimator.answered(now)
        if loss.share >= 1 and estimator.lost_whole(now):
            return
        if ack.spread_bytes == 0 and loss.rate > OVERTAKEN * estimator.estimate.bytes_per_second:
            return
        if loss.share > FEW_LOST:
            self._lower(now, ack.spread_bytes * loss.carried, ack.spread_seconds, loss.bears)
            self.guard.tensor(now, estimator.estimate.bytes_per_second)
        elif ack.spread_bytes > 0:
            estimator.transfer(now, ack.spread_bytes, ack.spread_seconds, sender_limited=True)

    def _lower(self, now: float, size: float, seconds: float, bears: float = math.inf) -> None:
        """Lower the estimate after a loss; where nothing is timed, the loss confirms the bound of an overdue message."""
        overdue = math.inf if size > 0 else self.guard.bound(now, self.estimator.last_at)
        self.estimator.loss(now, size, seconds, bound=min(bears, overdue))

    def bound(self, waiting: Waiting) -> float | None:
        """Return the most that the link carries if a message is overdue; None if it is not."""
        if self.local:
            return None
        estimate = self.estimator.estimate
        return overdue_bound(estimate, 2 * max(estimate.latency_seconds, self.delay), waiting)

    def seconds_for(self, size: int, now: float) -> float:
        """Return how long so many bytes take to arrive; 0 within the device."""
        if self.local:
            return 0.0
        estimate = self.estimator.estimate
        return size / min(estimate.bytes_per_second, self.guard.bound(now, self.estimator.last_at)) + estimate.latency_seconds

    def on_given_up(self, waiting: Waiting, now: float) -> None:
        """Keep what an overdue message shows of the link although nobody waits for it any longer."""
        if (bound := self.bound(waiting)) is not None:
            self.estimator.given_up(now, bound)

    def on_new_receiver(self, now: float) -> None:
        """Forgive the silence of a process that has died: another one answers now."""
        self.estimator.receiver_anew(now)
        self.guard.no_longer_overdue()

    def state(self, now: float, waiting: Waiting | None = None) -> LinkState:
        """Return what is reported of the link.

        :param waiting: the message that has been on its way for longest. If it is overdue, it bounds the reported rate, and for a
            while afterwards; the pace follows measurements alone.
        """
        if waiting is not None and (overdue := self.bound(waiting)) is not None:
            self.guard.overdue(now, overdue)
        estimate, measured_at = self.estimator.estimate, self.estimator.last_at
        bound = self.guard.bound(now, measured_at)
        if not estimate.measured:
            return LinkState(math.nan, math.nan, 0.0)
        rate = min(bound, estimate.bytes_per_second)
        return LinkState(rate, estimate.latency_seconds, now - measured_at if rate < bound else 0.0, self.estimator.uncertainty)

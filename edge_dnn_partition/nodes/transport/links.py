# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a sender knows of the links that start at its device."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final

from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.msg import Heartbeat, HopAck
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.sensing.link import LinkEstimator
from edge_dnn_partition.transport.estimate_guard import EstimateGuard, overdue_bound
from edge_dnn_partition.transport.fragments import PROBE, in_packets
from edge_dnn_partition.transport.outbox import Outbox
from edge_dnn_partition.transport.outgoing import Loss, PacingSample, Waiting
from edge_dnn_partition.transport.probing import SHORT_SECONDS

MOST_GUESSED: Final = 5e6
"""Bytes per second at which a link is begun with whose rate is only guessed: then fragments are small and many."""
FEW_LOST: Final = 0.02
"""Where no more of a message than this is lost, its rate was right: so much is lost by looking for room (as in BBR
version 2), or on the air."""
LEAST_PACE: Final = in_packets(1) / 0.1
"""Bytes per second: a packet each tenth of a second floods no link, and none of which nothing was timed is sent less, or what it
carries would not show for many seconds."""
OVERTAKEN: Final = 1.2
"""Fragments that left when the rate was believed to be so much higher say nothing against what is believed since."""
CONFIRMS: Final = 0.7
"""A probe that shows so much of what is believed confirms it, whatever was overdue before."""
_GUESS: Final = (12.5e6, 0.002)


class Links:
    """The links from one device to the others of its fleet; not thread safe.

    :param fleet: gives first guesses.
    :param device: where they start.
    :param hardware: may shape and delay them.
    """

    def __init__(self, fleet: Fleet, device: str, hardware: Hardware | None = None) -> None:
        self._device, self._hardware = device, hardware or Hardware()
        self.estimators: dict[str, LinkEstimator] = {}
        """By the device at the other end; there is none to the device itself."""
        guesses = {}
        for link in fleet.links:
            if device not in link.between:
                continue
            other = link.between[0] if link.between[1] == device else link.between[1]
            guesses[other] = (link.rate, link.delay)
        for other in fleet.devices:
            if other != device:
                rate, latency = guesses.get(other, _GUESS)
                self.estimators[other] = LinkEstimator((min(rate, MOST_GUESSED), latency))
        self.doubts = {other: EstimateGuard() for other in self.estimators}
        """By the device at the other end."""

    def delay(self, device: str) -> float:
        """The seconds by which this process delays what goes to a device; 0 on a real link."""
        return self._hardware.delay(device)

    def shaped(self, device: str) -> bool:
        """True if a shaper holds back what goes to a device, and not the pace."""
        return self._hardware.shaper(device) is not None

    def hold(self, device: str) -> float:
        """For how many seconds a fragment is kept here that may leave: the delay, where no shaper has it."""
        return 0.0 if self.shaped(device) else self.delay(device)

    def pace(self, device: str) -> float | None:
        """The bytes per second that fragments to a device are paced to; None: they are not."""
        if device == self._device or self.shaped(device):
            return None
        estimator = self.estimators[device]
        rate = estimator.estimate.bytes_per_second
        return rate if estimator.timed else max(rate, LEAST_PACE)

    def doubtful(self, device: str) -> bool:
        """True if what a link showed last is not what is believed of it, and nothing has confirmed it yet."""
        return device in self.estimators and self.estimators[device].doubtful

    def guessed(self, device: str) -> bool:
        """True if fragments to a device are paced to a rate that nothing has shown yet."""
        return self.pace(device) is not None and not self.estimators[device].estimate.measured

    def silence(self, device: str, now: float, heard: bool) -> float | None:
        """Believe less of a link that does not answer, or answers only some (``heard``); return the pace from now on."""
        if self.pace(device) is None:
            return None
        if heard:
            self.estimators[device].answered(now)
            self._loss(device, now, 0.0, 0.0)
        else:
            self.estimators[device].silence(now)
        return self.pace(device)

    def set_pace(self, device: str, outbox: Outbox) -> None:
        """Let fragments to a device leave at the pace that its link is believed to bear."""
        outbox.rate, outbox.cautious = self.pace(device), self.guessed(device)

    def take(self, ack: HopAck, outboxes: Collection[Outbox], now: float) -> None:
        """Take in an acknowledgement: what it says of the link, and of the message.

        :param outboxes: those to the device that it comes from, in one of which the message is.
        """
        measured = ack.spread_bytes / ack.spread_seconds if ack.spread_seconds > 0 else 0.0
        span = ack.message, ack.since_sent_ns, ack.echo_sent_ns
        if ack.state == HopAck.RUN:
            for outbox in outboxes:
                look = outbox.came(*span, ack.spread_bytes, now)
                if look is not None and measured:
                    self.whole(ack, look, now)
                    self.set_pace(ack.receiver, outbox)
                    limited = look.sender_limited(as_they_left=ack.paced)
                    outbox.look_on(ack.message, look, measured, sender_limited=limited)
            return
        look = PacingSample()
        if ack.state == HopAck.COMPLETE:
            look = min((outbox.look(*span) for outbox in outboxes), key=lambda look: look.pace, default=look)
            self.whole(ack, look, now)
        limited = look.sender_limited(as_they_left=ack.paced)
        for outbox in outboxes:
            self.set_pace(ack.receiver, outbox)
            if ack.state == HopAck.MISSING:
                probe, number = ack.kind == PROBE, ack.message
                lost = outbox.probe_lost(number, ack.missing) if probe else outbox.resend(number, ack.missing, now)
                if lost is not None:
                    self.lost(ack, lost, now)
                self.set_pace(ack.receiver, outbox)
            else:
                outbox.acknowledge(ack.message, measured, now=now, sender_limited=limited, look=look)

    def whole(self, ack: HopAck, look: PacingSample, now: float) -> None:
        """Take in what the acknowledgement of a whole message, or of a run of its fragments, says of the link."""
        estimator = self.estimators.get(ack.receiver)
        if estimator is None:
            return
        estimator.answered(now)
        if ack.spread_bytes == 0:
            return
        # The last fragment's own time on the wire is taken off, at the rate of its own message.
        last = min(ack.fragment_bytes, ack.total)
        on_wire = last * ack.spread_seconds / ack.spread_bytes
        trip = now - ack.echo_sent_ns * 1e-9 - ack.held_seconds - on_wire
        if trip > 0:
            estimator.round_trip(now, trip)
        seconds = max(ack.spread_seconds, ack.spread_bytes / look.pace)
        room = seconds > 0 and look.shows_the_rate(ack.spread_bytes / seconds)
        limited = look.sender_limited(as_they_left=ack.paced)
        before = estimator.estimate.bytes_per_second
        short = ack.kind == PROBE and ack.spread_bytes < estimator.least_bytes
        if ack.kind == PROBE and seconds < SHORT_SECONDS and (short or estimator.estimate.measured):
            least = SHORT_SECONDS if short else min(SHORT_SECONDS, ack.spread_bytes / before)
            if seconds < least:  # what packets show at most that a token bucket may have let pass
                seconds, limited, room = least, True, False
        estimator.transfer(now, ack.spread_bytes, seconds, sender_limited=limited, found_room=room, short=short)
        if ack.kind == PROBE:
            after = estimator.estimate.bytes_per_second
            self.doubts[ack.receiver].probed(now, before, after, ack.spread_bytes)
            if seconds > 0 and ack.spread_bytes / seconds >= CONFIRMS * after:
                self.doubts[ack.receiver].no_longer_overdue()
        elif seconds > 0:
            rate = ack.spread_bytes / seconds
            self.doubts[ack.receiver].tensor(now, rate, ack.spread_bytes, at_least=limited)

    def lost(self, ack: HopAck, loss: Loss, now: float) -> None:
        """Take in that fragments were lost; where they are few, what came still shows what the link bears."""
        estimator = self.estimators.get(ack.receiver)
        if estimator is None or self.shaped(ack.receiver):
            return
        estimator.answered(now)
        if loss.share >= 1 and estimator.lost_whole(now):
            return
        if ack.spread_bytes == 0 and loss.rate > OVERTAKEN * estimator.estimate.bytes_per_second:
            return
        if loss.share > FEW_LOST:
            size = ack.spread_bytes * loss.carried
            self._loss(ack.receiver, now, size, ack.spread_seconds, loss.bears)
            self.doubts[ack.receiver].tensor(now, estimator.estimate.bytes_per_second)
        elif ack.spread_bytes > 0:  # of a link that is only guessed it is the first that is known
            estimator.transfer(now, ack.spread_bytes, ack.spread_seconds, sender_limited=True)

    def _loss(self, device: str, now: float, size: float, seconds: float, bears: float = math.inf) -> None:
        """Take in that fragments were lost: where none is timed, that confirms what an overdue message bounds the link to."""
        estimator = self.estimators[device]
        overdue = math.inf if size > 0 else self.doubts[device].bound(now, estimator.last_at)
        estimator.loss(now, size, seconds, bound=min(bears, overdue))

    def bound(self, device: str, waiting: Waiting) -> float | None:
        """Return the most bytes per second that a link carries on which word of a message is overdue; None if it is not."""
        if device not in self.estimators:
            return None
        estimate = self.estimators[device].estimate
        return overdue_bound(estimate, 2 * max(estimate.latency_seconds, self.delay(device)), waiting)

    def seconds_for(self, device: str, size: int, now: float) -> float:
        """Return how long so many bytes will be on their way by what is said of the link; 0 inside the device."""
        if device not in self.estimators:
            return 0.0
        estimator = self.estimators[device]
        estimate, bound = estimator.estimate, self.doubts[device].bound(now, estimator.last_at)
        return size / min(estimate.bytes_per_second, bound) + estimate.latency_seconds

    def given_up(self, device: str, waiting: Waiting, now: float) -> None:
        """Take in that nobody waits any longer for a message's acknowledgement: if it was overdue, what that shows of the
        link stays.
        """
        bound = self.bound(device, waiting)
        if bound is not None:
            self.estimators[device].given_up(now, bound)

    def receiver_anew(self, device: str, now: float) -> None:
        """Take in that the process at the other end is another one: that the one before did not answer says nothing of the link."""
        if device in self.estimators:
            self.estimators[device].receiver_anew(now)
            self.doubts[device].no_longer_overdue()

    def told(self, message: Heartbeat, now: float) -> None:
        """Take in what another process of this device says of the same links."""
        for peer, rate, age in zip(message.peers, message.bytes_per_second, message.age_seconds, strict=True):
            if peer in self.estimators:
                self.estimators[peer].told(now - age, rate)

    def describe(self, message: Heartbeat, now: float, unanswered: Mapping[str, Waiting]) -> None:
        """Write what is known of the links into a heartbeat; NaN: not measured.

        :param unanswered: by device, what is waited for of the message that has been on its way for longest. If
            it is overdue, no more is said of the link than that allows, for a while after it, too; the pace follows what is
            measured alone.
        """
        estimates = [estimator.estimate for estimator in self.estimators.values()]
        for device, waits in unanswered.items():
            bound = self.bound(device, waits)
            if bound is not None:
                self.doubts[device].overdue(now, bound)
        message.peers = list(self.estimators)
        message.latency_seconds = [e.latency_seconds if e.measured else math.nan for e in estimates]
        message.bytes_per_second, message.age_seconds = [], []
        for (device, estimator), estimate in zip(self.estimators.items(), estimates, strict=True):
            bound = self.doubts[device].bound(now, estimator.last_at)
            rate = min(bound, estimate.bytes_per_second)
            message.bytes_per_second.append(rate if estimate.measured else math.nan)
            message.age_seconds.append(now - estimator.last_at if estimate.measured and rate < bound else 0.0)

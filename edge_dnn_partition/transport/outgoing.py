# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A message on its way to one target: its pace, what is still to be sent, and what its losses show of the link.

Every other cycle begins with a short train of faster fragments, to see whether the link has headroom, followed by as many slower
ones that let the queue drain (the gain cycle of BBR, Cardwell et al., ACM Queue 14(5), 2016, kept short, since what comes too fast
for 5 ms fills a short queue). After a train that found headroom the next one looks for twice as much. A long message has several
cycles, as it is acknowledged in runs. Times in seconds, rates in bytes per second.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .fragments import (
    FRAGMENT_SECONDS,
    FRAGMENTS_FOR_DISPERSION,
    MANY_MISSING,
    MISSING_AT_ONCE,
    PATIENT_PACKETS,
    PROBE,
    TensorMessage,
    packets_of,
)
from .partial import RUN_SECONDS, SLOW_RUN_FRAGMENTS

PROBE_GAIN: Final = 1.12
MOST_PROBE_GAIN: Final = 2.0
DRAIN_GAIN: Final = 0.88
STEADY_GAIN: Final = 0.98
"""Pace over estimated rate: of fragments that look for headroom, of those after them, and of all others."""
PROBE_QUEUE_SECONDS: Final = 0.002
PROBE_QUEUE_BYTES: Final = 1_500.0
"""On a slow link the first train looks for less, so that it fills no more of a queue than these."""
LEAST_PROBE_GAIN: Final = 1.04

TRAIN_FRAGMENTS: Final = FRAGMENTS_FOR_DISPERSION

_HEADROOM: Final = 0.95
_MORE: Final = 0.5
"""A train shows headroom if it arrives at this share of its pace, and at this share of what it looked for beyond the estimate."""
_FAR: Final = 1.5
_LONG: Final = 1.5
_MOST_CALM_CYCLES: Final = 8
_MOST_DOUBLINGS: Final = 8
_SHORTER_FRAGMENTS_FOR: Final = 64


def fragment_gain(probe_gain: float, index: int, train: int = TRAIN_FRAGMENTS) -> float:
    """Return the pace of a fragment over the estimated rate.

    :param probe_gain: of the cycle's train; 0 if it does not look for headroom.
    :param index: of the fragment in its cycle.
    :param train: fragments in the train.
    """
    if not probe_gain or index >= 2 * train:
        return STEADY_GAIN
    return probe_gain if index < train else max(DRAIN_GAIN, 2 - probe_gain)


def shows_headroom(probe_gain: float) -> float:
    """Return from which measured rate on, over the estimate, a train shows headroom."""
    return max(_HEADROOM * probe_gain, 1 + _MORE * (probe_gain - 1))


@dataclass
class BandwidthProber:
    """Looks for headroom on one link. Rates are in bytes per second; None: unknown, or not worth a pace."""

    patient_packets: int = PATIENT_PACKETS
    """Packets that a fragment has on a slow link, even if they take longer than a few milliseconds."""
    _impatient: int = 0
    """For so many messages more there are fewer of them: the link's queue did not hold them."""
    _cycle: int = 0
    _doublings: int = 0
    """How often in a row there was headroom."""
    _calm: int = 0
    """For so many cycles more nothing looks for headroom: there was none."""
    _calm_for: int = 1
    """The next time, for so many."""

    def next_cycle(self, *, guessed: bool) -> bool:
        """Return whether the next cycle looks for headroom.

        :param guessed: the rate may be far too low.
        """
        self._cycle += 1
        self._calm = max(0, self._calm - 1)
        if guessed:
            self._doublings = _MOST_DOUBLINGS
        return self._doublings > 0 or (self._cycle % 2 == 1 and not self._calm)

    def gain(self, rate: float | None, fragment_bytes: int) -> float:
        """Return the pace of a train over the estimated rate."""
        return min(MOST_PROBE_GAIN, 1 + self._least_gain(rate, fragment_bytes) * float(2**self._doublings))

    def far(self, probe_gain: float, rate: float | None, fragment_bytes: int) -> bool:
        """Return whether a train looked for so much that it shows the link's own rate, even if there was less headroom."""
        return probe_gain > 1 + _FAR * self._least_gain(rate, fragment_bytes)

    def on_answer(self, *, found: bool, conclusive: bool = True) -> None:
        """Record what a train found that arrived completely.

        :param conclusive: if it found no headroom, there was none; False: its fragments left too slowly to find it.
        """
        if found:
            self._doublings = min(self._doublings + 1, _MOST_DOUBLINGS)
            self._calm_for = 1
        elif conclusive:
            self._doublings = 0
        self._impatient = max(0, self._impatient - 1)
        if not self._impatient:
            self.patient_packets = PATIENT_PACKETS

    def on_loss(self, rate: float | None, fragment_bytes: int, *, first: bool) -> None:
        """Record that fragments were lost: look for no headroom for a while, and keep to fragments that the queue holds.

        :param first: for the first time for this message.
        """
        self._doublings = 0
        if first:
            self._calm = self._calm_for
            self._calm_for = min(2 * self._calm_for, _MOST_CALM_CYCLES)
        packets = packets_of(fragment_bytes)
        if rate is not None and packets > 1 and fragment_bytes > _LONG * FRAGMENT_SECONDS * rate:
            self.patient_packets = min(self.patient_packets, packets - 1)
            self._impatient = _SHORTER_FRAGMENTS_FOR

    @staticmethod
    def _least_gain(rate: float | None, fragment_bytes: int) -> float:
        """What the first train looks for beyond the estimated rate, as a share of it."""
        if rate is None:
            return PROBE_GAIN - 1
        more = max(PROBE_QUEUE_SECONDS * rate, PROBE_QUEUE_BYTES) / (TRAIN_FRAGMENTS * fragment_bytes)
        return min(max(more, LEAST_PROBE_GAIN - 1), PROBE_GAIN - 1.0)


MUCH_LOST: Final = 0.3
MUCH_SMALLER: Final = 0.7
"""A message is cut anew for fragments that are smaller by this factor, or larger by its inverse."""
_HALF: Final = 0.5
_TRAIN_SECONDS: Final = 0.1
_LEAST_TRAIN: Final = 5
"""Where a train takes `_TRAIN_SECONDS`, it may have fewer fragments than `TRAIN_FRAGMENTS`, but not fewer than this."""
_TELLING_FRAGMENTS: Final = 3
"""The spacing of only two is too noisy to show headroom."""
_LOST_BY_LOOKING: Final = 0.25
_LOST_BY_CHANCE: Final = 0.125
"""A single lost fragment says nothing if it is no larger a share than this."""
_BLOCKED: Final = 0.25
"""The link held a message up if its sending was blocked for this share of the time."""


@dataclass(frozen=True)
class PacingSample:
    """How fragments were sent, which limits what their acknowledgement can show of the link.

    :param pace: the fastest that they were to leave; they cannot show more, as a token bucket or a buffer may hand on in one burst
        what left in one. Infinite if they were not paced.
    :param asked: from this measured rate on they show headroom; 0 if they did not look for it.
    :param far: they looked for so much that they show the link's own rate, even if it is less.
    :param blocked: the queue of this device's own interface was full, so that they may have left at the link's rate.
    """

    pace: float = float('inf')
    asked: float = 0.0
    far: bool = False
    blocked: bool = False

    def sender_limited(self, *, as_they_left: bool) -> bool:
        """True if the measured rate is the sender's and not the link's: its pace, or less on a busy computer.

        :param as_they_left: they arrived no further apart than they left.
        """
        return as_they_left and math.isfinite(self.pace) and not self.blocked

    def shows_the_rate(self, measured: float) -> bool:
        """True if a rate measured with these fragments counts by itself, not as one sample of several."""
        return self.asked > 0 and (self.far or measured >= self.asked)


@dataclass(frozen=True)
class Waiting:
    """What is awaited of a message.

    :param size: bytes to be acknowledged next: what is left of it, or a run of its fragments.
    :param seconds: since the last acknowledgement.
    :param most: no more bytes than this have arrived in `SLOW_RUN_SECONDS`, or they would have been acknowledged.
    """

    size: int
    seconds: float
    most: int


@dataclass(frozen=True)
class Loss:
    """What a list of missing fragments says of the link.

    :param share: of the fragments that were sent; 0 if it says nothing: a single fragment, a few that looked for headroom.
    :param packets: of each fragment; where one is lost the fragment is, but the others have crossed.
    :param rate: the fastest pace of the lost fragments; 0 if they were not paced.
    """

    share: float = 0.0
    packets: int = 1
    rate: float = 0.0

    @property
    def carried(self) -> float:
        """What the link carried, over what arrived complete; at most, as a lost fragment may have lost several packets."""
        if self.share >= 1:
            return 1.0
        return 1 + min(self.share / (1 - self.share), 1.0) * (self.packets - 1) / self.packets

    @property
    def bears(self) -> float:
        """The most that the link can bear; infinite where little was lost, which may be chance."""
        if not self.rate or self.share <= MUCH_LOST:
            return math.inf
        return self.rate * (1 - self.share + self.share * min((self.packets - 1) / self.packets, _HALF))


@dataclass
class Outgoing:
    """One message.

    :param todo: the fragments that are still to be sent, by index.
    :param probe_gain: pace over estimated rate of the present train of fragments; 0 if it does not look for headroom.
    :param since: when it was queued.
    :param bold: a probe that looks for a rate that the link once had; what is lost of it says nothing.
    :param offered: how many fragments were queued last.
    :param to_another: another process receives now than when it was queued; silence says nothing.
    """

    message: TensorMessage
    todo: deque[int]
    probe_gain: float
    since: float
    bold: bool = False
    sent_at: float = 0.0
    first_sent_at: float = 0.0
    rounds: int = 0
    silences: int = 0
    """How often it was not acknowledged in time."""
    offered: int = 0
    to_another: bool = False
    asked: float = 0.0
    """From this rate on the present train shows headroom."""
    arrived_bytes: int = 0
    """As far as its receiver has said."""
    pace: float = 0.0
    """The fastest of its fragments; 0: they were not paced."""
    blocked_seconds: float = 0.0
    _rates: array[float] = field(default_factory=lambda: array('d'))
    """The pace at which each fragment left last, by index."""
    _train_at: int = 0
    """How many fragments had left when the present train began."""
    _train_fragments: int = TRAIN_FRAGMENTS
    _left_ns: array[int] = field(default_factory=lambda: array('q'))
    """When each paced fragment left; with its pace, and the rate from which on it shows headroom (infinite: it does not)."""
    _paces: array[float] = field(default_factory=lambda: array('d'))
    _asked: array[float] = field(default_factory=lambda: array('d'))

    def cut_larger(self, fragment_bytes: int) -> None:
        """Cut it into larger fragments, if they are larger by much; nothing of it has left yet."""
        if fragment_bytes > self.message.fragment_bytes / MUCH_SMALLER:
            self.message = replace(self.message, fragment_bytes=fragment_bytes)
            self.todo = deque(range(self.message.count))
            self.offered = self.message.count

    def cut_anew(self, number: int, fragment_bytes: int, now: float) -> Outgoing:
        """Return the same message under another number, in fragments of another size."""
        message = replace(self.message, number=number, fragment_bytes=fragment_bytes)
        return Outgoing(message, deque(range(message.count)), 0.0, now, rounds=self.rounds, offered=message.count,
                        to_another=self.to_another)  # fmt: skip

    def left(self, index: int, rate: float, now: float) -> None:
        """Record that a fragment leaves, and the estimated rate."""
        pace = rate * self.gain()
        self.pace = max(self.pace, pace)
        if len(self._rates) != self.message.count:
            self._rates = array('d', bytes(8 * self.message.count))
        self._rates[index] = pace
        if self.probe_gain and self.message.count >= _TELLING_FRAGMENTS:
            self.asked = self.asked or rate * shows_headroom(self.probe_gain)
        if not self._at:
            self._train_fragments = min(max(round(_TRAIN_SECONDS * pace / self.message.fragment_bytes), _LEAST_TRAIN),
                TRAIN_FRAGMENTS)
        self._asked.append(self.asked if self.fast else math.inf)
        self._paces.append(pace)
        self._left_ns.append(sent_ns(now))

    @property
    def _at(self) -> int:
        return len(self._left_ns) - self._train_at

    @property
    def fast(self) -> bool:
        """True if the next fragment looks for headroom."""
        return bool(self.probe_gain) and self._at < self._train_fragments

    def gain(self) -> float:
        """The pace of the next fragment over the estimated rate."""
        return fragment_gain(self.probe_gain, self._at, self._train_fragments)

    @property
    def train_over(self) -> bool:
        """True if the present train has left, and what it put into a queue has drained."""
        return self._at >= 2 * self._train_fragments

    def begin_train(self, probe_gain: float) -> None:
        """Begin another train with the next fragment; a gain of 0 looks for nothing."""
        self.probe_gain, self._train_at, self.asked = probe_gain, len(self._left_ns), 0.0

    def run(self, since_ns: int, echo_ns: int) -> tuple[int, PacingSample]:
        """Return how many fragments left after one time up to another, and how; only a run of fast ones shows headroom."""
        first, end = (bisect.bisect_right(self._left_ns, ns) for ns in (since_ns, echo_ns))
        if first >= end:
            return 0, PacingSample()
        asked = max(self._asked[first:end])
        return end - first, PacingSample(max(self._paces[first:end]), asked if math.isfinite(asked) else 0.0,
            blocked=self.was_blocked)

    def belongs_to(self, frame_number: int | None) -> bool:
        """True if it is of a frame, or (None) of any: not a probe."""
        return self.message.kind != PROBE and frame_number in (None, self.message.address.frame_number)

    def patience(self, least: float) -> float:
        """Return how long it is waited for an acknowledgement: ever longer."""
        return float(least * min(2**self.rounds, 8))

    @property
    def bytes_left(self) -> int:
        """What has not arrived, as far as is known."""
        return len(self.message.buffer) - self.arrived_bytes

    @property
    def may_be_held(self) -> bool:
        """Whether its acknowledgement may wait for others (`HOLD_SECONDS`): it is one fragment, and was sent once."""
        return self.message.count == 1 and not self.rounds and not self.message.segment and self.message.kind != PROBE

    def waiting(self, rate: float | None, seconds: float) -> Waiting:
        """Return what is awaited of it, ``seconds`` after the last acknowledgement.

        :param rate: that its fragments are paced to; None: they are not.
        """
        size = most = self.bytes_left
        if rate is not None and self.pace:
            run = max(FRAGMENTS_FOR_DISPERSION * self.message.fragment_bytes, round(RUN_SECONDS * rate))
            size = run if self.arrived_bytes else min(size, run)  # the rest is acknowledged no sooner if it is lost
            most = min(most, SLOW_RUN_FRAGMENTS * self.message.fragment_bytes)
        return Waiting(size, seconds, most)

    def lost(self, missing: Sequence[int]) -> Loss:
        """Return what missing fragments say of the link, once all have left."""
        looked = bool(self.probe_gain) and not self.rounds and max(missing) < 2 * TRAIN_FRAGMENTS
        share = len(missing) / self.message.count
        by_chance = len(missing) == 1 and share <= _LOST_BY_CHANCE
        if by_chance or (looked and share <= _LOST_BY_LOOKING):
            share = 0.0
        elif len(missing) <= self.offered:  # else some were sent earlier, at another rate
            among = self.offered if len(missing) < MISSING_AT_ONCE else min(self.offered, max(missing) + 1)
            share = len(missing) / among  # of very many missing fragments only the first ones are named
        return self._loss(share, missing)

    def lost_on_the_way(self, missing: Sequence[int]) -> tuple[list[int], Loss]:
        """Return which fragments are missing while others are still to leave, and what that says; nothing if they are few."""
        pending = set(self.todo)
        lost = [index for index in dict.fromkeys(missing) if 0 <= index < self.message.count and index not in pending]
        if len(lost) < MANY_MISSING:
            return lost, Loss()
        return lost, self._loss(len(lost) / min(self.message.count - len(pending), max(lost) + 1), lost)

    def _loss(self, share: float, missing: Sequence[int]) -> Loss:
        pace = max((self._rates[index] for index in missing), default=0.0) if self._rates else 0.0
        return Loss(share, packets_of(self.message.fragment_bytes), pace)

    @property
    def was_blocked(self) -> bool:
        """True if the link held it up as it was sent."""
        return self.blocked_seconds > _BLOCKED * (self.sent_at - self.first_sent_at)

    @property
    def shows_headroom_from(self) -> float:
        """The rate from which on it shows headroom by itself; 0 if it does not: any burst lets a probe pass."""
        return 0.0 if self.rounds or self.message.kind == PROBE else self.asked


def sent_ns(now: float) -> int:
    """Return a time in seconds as fragments carry it."""
    return int(now * 1e9)

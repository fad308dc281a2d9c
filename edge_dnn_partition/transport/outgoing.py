# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A message on its way to one device: what of it is still to be sent, and how it was sent."""

from __future__ import annotations

import bisect
import math
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .bandwidth_prober import TRAIN_FRAGMENTS, fragment_gain, shows_headroom
from .fragments import FRAGMENTS_FOR_DISPERSION, MANY_MISSING, MISSING_AT_ONCE, PROBE, TensorMessage, packets_of
from .partial import RUN_SECONDS, SLOW_RUN_FRAGMENTS

MUCH_LOST: Final = 0.3
MUCH_SMALLER: Final = 0.7
"""A message is cut anew for fragments that are smaller by this factor, or larger by its inverse."""
_HALF: Final = 0.5


@dataclass(frozen=True)
class PacingSample:
    """How a message was sent, for what its acknowledgement can show of the link; rates in bytes per second.

    :param pace: the fastest that its fragments were to leave. They cannot show more: fragments that left in one burst may
        come in one, out of a token bucket or side by side from a buffer. Infinite if they were not paced.
    :param asked: from this rate on its first fragments show that there is room; 0 if they did not look for it.
    :param far: they looked for so much that the link's own rate has shown, if not all of it came.
    :param blocked: the link held them up as they were sent (the queue of this device's own interface was full), so that
        they may have left as slowly as it carries them.
    """

    pace: float = float('inf')
    asked: float = 0.0
    far: bool = False
    blocked: bool = False

    def sender_limited(self, *, as_they_left: bool) -> bool:
        """True if what was measured is not the link but how the fragments left: at the pace, or later on a busy computer.

        :param as_they_left: they came no further apart than they left.
        """
        return as_they_left and math.isfinite(self.pace) and not self.blocked

    def shows_the_rate(self, measured: float) -> bool:
        """True if a rate measured with these fragments is news by itself, not one sample of several."""
        return self.asked > 0 and (self.far or measured >= self.asked)


@dataclass(frozen=True)
class Waiting:
    """What of a message on its way is waited for.

    :param size: bytes of which word is to come next: what is left of it, or a run of its fragments.
    :param seconds: since when there was no word.
    :param most: no more bytes than this have come in `SLOW_RUN_SECONDS`, or there would have been word.
    """

    size: int
    seconds: float
    most: int


@dataclass(frozen=True)
class Loss:
    """What the receiver's list of missing fragments says.

    :param share: of the fragments that were sent; 0 if it says nothing of the rate: a single fragment, a few of those that
        looked for room, a message that is still being sent or that nobody knows.
    :param packets: of each fragment. Where one of them is lost, the fragment is, but the others have crossed.
    :param rate: the fastest pace at which one of those fragments left, in bytes per second; 0 if they were not paced.
    """

    share: float = 0.0
    packets: int = 1
    rate: float = 0.0

    @property
    def carried(self) -> float:
        """What the link carried over what came whole.

        If most were lost, they will have lost more than one packet each; so it is less than that would make it.
        """
        if self.share >= 1:
            return 1.0
        return 1 + min(self.share / (1 - self.share), 1.0) * (self.packets - 1) / self.packets

    @property
    def bears(self) -> float:
        """The most that the link can bear, in bytes per second; infinite where little was lost, which may be by chance."""
        if not self.rate or self.share <= MUCH_LOST:
            return math.inf
        return self.rate * (1 - self.share + self.share * min((self.packets - 1) / self.packets, _HALF))


_TRAIN_SECONDS: Final = 0.1
_LEAST_TRAIN: Final = 5
"""A train of fewer fragments than `TRAIN_FRAGMENTS` is enough where it takes so long, but not one of fewer than this."""
_TELLING_FRAGMENTS: Final = 3
"""The spacing of only two is too noisy to tell by itself whether there was room."""
_LOST_BY_LOOKING: Final = 0.25
_LOST_BY_CHANCE: Final = 0.125
"""A single fragment that was lost says nothing, of so many that it is no larger share than this."""
_BLOCKED: Final = 0.25
"""Where sending was blocked for so large a share of the time that a message took to leave, the link held it up."""


@dataclass
class Outgoing:
    """Times in seconds, rates in bytes per second.

    :param todo: the fragments that are to be sent, by index.
    :param probe_gain: the pace of the present train of fragments over the estimated rate; 0 if it does not look for room.
    :param since: when it was queued.
    :param bold: a probe that looks for what the link was seen to carry; what is lost of it says nothing.
    :param offered: how many fragments were queued the last time that some were.
    :param to_another: its receiver is another process than when it was queued; what is not answered of it says nothing.
    """

    message: TensorMessage
    todo: deque[int]
    probe_gain: float
    since: float
    bold: bool = False
    sent_at: float = 0.0
    rounds: int = 0
    silences: int = 0
    """How often nothing was heard of it for too long."""
    offered: int = 0
    to_another: bool = False
    rates: array[float] = field(default_factory=lambda: array('d'))
    """The pace at which each fragment left last."""
    asked: float = 0.0
    """From this rate on the fragments of the present train show that there is room."""
    arrived_bytes: int = 0
    """Its receiver has told of so many."""
    pace: float = 0.0
    """The fastest that its fragments were to leave; 0: they were not paced."""
    first_sent_at: float = 0.0
    blocked_seconds: float = 0.0
    """So long its fragments waited for the network as they were sent."""
    _train_at: int = 0
    """So many fragments had left when the present train began..."""
    _train_fragments: int = TRAIN_FRAGMENTS
    """... which has so many."""
    _left_ns: array[int] = field(default_factory=lambda: array('q'))
    """When each fragment left that was paced..."""
    _paces: array[float] = field(default_factory=lambda: array('d'))
    _asked: array[float] = field(default_factory=lambda: array('d'))
    """... how fast, and from which rate on it is one of those that show room; infinite: it is none of those."""

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
        """Take in that a fragment leaves, and how fast the link is estimated to be."""
        pace = rate * self.gain()
        self.pace = max(self.pace, pace)
        if len(self.rates) != self.message.count:
            self.rates = array('d', bytes(8 * self.message.count))
        self.rates[index] = pace
        if self.probe_gain and self.message.count >= _TELLING_FRAGMENTS:
            self.asked = self.asked or rate * shows_headroom(self.probe_gain)
        if not self._at:
            self._train_fragments = min(max(round(_TRAIN_SECONDS * pace / self.message.fragment_bytes), _LEAST_TRAIN),
                TRAIN_FRAGMENTS)
        self._asked.append(self.asked if self.fast else math.inf)
        self._paces.append(pace)
        self._left_ns.append(sent_ns(now))

    def left_at(self, indices: Sequence[int]) -> float:
        """The fastest pace at which one of these fragments left; 0 if they were not paced."""
        return max((self.rates[index] for index in indices), default=0.0) if self.rates else 0.0

    @property
    def fast(self) -> bool:
        """True if the next fragment is one of those that leave faster than the link is believed to be."""
        return bool(self.probe_gain) and self._at < self._train_fragments

    def gain(self) -> float:
        """The pace of the next fragment over the estimated rate."""
        return fragment_gain(self.probe_gain, self._at, self._train_fragments)

    @property
    def train_over(self) -> bool:
        """True if the present train has left, and so many fragments more that what it has put into a queue is gone."""
        return self._at >= 2 * self._train_fragments

    @property
    def _at(self) -> int:
        return len(self._left_ns) - self._train_at

    def begin_train(self, probe_gain: float) -> None:
        """Let the next fragments be a train of that pace over the estimated rate; 0: let them look for nothing."""
        self.probe_gain, self._train_at, self.asked = probe_gain, len(self._left_ns), 0.0

    def run(self, since_ns: int, echo_ns: int) -> tuple[int, PacingSample]:
        """Return how many fragments have left after one up to another, by the time when they did, and how.

        Where nothing but fragments that look for room have, they show it.
        """
        first, end = (bisect.bisect_right(self._left_ns, ns) for ns in (since_ns, echo_ns))
        if first >= end:
            return 0, PacingSample()
        asked = max(self._asked[first:end])
        return end - first, PacingSample(max(self._paces[first:end]), asked if math.isfinite(asked) else 0.0,
            blocked=self.was_blocked)

    @property
    def bytes_left(self) -> int:
        """What its receiver has not told of."""
        return len(self.message.buffer) - self.arrived_bytes

    def waiting(self, rate: float | None, seconds: float) -> Waiting:
        """Return what is waited for of it, of which there was no word for so long.

        :param rate: what fragments are paced to, in bytes per second; None: they are not.
        """
        size = most = self.bytes_left
        if rate is not None and self.pace:
            run = max(FRAGMENTS_FOR_DISPERSION * self.message.fragment_bytes, round(RUN_SECONDS * rate))
            size = run if self.arrived_bytes else min(size, run)  # of a rest that is lost there is word no sooner
            most = min(most, SLOW_RUN_FRAGMENTS * self.message.fragment_bytes)
        return Waiting(size, seconds, most)

    def lost(self, missing: Sequence[int]) -> Loss:
        """Return what it says of the link that some of its fragments are missing, by index, once all have left."""
        looked = bool(self.probe_gain) and not self.rounds and max(missing) < 2 * TRAIN_FRAGMENTS
        share = len(missing) / self.message.count
        by_chance = len(missing) == 1 and share <= _LOST_BY_CHANCE
        if by_chance or (looked and share <= _LOST_BY_LOOKING):
            share = 0.0
        elif len(missing) <= self.offered:  # else some were sent earlier, at another rate
            among = self.offered if len(missing) < MISSING_AT_ONCE else min(self.offered, max(missing) + 1)
            share = len(missing) / among  # what is told at once of very many missing fragments are the first ones
        return Loss(share, packets_of(self.message.fragment_bytes), self.left_at(missing))

    def lost_on_the_way(self, missing: Sequence[int]) -> tuple[list[int], Loss]:
        """Return which of its fragments are missing while others are still to leave, and what that says; nothing if they are
        few.
        """
        pending = set(self.todo)
        lost = [index for index in dict.fromkeys(missing) if 0 <= index < self.message.count and index not in pending]
        if len(lost) < MANY_MISSING:
            return lost, Loss()
        share = len(lost) / min(self.message.count - len(pending), max(lost) + 1)
        return lost, Loss(share, packets_of(self.message.fragment_bytes), self.left_at(lost))

    @property
    def was_blocked(self) -> bool:
        """True if the link held it up as it was sent."""
        return self.blocked_seconds > _BLOCKED * (self.sent_at - self.first_sent_at)

    @property
    def shows_headroom_from(self) -> float:
        """The rate from which on it shows by itself that there is room; 0 if it does not: any burst holds a probe."""
        return 0.0 if self.rounds or self.message.kind == PROBE else self.asked


def sent_ns(now: float) -> int:
    """Return a time in seconds as fragments carry it."""
    return int(now * 1e9)

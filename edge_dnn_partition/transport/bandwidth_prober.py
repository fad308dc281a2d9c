# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a link has room for more than is believed of it: which messages look for it, how, and what the answer means.

Every other cycle begins with a few fragments that are faster, to see whether there is room, followed by as many that are
slower, to let the queue drain (the gain cycle of BBR, Cardwell et al., ACM Queue 14(5), 2016; but short, since what comes
too fast for 5 ms fills a short queue). Where there was room the next cycle looks for twice as much more. A message begins a cycle;
a long one has several, as its receiver acknowledges it in runs (:mod:`.partial`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .fragments import FRAGMENT_SECONDS, FRAGMENTS_FOR_DISPERSION, PATIENT_PACKETS, packets_of

PROBE_GAIN: Final = 1.12
MOST_PROBE_GAIN: Final = 2.0
DRAIN_GAIN: Final = 0.88
STEADY_GAIN: Final = 0.98
"""Pace over estimated rate: of fragments that look for room, of those after them, and of all others."""
PROBE_QUEUE_SECONDS: Final = 0.002
PROBE_QUEUE_BYTES: Final = 1_500.0
"""On a slow link, whose fragments take long, the first look is for less, so that it fills no more of a queue than these."""
LEAST_PROBE_GAIN: Final = 1.04

TRAIN_FRAGMENTS: Final = FRAGMENTS_FOR_DISPERSION

_ROOM: Final = 0.95
"""Where a train came so fast, of the pace that it left at, there was room..."""
_MORE: Final = 0.5
"""... if it also shows so much of what was looked for beyond the estimate."""
_FAR: Final = 1.5
_LONG: Final = 1.5
_MOST_CALM_CYCLES: Final = 8
_MOST_DOUBLINGS: Final = 8
_SHORTER_FRAGMENTS_FOR: Final = 64


def fragment_gain(probe_gain: float, index: int, train: int = TRAIN_FRAGMENTS) -> float:
    """Return the pace of a fragment over the estimated rate.

    :param probe_gain: of a cycle's first fragments; 0 if it does not look for room.
    :param index: of the fragment in its cycle.
    :param train: how many these first fragments are.
    """
    if not probe_gain or index >= 2 * train:
        return STEADY_GAIN
    return probe_gain if index < train else max(DRAIN_GAIN, 2 - probe_gain)


def shows_headroom(probe_gain: float) -> float:
    """Return from which rate on, over the estimated one, the first fragments of a message show that there is room."""
    return max(_ROOM * probe_gain, 1 + _MORE * (probe_gain - 1))


@dataclass
class BandwidthProber:
    """Looks for room on one link. Rates are in bytes per second; None: unknown or not worth a pace."""

    patient_packets: int = PATIENT_PACKETS
    """On a slow link a fragment has so many packets, even where they take longer than the few milliseconds of others..."""
    _impatient: int = 0
    """... and does not have more again for so many messages: its queue did not hold them."""
    _cycle: int = 0
    _doublings: int = 0
    """How often in a row there was room."""
    _calm: int = 0
    """For so many cycles more nothing looks for room: there was none..."""
    _calm_for: int = 1
    """... and so many it is to be the next time."""

    def next_cycle(self, *, guessed: bool) -> bool:
        """Return whether the next cycle looks for room.

        :param guessed: the rate may be far too low.
        """
        self._cycle += 1
        self._calm = max(0, self._calm - 1)
        if guessed:
            self._doublings = _MOST_DOUBLINGS
        return self._doublings > 0 or (self._cycle % 2 == 1 and not self._calm)

    def gain(self, rate: float | None, fragment_bytes: int) -> float:
        """Return how fast the first fragments of a message are to be that looks for room, over the estimated rate."""
        return min(MOST_PROBE_GAIN, 1 + self._least_gain(rate, fragment_bytes) * float(2**self._doublings))

    def far(self, probe_gain: float, rate: float | None, fragment_bytes: int) -> bool:
        """Return whether a message looked for so much that the link's own rate has shown, if not all of it came."""
        return probe_gain > 1 + _FAR * self._least_gain(rate, fragment_bytes)

    def on_answer(self, *, found: bool, told: bool = True) -> None:
        """Take in what a message found that looked for room and came whole at once.

        :param told: if it found none, there was none; False: its fragments left too slowly to find it.
        """
        if found:
            self._doublings = min(self._doublings + 1, _MOST_DOUBLINGS)
            self._calm_for = 1
        elif told:
            self._doublings = 0
        self._impatient = max(0, self._impatient - 1)
        if not self._impatient:
            self.patient_packets = PATIENT_PACKETS

    def on_loss(self, rate: float | None, fragment_bytes: int, *, first: bool) -> None:
        """Take in that fragments of a message were lost: look for no room for a while, and keep to fragments that the queue holds.

        :param first: it is the first time for this message.
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
        """What the first look for room is for, beyond the estimated rate, as a share of it."""
        if rate is None:
            return PROBE_GAIN - 1
        more = max(PROBE_QUEUE_SECONDS * rate, PROBE_QUEUE_BYTES) / (TRAIN_FRAGMENTS * fragment_bytes)
        return min(max(more, LEAST_PROBE_GAIN - 1), PROBE_GAIN - 1.0)

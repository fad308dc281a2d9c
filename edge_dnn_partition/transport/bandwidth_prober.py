# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a link has headroom beyond its estimated rate: which messages look for it, how, and what the answer means.

Every other cycle begins with a short train of faster fragments, followed by as many slower ones that let the queue drain (the gain
cycle of BBR, Cardwell et al., ACM Queue 14(5), 2016, kept short, since what arrives too fast for 5 ms fills a short queue). After a
train that found headroom the next one looks for twice as much. A long message has several cycles, as it is acknowledged in runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .fragments import FRAGMENT_SECONDS, FRAGMENTS_FOR_DISPERSION, PATIENT_PACKETS, packets_of

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

    def on_answer(self, *, found: bool, told: bool = True) -> None:
        """Record what a train found that arrived completely.

        :param told: if it found no headroom, there was none; False: its fragments left too slowly to find it.
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

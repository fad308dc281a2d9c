# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Links that share what limits them: where one collapses, the others count as collapsed until they are measured.

Links share a channel where the fleet file says so. Else two that begin, or end, at one device are suspected to where both carried
about the same, at about the same latency: then what that device shares with the world may be what limits them. What is measured
next decides, and is remembered.
Pure; time is passed in, seconds; rates in bytes per second.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.sensing.link import LinkEstimate
from edge_dnn_partition.sensing.windowed_max import WindowedMax

Pair = tuple[str, str]

COLLAPSE: Final = 2.5
COLLAPSE_SECONDS: Final = 1.5
"""By what factor a link is slower that has collapsed, and within what time."""
ALIKE: Final = 1.5
"""Two links carry about the same within this factor..."""
ALIKE_LATENCY: Final = 2.0
"""... and their latencies are within this one."""
COINCIDE_SECONDS: Final = 2.0
"""Links that collapse within so long of each other share what limits them."""
_APART: Final = 2
"""So often on end: once the one that seemed to collapse may only have been held up."""
SUSPECT_SECONDS: Final = 3.0
"""A link that was not measured for so long after counts as before."""


@dataclass(frozen=True)
class _Suspect:
    since: float
    cause: Pair
    cause_before: float
    before: float
    estimated: LinkEstimate
    measured_at: float


class SharedLinks:
    """Not thread safe."""

    def __init__(self, fleet: Fleet) -> None:
        self._channels = {pair: link.channel for link in fleet.links for pair in (link.between, link.between[::-1])}
        self._known: dict[frozenset[Pair], bool] = {}
        """Of two links, whether they were seen to collapse together."""
        self._fell_at: dict[Pair, float] = {}
        self._lately: dict[Pair, WindowedMax] = {}
        self._suspects: dict[Pair, _Suspect] = {}
        self._apart: dict[frozenset[Pair], int] = {}
        """How often on end one of two links was seen to collapse without the other."""
        self._cleared: dict[Pair, tuple[_Suspect, float]] = {}
        """Links that were found not to have fallen, and the estimate then of the one that they were suspected for: where it is
        still slow when it is measured next, they do not share what limits it."""

    def report(self, pair: Pair, estimate: LinkEstimate, at: float, now: float, estimated: Mapping[Pair, LinkEstimate]) -> None:
        """Take in what is estimated of a link now: measured twice it is suspected no more; where it collapses others are.

        :param at: when that was measured.
        :param estimated: of all links.
        """
        for old in [other for other, suspect in self._suspects.items() if now - suspect.since > SUSPECT_SECONDS]:
            del self._suspects[old]
        rate = estimate.bytes_per_second
        suspect = self._suspects.get(pair)
        if suspect is not None and at > suspect.measured_at:
            shared = rate * COLLAPSE <= suspect.before
            # A median moves with the second measurement: one that shows no fall is to be confirmed.
            if shared or suspect.measured_at > suspect.since:
                del self._suspects[pair]
                if shared:
                    self._together(pair, suspect.cause)
                else:
                    self._cleared[pair] = suspect, estimated[suspect.cause].bytes_per_second
            else:
                self._suspects[pair] = replace(suspect, measured_at=at)
        for other, (suspect, then) in list(self._cleared.items()):
            if suspect.cause == pair and rate != then:  # both may have recovered
                del self._cleared[other]
                if rate * COLLAPSE <= suspect.cause_before:
                    both = frozenset((other, pair))
                    self._apart[both] = self._apart.get(both, 0) + 1
                    if self._apart[both] >= _APART:
                        self._known[both] = False
        before = self._lately.setdefault(pair, WindowedMax(COLLAPSE_SECONDS)).add(now, rate)
        if rate * COLLAPSE > before:
            return
        if now - self._fell_at.get(pair, -math.inf) > COINCIDE_SECONDS:
            self._fell(pair, before, now, estimated)
        for other, suspect in self._suspects.items():
            if suspect.cause == pair and suspect.estimated.bytes_per_second > rate:
                bounded = replace(suspect.estimated, bytes_per_second=rate)
                self._suspects[other] = replace(suspect, estimated=bounded)

    def _fell(self, pair: Pair, before: float, now: float, estimated: Mapping[Pair, LinkEstimate]) -> None:
        for other, at in self._fell_at.items():
            if now - at <= COINCIDE_SECONDS and self._touch(pair, other):
                self._together(pair, other)
        self._fell_at[pair], latency = now, estimated[pair].latency_seconds if pair in estimated else 0.0
        for other, estimate in estimated.items():
            fell_itself = now - self._fell_at.get(other, -math.inf) <= COINCIDE_SECONDS
            if other != pair and not fell_itself and self._may_share(pair, before, latency, other, estimate):
                self._suspects[other] = _Suspect(now, pair, before, estimate.bytes_per_second, estimate, now)

    def _together(self, one: Pair, other: Pair) -> None:
        both = frozenset((one, other))
        self._known[both], self._apart[both] = True, 0

    def forget(self, devices: Collection[str]) -> None:
        """Forget the links of devices that have left."""
        gone = set(devices)

        def stays(*pairs: Pair) -> bool:
            return all(gone.isdisjoint(pair) for pair in pairs)

        self._known = {both: shared for both, shared in self._known.items() if stays(*both)}
        self._apart = {both: count for both, count in self._apart.items() if stays(*both)}
        self._fell_at = {pair: at for pair, at in self._fell_at.items() if stays(pair)}
        self._lately = {pair: most for pair, most in self._lately.items() if stays(pair)}
        self._suspects = {pair: suspect for pair, suspect in self._suspects.items() if stays(pair, suspect.cause)}
        self._cleared = {pair: found for pair, found in self._cleared.items() if stays(pair, found[0].cause)}

    @property
    def suspects(self) -> dict[Pair, LinkEstimate]:
        """What is estimated of the links that are suspected."""
        return {pair: suspect.estimated for pair, suspect in self._suspects.items()}

    def _may_share(self, pair: Pair, before: float, latency: float, other: Pair, estimate: LinkEstimate) -> bool:
        channel = self._channels.get(pair)
        if channel is not None and channel == self._channels.get(other):
            return True
        latencies = sorted((latency, estimate.latency_seconds))
        alike = abs(math.log(before / estimate.bytes_per_second)) < math.log(ALIKE) and latencies[1] <= ALIKE_LATENCY * latencies[0]
        return self._touch(pair, other) and self._known.get(frozenset((pair, other)), alike)

    @staticmethod
    def _touch(pair: Pair, other: Pair) -> bool:
        return pair[0] == other[0] or pair[1] == other[1]

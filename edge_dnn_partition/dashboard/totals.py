# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a board counts since its start, for the metrics: latencies by bucket, where frames' time went, bytes and joules."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

LATENCY_BUCKETS: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper ends in seconds, inclusive; one without an end follows."""

_MOST: Final = 1e12
"""A figure above it is a mistake, or forged, and not added to anything."""

_MOST_KEYS: Final = 10_000
"""So many links or devices are counted, whatever messages name."""


class Totals:
    """Only ever grows. Not safe to use from several threads."""

    def __init__(self) -> None:
        self.latency_counts = [0] * (len(LATENCY_BUCKETS) + 1)
        self.latency_seconds = 0.0
        self.plans = 0
        """That came into force."""
        self.part_seconds: defaultdict[str, float] = defaultdict(float)
        """Of all frames together, by part."""
        self.frame_joules: defaultdict[str, float] = defaultdict(float)
        """By kind: ``measured`` or ``modelled``."""
        self.hop_bytes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.device_joules: dict[tuple[str, str], float] = {}
        """By device and kind, over the starts of its worker."""
        self._device_before: dict[tuple[str, str], tuple[int, float]] = {}

    def frame(self, latency: float, parts: Mapping[str, float], joules: float, *, measured: bool) -> None:
        """Count a delivered frame; all in seconds and joules, NaN: unknown."""
        if 0 <= latency < _MOST:
            self.latency_counts[bisect_left(LATENCY_BUCKETS, latency)] += 1
            self.latency_seconds += latency
        for name, seconds in parts.items():
            if 0 < seconds < _MOST:
                self.part_seconds[name] += seconds
        if 0 < joules < _MOST:
            self.frame_joules['measured' if measured else 'modelled'] += joules

    def hop(self, sender: str, receiver: str, size: int) -> None:
        """Count the bytes of one message of tensors."""
        if (sender, receiver) in self.hop_bytes or len(self.hop_bytes) < _MOST_KEYS:
            self.hop_bytes[sender, receiver] += size

    def energy(self, device: str, kind: str, incarnation: int, joules: float) -> None:
        """Record a total of a device; another incarnation's begins at nothing."""
        key = device, kind
        if not 0 <= joules < _MOST or (key not in self.device_joules and len(self.device_joules) >= _MOST_KEYS):
            return
        start, before = self._device_before.get(key, (incarnation, 0.0))
        grown = joules - before if start == incarnation else joules
        self._device_before[key] = incarnation, joules
        self.device_joules[key] = self.device_joules.get(key, 0.0) + max(0.0, grown)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A shaped link in user space: rate and delay of a Wi-Fi or uplink for fleets played on one machine."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Channel:
    """What links that share the air share: the time until which it is taken (seconds)."""

    free_at: float = 0.0


@dataclass
class EmulatedLink:
    """One direction of a link; time is passed in.

    :param bytes_per_second: its rate, 0 for a cut link (nothing leaves until it is mended).
    :param latency_seconds: its one-way delay.
    :param overhead_bytes: what headers add to each fragment on a real wire.
    """

    bytes_per_second: float
    latency_seconds: float = 0.0
    overhead_bytes: int = 60
    channel: Channel = field(default_factory=Channel)
    _busy_until: float = 0.0

    def free_at(self, now: float) -> float:
        """When the link can take the next fragment."""
        return max(now, self.channel.free_at) if self.bytes_per_second > 0 else float('inf')

    def send(self, now: float, size: int) -> float:
        """Put ``size`` bytes on the link; return when they arrive at its other end."""
        begin = self.free_at(now)
        self.channel.free_at = self._busy_until = begin + (size + self.overhead_bytes) / self.bytes_per_second
        return self._busy_until + self.latency_seconds

    def change(self, now: float, bytes_per_second: float, latency_seconds: float) -> tuple[float, float] | None:
        """Take another rate and delay; what is left of the fragment on the link goes at the new rate.

        :return: when that fragment would have arrived, and when it will; None if there is none, or the link is cut or mended.
        """
        before, was = self.bytes_per_second, self._busy_until + self.latency_seconds
        self.bytes_per_second, self.latency_seconds = bytes_per_second, latency_seconds
        left = self._busy_until - now
        if left <= 0 or not before or not bytes_per_second or self.channel.free_at != self._busy_until:
            return None
        self.channel.free_at = self._busy_until = now + left * before / bytes_per_second
        return was, self._busy_until + latency_seconds

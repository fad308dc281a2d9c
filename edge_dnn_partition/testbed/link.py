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
    :param overhead_bytes: what headers add to each piece on a real wire.
    """

    bytes_per_second: float
    latency_seconds: float = 0.0
    overhead_bytes: int = 60
    channel: Channel = field(default_factory=Channel)

    def free_at(self, now: float) -> float:
        """When the link can take the next piece."""
        return max(now, self.channel.free_at) if self.bytes_per_second > 0 else float('inf')

    def send(self, now: float, size: int) -> float:
        """Put ``size`` bytes on the link; return when they arrive at its other end."""
        begin = self.free_at(now)
        self.channel.free_at = begin + (size + self.overhead_bytes) / self.bytes_per_second
        return self.channel.free_at + self.latency_seconds

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How the stream goes and what the hosts say of themselves: what diagnostics and plots show. Time is passed in."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

WINDOW_SECONDS: Final = 5.0
_OK: Final = 0
"""The status of a frame that has its result, as in FrameReport."""


@dataclass(frozen=True)
class StreamFigures:
    """Of the results of the last five seconds; NaN: there were none.

    :param latency_seconds: median.
    :param energy_joules: median of what is known of a frame's energy.
    """

    latency_seconds: float
    fps: float
    energy_joules: float


@dataclass(frozen=True)
class Refusals:
    """What the nodes of a device refused."""

    count: int = 0
    last: str = ''


class StreamWatch:
    """The stream's figures, from reports, heartbeats, telemetry and the frame source's counters, live or recorded."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, float, float]] = deque()
        self._refused: dict[tuple[str, str], Refusals] = {}
        self._troubles: dict[tuple[str, str], tuple[str, ...]] = {}
        self.hosts: dict[str, tuple[float, Any]] = {}
        """When the last Telemetry of a device came, and what it says."""
        self.counters: Any = None
        """The frame source's last SourceStatus."""
        self.result_at = -math.inf
        """When the last result came."""

    def on_report(self, message: Any, now: float) -> None:
        """Record how a frame went (FrameReport)."""
        if message.status == _OK:
            self.result_at = now
            self._frames.append((now, message.latency_seconds, message.energy_joules))

    def on_heartbeat(self, message: Any) -> None:
        """Record what a node refused, and what it does without (Heartbeat)."""
        self._refused[message.device, message.node] = Refusals(message.refused, message.last_refusal)
        self._troubles[message.device, message.node] = tuple(message.troubles)

    def on_telemetry(self, message: Any, now: float) -> None:
        """Record the state of a host (Telemetry)."""
        self.hosts[message.device] = (now, message)

    def on_source_status(self, message: Any) -> None:
        """Record the frame source's counters (SourceStatus)."""
        self.counters = message

    def refusals(self, device: str) -> Refusals:
        """Return what a device's nodes refused, all together."""
        own = [refused for (name, _), refused in self._refused.items() if name == device]
        return Refusals(sum(r.count for r in own), next((r.last for r in own if r.last), ''))

    def troubles(self, device: str) -> list[str]:
        """Return what a device's nodes do without, each once."""
        return list(dict.fromkeys(text for (name, _), texts in self._troubles.items() if name == device for text in texts))

    def figures(self, now: float) -> StreamFigures:
        """Return how the stream goes."""
        while self._frames and now - self._frames[0][0] > WINDOW_SECONDS:
            self._frames.popleft()
        joules = [joules for *_, joules in self._frames if not math.isnan(joules)]
        return StreamFigures(
            latency_seconds=median(latency for _, latency, _ in self._frames) if self._frames else math.nan,
            fps=len(self._frames) / WINDOW_SECONDS,
            energy_joules=median(joules) if joules else math.nan,
        )

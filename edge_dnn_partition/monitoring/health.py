# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How stream, devices and pipeline are: figures, and the levels and words of REP 107's diagnostics. Time is passed in."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from statistics import median
from typing import Any, Final

from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.units import format_bytes, format_rate

WINDOW_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 3.0
"""Missing telemetry or results are reported after this time."""
_HOT_CELSIUS: Final = 85.0
_LITTLE_MEMORY: Final = 0.05
_OFTEN_THROTTLED_PERCENT: Final = 10.0
_SLOW: Final = 1.5
"""How many times the predicted time frames may take."""
_NEWS_SECONDS: Final = 10.0
"""A lost frame or a refused message is reported for so long."""
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


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Health:
    """One status: its level, what is wrong in words, and figures by name."""

    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


class Rising:
    """Counters that only rise: which of them rose lately."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._rose_at: dict[str, float] = {}

    def lately(self, name: str, count: int, now: float) -> bool:
        """Take a count in; return whether it has risen in the last ten seconds (not at the first look)."""
        if count > self._counts.setdefault(name, count):
            self._rose_at[name] = now
        self._counts[name] = count
        return now - self._rose_at.get(name, -math.inf) <= _NEWS_SECONDS


def device_health(
    name: str, view: FleetView, watch: StreamWatch, rising: Rising, plan: Plan | None, now: float, *, derating: str = ''
) -> Health:
    """Return how a device is.

    :param plan: in force.
    :param derating: why it is spared; empty: it is not.
    """
    device, refused = view.devices[name], watch.refusals(name)
    heard_at, host = watch.hosts.get(name, (-math.inf, None))
    stages = [f'stage {i}' for i, stage in enumerate(plan.stages) if stage.device == name] if plan is not None else []
    values = {
        'runs': ', '.join(stages) or 'nothing',
        'seconds since heartbeat': _number(now - device.seen_at, 1),
        'profiled': 'yes' if device.profile is not None else 'no',
        'time now / profiled': _number(device.factor(now), 2),
        'CPU percent': _number(device.cpu_percent, 0),
        'memory available': format_bytes(device.memory_available_bytes) if math.isfinite(device.memory_available_bytes) else '?',
        'temperature celsius': _number(device.temperature_celsius, 1),
        'refused messages': str(refused.count),
        'last refusal': refused.last,
    }
    for (sender, receiver), link in view.links().items():
        if sender == name:
            guess = '' if link.measured else ', a guess'
            values[f'link to {receiver}'] = (
                f'{format_rate(link.bytes_per_second)}, {link.latency_seconds * 1e3:.1f} ms{guess}'
            )
    if device.seen_at == -math.inf:
        return Health(Level.STALE, 'no heartbeat from its worker yet', values)
    if now - device.seen_at > view.heartbeat_timeout:
        return Health(Level.ERROR, f'no heartbeat from its worker for {now - device.seen_at:.1f} s', values)
    wrong = [] if device.profile is not None else ['not profiled yet']
    if now - heard_at > SILENT_SECONDS:
        wrong.append('no telemetry from its device_monitor')
    else:
        values |= {'battery percent': _number(host.battery_percent, 0), 'throttling': ', '.join(host.throttling) or 'no'}
        wrong += _host_troubles(host)
    if derating:
        wrong.append(derating)
    wrong += watch.troubles(name)
    if rising.lately(f'{name} refused', refused.count, now):
        wrong.append(f'refuses messages: {refused.last}')
    return Health(Level.WARN if wrong else Level.OK, '; '.join(wrong) or 'works', values)


def _host_troubles(host: Any) -> list[str]:
    """Return what is wrong with a host, by its Telemetry."""
    wrong = []
    now_throttling = [flag for flag in host.throttling if not flag.endswith('_since_boot')]
    if now_throttling:
        wrong.append(f'throttles: {", ".join(now_throttling)}')
    if host.quota_throttled_percent >= _OFTEN_THROTTLED_PERCENT:
        share = f'{host.quota_throttled_percent:.0f} % of the periods'
        wrong.append(f'its CPU quota of {host.quota_cores:g} cores is used up in {share}')
    if host.temperature_celsius >= _HOT_CELSIUS:
        wrong.append(f'{host.temperature_celsius:.0f} °C')
    if host.memory_available_bytes < _LITTLE_MEMORY * host.memory_total_bytes:
        wrong.append(f'{format_bytes(host.memory_available_bytes)} of memory left')
    wrong += [f'left out: {source}' for source in host.left_out]
    return wrong


def pipeline_health(
    plan: Plan | None, watch: StreamWatch, rising: Rising, decision: str, gone: Sequence[str], now: float,
    troubles: Sequence[str] = (),
) -> Health:
    """Return how the pipeline is.

    :param plan: in force.
    :param decision: the scheduler's last one, in words.
    :param gone: devices that cannot be planned with.
    :param troubles: what the scheduler itself lacks.
    """
    counters, figures = watch.counters, watch.figures(now)
    values = {
        'plan': f'{plan.version}: {plan.label()}' if plan is not None else 'none',
        'decision': decision,
        'latency ms': _number(figures.latency_seconds * 1e3, 1),
        'predicted latency ms': _number(plan.latency_seconds * 1e3, 1) if plan is not None else '?',
        'frames per second': _number(figures.fps, 1),
        'joules a frame': _number(figures.energy_joules, 3),
        'devices missing': ', '.join(gone) or 'none',
    }
    counts = ('accepted', 'delivered', 'in_flight', 'expired', 'lost', 'failed', 'repeated', 'dropped')
    if counters is not None:
        values |= {f'frames {name}'.replace('_', ' '): str(getattr(counters, name)) for name in counts}
        values['last failure'] = counters.last_failure
    if plan is None:
        return Health(Level.ERROR, f'no plan is in force: {decision}', values)
    if counters is None:
        return Health(Level.STALE, 'no status from the frame source yet', values)
    since = now - watch.result_at
    failing = f'frames fail: {counters.last_failure}' if rising.lately('failed', counters.failed, now) else ''
    if (counters.in_flight or failing) and since > max(SILENT_SECONDS, 3 * plan.latency_seconds):
        waited = f'for {since:.1f} s' if math.isfinite(since) else 'yet'
        return Health(Level.ERROR, failing or f'frames are in flight, but no result {waited}', values)
    wrong = [f'{name} frames' for name in ('lost', 'expired') if rising.lately(name, getattr(counters, name), now)]
    if failing:
        wrong.append(failing)
    if figures.latency_seconds > _SLOW * plan.latency_seconds:
        wrong.append(f'frames take {figures.latency_seconds / plan.latency_seconds:.1f} times the prediction')
    if gone:
        wrong.append(f'without {", ".join(gone)}')
    wrong += troubles
    idle = not figures.fps
    return Health(Level.WARN if wrong else Level.OK, '; '.join(wrong) or ('no images arrive' if idle else 'works'), values)


def _number(value: float, digits: int) -> str:
    return f'{value:.{digits}f}' if math.isfinite(value) else '?'

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet in the terminal: devices, links, the present split, latency and what changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_dnn_partition.units import format_rate

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient, FrameRecord

_BARS = ' ▁▂▃▄▅▆▇█'
_WINDOW_SECONDS = 5.0
_JOINING_SECONDS = 0.5


def render(client: FleetClient, headline: str, now: float | None = None) -> RenderableType:
    """Return the present state of a fleet.

    :param headline: what is going on, such as the demo's phase.
    :param now: seconds of the steady clock; None: this moment.
    """
    now = time.monotonic() if now is None else now
    with client.lock:
        news = client.news
        state, status = news.state, news.status
        plan = news.plans[-1][1] if news.plans else None
        recent = list(news.frames[-400:])
        changes = list(news.plans[-6:])
        decision = news.decisions[-1].text if news.decisions else ''
        began = news.plans[0][0] if news.plans else now
    parts: list[RenderableType] = [Text(headline, style='bold')]
    devices = Table(box=None, padding=(0, 2))
    for name in ('device', 'worker', 'time now / profiled', 'CPU', 'power', 'runs'):
        devices.add_column(name)
    for device in state.devices if state else ():
        runs = [
            ('decode ' if stage.preprocess else '') + ', '.join(f'layers {a}–{b - 1}' for a, b in stage.layers)
            for stage in (plan.stages if plan else ())
            if stage.device == device.device
        ]
        devices.add_row(
            Text(device.device),
            Text('up', style='green') if device.alive else Text('gone', style='bold red'),
            f'{device.speed_factor:.2f}',
            '?' if np.isnan(device.cpu_percent) else f'{device.cpu_percent:.0f} %',
            Text('?' if np.isnan(device.watts) else f'{device.watts:.1f} W {device.energy_kind}'),
            Text(('; '.join(runs) or '–') + (f' ({device.derating})' if device.derating else '')),
        )
    parts.append(devices)
    links = Table(box=None, padding=(0, 2))
    for name in ('link', 'rate', 'latency'):
        links.add_column(name)
    for link in state.links if state else ():
        links.add_row(
            Text(f'{link.sender} → {link.receiver}'),
            format_rate(link.bytes_per_second) + ('' if link.measured else ' (guess)'),
            f'{link.latency_seconds * 1e3:.1f} ms',
        )
    parts.append(links)
    parts.append(Text(f'plan {plan.version}: {plan.label()}' if plan else 'no plan yet', style='cyan'))
    parts.append(_latency(recent, now))
    if status is not None:
        parts.append(
            Text(
                f'frames: {status.accepted} accepted, {status.delivered} delivered, {status.in_flight} under way, '
                f'{status.repeated} sent again, {status.failed} failed, {status.expired} expired, {status.lost} lost, '
                f'{status.dropped} camera images skipped'
            )
        )
        if status.last_failure:
            parts.append(Text(f'last failure: {status.last_failure}', style='red'))
    if decision:
        parts.append(Text(f'why: {decision}', style='dim'))
    elif state is not None:
        parts.append(Text(f'scheduler: {state.decision}', style='dim'))
    known = sum(at - began < _JOINING_SECONDS for at, _ in news.plans)
    log = [
        Text(f'{_when(at - began, joined_late=known > 1):>9}  plan {p.version}: {p.label()}  ({p.reason})') for at, p in changes
    ]
    parts.append(Panel(Group(*log) if log else Text('–'), title='changes of plan', title_align='left'))
    return Group(*parts)


def _when(seconds: float, *, joined_late: bool) -> str:
    """Return when a plan came into force, counted from the first that was heard of; who joins hears of several at once."""
    return 'before' if joined_late and seconds < _JOINING_SECONDS else f'{seconds:.1f} s'


def _latency(frames: list[FrameRecord], now: float) -> Text:
    recent = [f.latency_seconds * 1e3 for f in frames if f.delivered and now - f.at <= _WINDOW_SECONDS]
    if not recent:
        return Text('no result in the last 5 s', style='yellow')
    last = [f.latency_seconds * 1e3 for f in frames if f.delivered][-60:]
    top = max(last)
    bars = ''.join(_BARS[min(8, int(8 * value / top + 0.5))] for value in last)
    p50, p95 = np.percentile(recent, (50, 95))
    seconds = min(_WINDOW_SECONDS, max(1.0, now - frames[0].at))  # who has just joined has not heard more
    return Text(f'latency {p50:.0f} ms (p95 {p95:.0f} ms), {len(recent) / seconds:.1f} frames/s  {bars}')

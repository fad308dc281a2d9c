# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition top``: a running fleet in the terminal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_dnn_partition.cli.fleet_name import add_fleet_name
from edge_dnn_partition.units import format_rate

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient, FrameRecord

WAIT_SECONDS: Final = 10.0
_PLAN_SECONDS: Final = 1.0
_RESULT_SECONDS: Final = 1.0
"""How long to wait for the plan in force after the state."""
EPILOG = """
examples:
  edge-dnn-partition top robot.yaml
  edge-dnn-partition top robot.yaml --once     one snapshot, for a log

Shows the devices, what each runs, the links, latency, and plan changes with their reasons. Ctrl-C ends it.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser('top', description='Watch a running fleet in the terminal.', epilog=EPILOG)
    parser.add_argument('fleet', metavar='FLEET.yaml', help='the fleet file that the fleet was started with')
    parser.add_argument(
        '--once', action='store_true', help='print one snapshot once the fleet answers, and exit; code 1 if it does not'
    )
    parser.add_argument(
        '--wait', type=float, default=WAIT_SECONDS, metavar='SECONDS',
        help=f'with --once: how long to wait for the fleet (default {WAIT_SECONDS:g})',
    )  # fmt: skip
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def _answered(client: FleetClient, seconds: float) -> bool:
    """Wait for the scheduler's state, then for the plan in force, and for a result, if there are any."""
    deadline = time.monotonic() + seconds
    while client.news.state is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    latest = min(deadline, time.monotonic() + _PLAN_SECONDS)
    while client.plan is None and time.monotonic() < latest:
        time.sleep(0.02)
    latest = min(deadline, time.monotonic() + _RESULT_SECONDS)
    while client.plan is not None and not any(frame.delivered for frame in client.news.frames[-400:]) and time.monotonic() < latest:
        time.sleep(0.02)
    return True


def run(args: argparse.Namespace) -> int:
    """Watch until the user ends it."""
    from rich.live import Live

    from edge_dnn_partition.cli.console import console as open_console
    from edge_dnn_partition.cli.running_fleet import join_network
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    fleet = load_fleet(args.fleet, args.fleet_name)
    join_network(fleet)
    console = open_console()
    headline = f'fleet {fleet.fleet}' + (' (emulated)' if fleet.emulated else '')
    with FleetClient(fleet, name='top') as client:
        if args.once:
            answered = _answered(client, args.wait)
            console.print(render(client, headline))
            if not answered:
                domain = os.environ.get('ROS_DOMAIN_ID') or '0'
                what = f'no scheduler of fleet {fleet.fleet} answered within {args.wait:g} s in domain {domain}'
                print(f'error: {what}; start it, or ask `doctor --fleet {args.fleet} --listen`', file=sys.stderr)
            return 0 if answered else 1
        ended = threading.Event()  # an exception out of a handler can be lost where it comes, in a finaliser for one
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        with Live(console=console, refresh_per_second=4, screen=console.is_terminal) as screen:
            while not ended.wait(0.25):
                screen.update(render(client, headline))
    return 0


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
    parts.append(Panel(Group(*log) if log else Text('–'), title='changes of plan', title_align='left', expand=False))
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

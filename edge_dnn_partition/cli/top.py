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

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

WAIT_SECONDS: Final = 10.0
_PLAN_SECONDS: Final = 1.0
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
    parser.set_defaults(run=run)


def _answered(client: FleetClient, seconds: float) -> bool:
    """Wait for the scheduler's state and then for the plan in force, if there is one."""
    deadline = time.monotonic() + seconds
    while client.news.state is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    latest = min(deadline, time.monotonic() + _PLAN_SECONDS)
    while client.plan is None and time.monotonic() < latest:
        time.sleep(0.02)
    return True


def run(args: argparse.Namespace) -> int:
    """Watch until the user ends it."""
    from rich.live import Live

    from edge_dnn_partition.cli.console import console as open_console
    from edge_dnn_partition.cli.live_view import render
    from edge_dnn_partition.cli.running_fleet import join_network
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    fleet = load_fleet(args.fleet)
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

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition top``: a running fleet in the terminal."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from typing import Any

EPILOG = """
examples:
  edge-dnn-partition top robot.yaml
  edge-dnn-partition top robot.yaml --once     one picture, for a log

Shows the devices, what each runs, the links, latency, and the changes of plan with their reasons. Ctrl-C ends it.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'top',
        help='watch a running fleet in the terminal',
        description='Watch a running fleet in the terminal.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('fleet', metavar='FLEET.yaml', help='the fleet file that the fleet was started with')
    parser.add_argument('--once', action='store_true', help='print one picture after two seconds and end')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until the user ends it."""
    from rich.live import Live

    from edge_dnn_partition.cli.console import console as open_console
    from edge_dnn_partition.cli.live_view import render
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet_state.fleet import load_fleet
    from edge_dnn_partition.runtime.deployment.dds_environment import dds_environment, dds_profile

    fleet = load_fleet(args.fleet)
    os.environ.update(dds_environment(dds_profile(fleet)))
    console = open_console()
    headline = f'fleet {fleet.fleet}' + (' (emulated)' if fleet.emulated else '')
    with FleetClient(fleet, name='top') as client:
        if args.once:
            time.sleep(2.0)
            console.print(render(client, headline))
            return 0
        ended = threading.Event()  # an exception out of a handler can be lost where it comes, in a finaliser for one
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        with Live(console=console, refresh_per_second=4, screen=console.is_terminal) as screen:
            while not ended.wait(0.25):
                screen.update(render(client, headline))
    return 0

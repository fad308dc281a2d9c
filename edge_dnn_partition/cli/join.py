# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition join``: this machine becomes a device of a running fleet, whose file it does not have."""

from __future__ import annotations

import argparse
import re
import socket
import sys
from pathlib import Path
from typing import Any

from edge_dnn_partition.cli.keep_up import heed_signals, keep_up

EPILOG = """
examples:
  edge-dnn-partition join robot                            under this machine's host name
  edge-dnn-partition join robot --device jetson            under a name of its own
  edge-dnn-partition join robot --key robot.key            a fleet with a key, which was copied here
  edge-dnn-partition join robot --router tls/box.example.org:7447 --certificates keys    from another network

Finds the fleet by its name, gets its file and what belongs to it, and starts the monitor and the worker, as `up --device` does
where there is a fleet file. The fleet file must name the device, or welcome anybody by "*" under devices. Ctrl-C leaves the fleet.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'join', description='Take part in a running fleet as one more device, and leave it with Ctrl-C.', epilog=EPILOG
    )  # fmt: skip
    parser.add_argument('fleet', metavar='FLEET', help='the name of the fleet')
    parser.add_argument('--device', metavar='NAME', default=host_name(), help='the name of this device (default: %(default)s)')
    parser.add_argument('--key', metavar='FILE', type=Path, help="the fleet's key, if it has one")
    parser.add_argument(
        '--certificates', metavar='FOLDER', type=Path, help="ca.pem and this device's certificate, of a fleet with several sites"
    )
    parser.add_argument(
        '--router', metavar='ADDRESS', default='', help='the router between its sites, such as tls/box.example.org:7447, if the '
        'fleet is in another network',
    )  # fmt: skip
    parser.add_argument('--site', metavar='NAME', default='', help="this network's name, with --router (default: the device's)")
    parser.add_argument('--seconds', metavar='N', type=float, default=20.0, help='look for the fleet for so long (default: 20)')
    parser.add_argument('--no-respawn', action='store_true', help='end everything when one process fails, instead of restarting it')
    parser.set_defaults(run=run)


def host_name() -> str:
    """Return this machine's name as a ROS name."""
    name = re.sub(r'\W', '_', socket.gethostname().partition('.')[0], flags=re.ASCII).lower()
    return name if re.match('[a-z]', name) else f'n{name}'


def run(args: argparse.Namespace) -> int:
    """Get what the fleet says of itself, start the processes, keep them running until the user ends it."""
    from edge_dnn_partition.deployment.fleet_description import Means
    from edge_dnn_partition.deployment.processes import device_processes
    from edge_dnn_partition.nodes.clients.joining import join_fleet

    asked = heed_signals()
    name = args.fleet.strip('/')

    def say(line: str) -> None:
        sys.stderr.write(f'join: {line}\n')

    means = Means(args.key, args.certificates, args.router, args.site)
    fleet, path = join_fleet(name, args.device, means=means, seconds=args.seconds, say=say, wait=lambda: not asked.is_set())
    return keep_up('join', device_processes(fleet, path, args.device), asked, respawn=not args.no_respawn)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition up``: starts a fleet's node processes without ros2 launch."""

from __future__ import annotations

import argparse
from typing import Any

from edge_dnn_partition.cli.fleet_name import add_fleet_name
from edge_dnn_partition.cli.keep_up import heed_signals, keep_up
from edge_dnn_partition.errors import UserError

EPILOG = """
examples:
  edge-dnn-partition up config/one_machine.yaml            a whole fleet emulated on this machine
  edge-dnn-partition up robot.yaml --device pi             on the Pi
  edge-dnn-partition up robot.yaml --device jetson --scheduler
                                                           on the Jetson, with the scheduler
  edge-dnn-partition up robot.yaml --scheduler             the scheduler alone

Starts the same processes as launch/fleet.launch.py and launch/device.launch.py. A process that exits or hangs is restarted after
2 s, then with growing delays. One that rejects its input, or fails to run for a minute in 8 attempts, ends the fleet with exit
code 1; the dashboard and the visualisation never do. Ctrl-C ends all of them.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'up', description='Start the node processes of a fleet file, and end them all with Ctrl-C.', epilog=EPILOG
    )  # fmt: skip
    parser.add_argument('fleet', metavar='FLEET.yaml', help='the fleet file')
    parser.add_argument('--device', metavar='NAME', help='start only what this device runs')
    parser.add_argument('--scheduler', action='store_true', help='start the scheduler: in addition to --device, or alone')
    parser.add_argument(
        '--dashboard', action='append_const', const='dashboard', dest='tools', default=[], help='also start the web dashboard'
    )
    parser.add_argument(
        '--visualisation', action='append_const', const='visualisation', dest='tools', help='also publish markers for rviz'
    )
    parser.add_argument(
        '--health-file', metavar='FILE', help='touch this file every few seconds while all processes are ready, for a health check'
    )
    parser.add_argument('--no-respawn', action='store_true', help='end everything when one process fails, instead of restarting it')
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start the processes and keep them running until the user ends it, or that cannot be."""
    from edge_dnn_partition.deployment.processes import device_processes, fleet_processes, scheduler_process, tool_process
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    fleet = load_fleet(args.fleet, args.fleet_name)
    if args.device is not None:
        processes = list(device_processes(fleet, args.fleet, args.device))
        if args.scheduler:
            processes.insert(0, scheduler_process(fleet, args.fleet, args.device))
        processes += [tool_process(fleet, args.fleet, tool, args.device) for tool in args.tools]
    elif args.scheduler:
        processes = [scheduler_process(fleet, args.fleet), *(tool_process(fleet, args.fleet, tool) for tool in args.tools)]
    elif fleet.emulated or len(fleet.devices) == 1:
        processes = list(fleet_processes(fleet, args.fleet, args.tools))
    else:
        names = ', '.join(fleet.devices)
        raise UserError(
            f'{args.fleet} has several real devices: say which one this machine is with --device ({names}), or give each `emulate` '
            'to play them all here'
        )
    return keep_up('up', processes, heed_signals(), respawn=not args.no_respawn, health_file=args.health_file)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition tell``: the scheduler's services from the command line."""

from __future__ import annotations

import argparse
from typing import Any

from edge_dnn_partition.cli.fleet_name import add_fleet_name
from edge_dnn_partition.errors import UserError

EPILOG = """
examples:
  edge-dnn-partition tell robot.yaml pin 'pi:pre-12 jetson:12-end'   keep this plan, as top shows it
  edge-dnn-partition tell robot.yaml pin jetson                      everything on the Jetson
  edge-dnn-partition tell robot.yaml pin                             keep the plan in force
  edge-dnn-partition tell robot.yaml free                            let the policy decide again
  edge-dnn-partition tell robot.yaml replan                          plan now, and move for any gain
  edge-dnn-partition tell robot.yaml profile jetson                  profile the Jetson again; without a name: all devices

Prints the answer. The exit code is 1 if it was a refusal.
"""

_PROFILE_SECONDS = 600.0


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'tell', description="Call a running fleet's services: pin, free, replan, profile.", epilog=EPILOG
    )  # fmt: skip
    parser.add_argument('fleet', metavar='FLEET.yaml', help='the fleet file that the fleet was started with')
    parser.add_argument('what', choices=('pin', 'free', 'replan', 'profile'), help='what to do')
    parser.add_argument('name', nargs='?', default='', metavar='PLAN|DEVICE', help='for pin: a plan; for profile: a device')
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Call the service and print its answer."""
    if args.name and args.what not in ('pin', 'profile'):
        raise UserError(f'`{args.what}` takes no name: remove {args.name!r}')
    from std_srvs.srv import Trigger

    from edge_dnn_partition.cli.running_fleet import join_network
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet
    from edge_dnn_partition.srv import PinPlan, ProfileAgain

    fleet = load_fleet(args.fleet, args.fleet_name)
    join_network(fleet)
    with FleetClient(fleet, name='tell') as client:
        topics = client.topics
        service, name, request = {
            'pin': (PinPlan, topics.pin_plan, PinPlan.Request(plan=args.name)),
            'free': (Trigger, topics.free_plan, None),
            'replan': (Trigger, topics.replan, None),
            'profile': (ProfileAgain, topics.profile_again(), ProfileAgain.Request(device=args.name)),
        }[args.what]
        answer = client.call(service, name, request, seconds=_PROFILE_SECONDS)
    print(answer.message)
    return 0 if answer.success else 1

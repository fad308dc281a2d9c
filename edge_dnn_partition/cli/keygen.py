# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The verb ``keygen``: makes a fleet's key, its certificates, or writes what SROS2 needs to know of the fleet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_dnn_partition.cli.fleet_name import add_fleet_name

EPILOG = """
examples:
  edge-dnn-partition keygen fleet.key
  edge-dnn-partition keygen --wan robot.yaml               the certificates of a fleet of several sites, where the file names them
  edge-dnn-partition keygen --sros2-policy robot.yaml > policy.xml    for SROS2 on a distribution's ROS

Copy the key to every device and name it in the fleet file: security: {key_file: fleet.key}
See docs/security.md for what a key does and what it does not.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'keygen',
        description="Make a fleet's key: 32 random bytes in a file that only its owner may read. Overwrites no file.",
        epilog=EPILOG,
    )
    parser.add_argument('file', nargs='?', type=Path, default=Path('fleet.key'), metavar='FILE', help='default: fleet.key')
    parser.add_argument(
        '--sros2-policy', metavar='FLEET.yaml',
        help='instead of making a key, print the SROS2 policy that grants the processes of this fleet what they need and no more',
    )  # fmt: skip
    parser.add_argument(
        '--wan', metavar='FLEET.yaml',
        help='instead of making a key, make the CA and the certificates that network.tls names, each in its place; those that are '
        'there stay',
    )  # fmt: skip
    parser.add_argument(
        '--device', action='append', default=[], metavar='NAME',
        help='with --wan: a certificate for this device, which the file does not name, as well; with --router: let it in; may be '
        'repeated',
    )  # fmt: skip
    parser.add_argument(
        '--router', metavar='FLEET.yaml',
        help="instead of making a key, print the configuration of a Zenoh router of one's own for this fleet (zenohd --config)",
    )
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a key, or print the policy."""
    if args.sros2_policy:
        from edge_dnn_partition.cli.sros2_policy import policy_of
        from edge_dnn_partition.planning.fleet.fleet import load_fleet

        print(policy_of(load_fleet(args.sros2_policy, args.fleet_name)), end='')
        return 0
    if args.router:
        from edge_dnn_partition.planning.fleet.fleet import load_fleet
        from edge_dnn_partition.transport.sites import common_name
        from edge_dnn_partition.transport.zenoh_router import router_settings

        fleet = load_fleet(args.router, args.fleet_name)
        more = [common_name(fleet.fleet, device) for device in args.device]
        print(json.dumps(nested(router_settings([fleet], more)), indent=2))
        return 0
    if args.wan:
        from edge_dnn_partition.deployment.certificates import make_certificates
        from edge_dnn_partition.planning.fleet.fleet import load_fleet

        fleet = load_fleet(args.wan, args.fleet_name)
        made = make_certificates(fleet, args.device)
        for path in made:
            print(f'wrote {path}')
        if fleet.network.tls is not None:
            ca = fleet.network.tls.ca
            kept = ca.with_suffix('.key')
            print(f'copy to each device {ca.name} and its own two files; keep {kept}, which lets others in, to yourself')
        return 0
    from edge_dnn_partition.deployment.fleet_key import write_key

    write_key(args.file)
    print(f'wrote {args.file}; copy it to every device, and name it in the fleet file: security: {{key_file: {args.file.name}}}')
    return 0


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose names are paths as a tree."""
    tree: dict[str, Any] = {}
    for path, value in settings.items():
        *folders, name = path.split('/')
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return tree

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The verb ``doctor``: checks this machine and says what to fix."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from edge_dnn_partition.cli import doctor_machine, doctor_ros
from edge_dnn_partition.cli.doctor_machine import Check
from edge_dnn_partition.cli.fleet_name import add_fleet_name
from edge_dnn_partition.cli.terminal import raw
from edge_dnn_partition.errors import UserError

ORDER: Final[tuple[Callable[[], Sequence[Check]], ...]] = (
    doctor_machine.python,
    doctor_machine.packages,
    doctor_machine.providers,
    doctor_machine.cache_folder,
    doctor_ros.installation,
    doctor_ros.middleware,
    doctor_machine.dds_profile_check,
    doctor_ros.messages,
    doctor_ros.optional_packages,
    doctor_machine.socket_buffers,
    doctor_machine.shared_memory,
    doctor_machine.leftovers,
    doctor_machine.sensors,
)
LISTEN_SECONDS: Final = 5.0
COLOURS: Final = {'ok': '\033[32m', 'warn': '\033[33m', 'fail': '\033[31m'}


def add_parser(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = subparsers.add_parser(
        'doctor',
        description='Checks Python, packages, ROS 2, messages, kernel buffers, shared memory, sensors and power meters. '
        'The exit code is 1 if a check fails; warnings do not count.',
        epilog='examples:\n  edge-dnn-partition doctor --fleet robot.yaml\n  edge-dnn-partition doctor --fleet robot.yaml --listen',
    )
    parser.add_argument('--fleet', metavar='FLEET.yaml', help='also check this fleet file, and show its DDS profile')
    parser.add_argument(
        '--listen', metavar='SECONDS', nargs='?', type=float, const=LISTEN_SECONDS,
        help=f'with --fleet: listen to the running fleet for at most this long (default: {LISTEN_SECONDS:g}) and check that its '
        'machines agree on middleware, domain, model and clock',
    )  # fmt: skip
    parser.add_argument('--device', metavar='NAME', help='with --fleet: which of its devices this machine is')
    parser.add_argument('--verbose', action='store_true', help='print every check on a line of its own')
    parser.add_argument('--json', action='store_true', help='print one JSON document')
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run all checks and print them; return 1 if one failed."""
    checks = [check for look in ORDER for check in look()]
    if args.listen is not None and not args.fleet:
        raise UserError('--listen needs --fleet FLEET.yaml, the fleet to listen to')
    if args.fleet:
        if not any(check.name in doctor_machine.NEEDED and check.status == 'fail' for check in checks):
            checks += _of_fleet(args)
        checks = [c for c in checks if c.name != doctor_machine.DDS_PROFILE] + [*doctor_machine.dds_profile_check(args.fleet)]
    counts = {status: sum(check.status == status for check in checks) for status in COLOURS}
    if args.json:
        found = [{'name': c.name, 'status': c.status, 'found': c.found, 'advice': c.advice} for c in checks]
        print(json.dumps({'healthy': counts['fail'] == 0, 'counts': counts, 'checks': found}, indent=2))
    else:
        _print(checks, all_of_them=args.verbose)
        print(f'{counts["ok"]} ok, {counts["warn"]} to look at, {counts["fail"]} to fix')
    return 1 if counts['fail'] else 0


def _of_fleet(args: argparse.Namespace) -> list[Check]:
    from edge_dnn_partition.cli import doctor_fleet, doctor_running

    checks = list(doctor_fleet.fleet_file(args.fleet, args.device, args.fleet_name))
    if args.listen is not None and checks[0].status != 'fail':
        checks += doctor_running.running_fleet(args.fleet, args.listen, args.fleet_name)
    return checks


def grouped(checks: Sequence[Check]) -> Iterator[Check]:
    """Yield the checks with those of a group in one line, where nothing is to be done about them."""
    for group, found in itertools.groupby(checks, key=lambda check: check.group if check.status == 'ok' else ''):
        if not group:
            yield from found
            continue
        members = list(found)
        there = ', '.join(check.short for check in members if not check.absent) or 'none'
        absent = ', '.join(check.short for check in members if check.absent)
        yield Check(group, 'ok', there + (f' (not here: {absent})' if absent else ''))


def _print(checks: Sequence[Check], *, all_of_them: bool) -> None:
    coloured = sys.stdout.isatty()
    for check in checks if all_of_them else grouped(checks):
        raw(sys.stdout).write(f'{COLOURS[check.status]}{check.status:<4}\033[0m' if coloured else f'{check.status:<4}')
        print(f'  {check.name}: {check.found}')
        if check.advice:
            print(f'      -> {check.advice}')

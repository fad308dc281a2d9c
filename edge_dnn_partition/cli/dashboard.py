# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition dashboard``: a running fleet, or a report of a run, as a web page."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from edge_dnn_partition.cli.fleet_name import add_fleet_name

EPILOG = """
examples:
  edge-dnn-partition dashboard robot.yaml                        a running fleet, by its file
  edge-dnn-partition dashboard --fleet robot                     ... by its name, or several by theirs
  edge-dnn-partition dashboard robot.yaml r2 other.yaml          several: robot's, r2 with robot's model and key, other's
  edge-dnn-partition dashboard --json report.json                what `demo --report` or `bench --out` wrote

Shows devices, links, where the layers run, latency and its parts, frames that were lost, the image with its result, power,
diagnostics, and the decisions with their reasons. /metrics has the same for Prometheus (config/grafana.json).
Only this machine can open the page unless --host says otherwise. The page is read-only unless --token-file names a file that only
this user can read: whoever sends its token may do what `tell` does, and change the objective. $EDGE_DNN_PARTITION_TOKEN works, too.
Ctrl-C ends it. Needs aiohttp: pip install 'aiohttp>=3.9'.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'dashboard', description='Serve a web page of a running fleet, or of the report of a finished run.', epilog=EPILOG
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('file', nargs='?', metavar='FLEET.yaml', help='the fleet file that the fleet was started with')
    what.add_argument('--fleet', nargs='+', metavar='NAME', help='the names of running fleets whose file is not here')
    what.add_argument('--json', type=Path, metavar='REPORT.json', help='a report of `demo` or `bench`, instead of a fleet')
    parser.add_argument('more', nargs='*', metavar='FLEET', help='further fleets, by name or file')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on (default 127.0.0.1)')
    parser.add_argument('--port', type=int, default=8765, help='TCP port (default 8765; 0: a free one)')
    parser.add_argument(
        '--token-file', default='', metavar='FILE', help='file with the token for what `tell` does'
    )
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until the user ends it."""
    return _replay(args) if args.json is not None else _live(args)


def _replay(args: argparse.Namespace) -> int:
    from edge_dnn_partition.dashboard.replay import board_of_report
    from edge_dnn_partition.dashboard.serve import new_server

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    server = new_server(board_of_report(args.json), host=args.host, port=args.port, clock=lambda: 0.0)
    print(f'{args.json} is shown at {server.start()}  (Ctrl-C ends it)', flush=True)
    ended.wait()
    server.stop()
    return 0


def _live(args: argparse.Namespace) -> int:
    from edge_dnn_partition.nodes.core import signals

    signals.install()
    from edge_dnn_partition.deployment.dds_environment import dds_environment
    from edge_dnn_partition.deployment.processes import NodeProcess, tool_process
    from edge_dnn_partition.nodes.core.process import run_nodes
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    named = [*(args.fleet or [])[1:], *args.more]
    more = ','.join(str(Path(name).resolve()) if name.endswith(('.yaml', '.yml')) else name for name in named)
    options = {'host': args.host, 'port': args.port, 'token_file': args.token_file, 'more_fleets': more}
    if args.file is None:
        process = NodeProcess('dashboard', f'/{args.fleet[0].strip("/")}', options)
    else:
        fleet = load_fleet(args.file, args.fleet_name)
        process = tool_process(fleet, args.file, 'dashboard')
        os.environ.update(dds_environment(process.dds) if process.dds is not None else {})
        process = NodeProcess('dashboard', process.namespace, {**process.parameters, **options}, process.dds)
    sys.stdout.flush()

    def load() -> list[Any]:
        from edge_dnn_partition.nodes.dashboard import NODE

        return [NODE]

    return int(signals.leave(run_nodes(load, process.ros_arguments())))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition model``: give a running fleet another model."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.cli.fleet_name import add_fleet_name
from edge_dnn_partition.errors import UserError

EPILOG = """
examples:
  edge-dnn-partition model push model.onnx --fleet robot.yaml    every device fetches it; then the fleet has it
  edge-dnn-partition model push --back --fleet robot.yaml        the model before

The file must hold its weights itself, and take what the fleet's preprocessing gives. Meanwhile the stream goes on under
the present model. When all devices that are there have the new one, the source finishes the frames under way, and the nodes
begin anew with it, which takes a few seconds without results; no accepted frame is lost. Each device remembers it, and has it
at its next start, too, until another is pushed. The exit code is 1 if it was refused.
"""

_PUSH_SECONDS: Final = 1900.0
_FORCE_SECONDS: Final = 120.0


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser('model', description='Give a running fleet another model.', epilog=EPILOG)
    parser.add_argument('what', choices=('push',), help='what to do')
    parser.add_argument('model', metavar='MODEL.onnx', nargs='?', type=Path, help='the new model')
    parser.add_argument(
        '--fleet', metavar='FLEET.yaml', default='fleet.yaml', help='the fleet file that the fleet was started with (fleet.yaml)'
    )
    parser.add_argument('--back', action='store_true', help='the model before, instead of a file')
    parser.add_argument(
        '--shape', metavar='NAME=1x3x224x224', action='append', default=[],
        help='the shape of an input whose size the file leaves open; repeat for each',
    )
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Offer the model, ask for it, and wait until a plan of it is in force."""
    if (args.model is None) != args.back:
        raise UserError('give either a model or --back')
    from edge_dnn_partition.cli.running_fleet import join_network
    from edge_dnn_partition.deployment.model_choice import SHOWN_DIGITS
    from edge_dnn_partition.graph.shapes import parse_shapes
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet
    from edge_dnn_partition.srv import SetModel
    from edge_dnn_partition.transport.blobs import Extent, file_sha256

    fleet = load_fleet(args.fleet, args.fleet_name)
    request = SetModel.Request()
    if args.model is not None:
        if not args.model.is_file():
            raise UserError(f'{args.model} does not exist: give the path of an ONNX file')
        request.sha256, request.name = file_sha256(args.model), args.model.name
        if args.shape:
            request.settings = [json.dumps({'shapes': {name: list(shape) for name, shape in parse_shapes(args.shape).items()}})]
    join_network(fleet)
    with FleetClient(fleet, name='model') as client:
        if args.model is not None:
            offered = Extent(args.model, 0, args.model.stat().st_size)
            client.hand_out(lambda sha256: offered if sha256 == request.sha256 else None)
        begun = time.monotonic()
        answer = client.call(SetModel, client.topics.set_model, request, seconds=_PUSH_SECONDS)
        print(answer.message)
        if not answer.success:
            return 1
        switched = time.monotonic()
        client.wait_for(
            lambda: any(plan.model_sha256[:SHOWN_DIGITS] in answer.message for _, plan in client.news.plans), _FORCE_SECONDS,
            'a plan of the new model',
        )  # fmt: skip
    print(f'in force after {switched - begun:.1f} s of preparation and {time.monotonic() - switched:.1f} s of the switch')
    return 0

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition inspect``: a model's layers and the places where it can be cut."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.cli.model_view import (
    add_layer_arguments,
    add_model_arguments,
    load_given_model,
    print_layers,
    readable_bytes,
    write_layer_files,
)
from edge_dnn_partition.errors import PlanError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_dnn_partition.execution.profiling.layer_costs import LayerCost


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        'inspect',
        description='Show the layers of an ONNX model, and what would be sent at each cut between them.',
        epilog='example:\n  edge-dnn-partition inspect resnet50.onnx\n'
               '  edge-dnn-partition inspect detector.onnx --shape images=1x3x640x640 --json\n'
               '  edge-dnn-partition inspect resnet50.onnx --profile pi.json --plot layers.png')
    add_model_arguments(parser)
    parser.add_argument('--profile', metavar='FILE.json',
                        help='add the seconds and joules of a file that `profile --energy --out FILE.json` wrote')
    add_layer_arguments(parser)
    parser.add_argument('--json', action='store_true', help='print one JSON document instead of tables')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the layers and cuts of a model.

    :raises ModelError: the model cannot be used.
    """
    from edge_dnn_partition.graph.cuts import linear_cuts

    model = load_given_model(args)
    cuts = linear_cuts(model)
    rows = _rows(model, args.profile)
    write_layer_files(args, model.name, rows)
    if args.json:
        print(json.dumps(document(model, cuts, rows), allow_nan=False))
    else:
        _print_tables(model, cuts, rows)
    return 0


def _rows(model: Any, profile: str | None) -> Sequence[LayerCost]:
    from edge_dnn_partition.execution.profiling.layer_costs import layer_costs, with_measurements

    rows = layer_costs(model)
    if profile is None:
        return rows
    try:
        described = json.loads(Path(profile).read_bytes())
        if isinstance(described, dict) and described.get('model_sha256') != model.sha256:
            raise PlanError('it belongs to another model; profile this one')
        return with_measurements(rows, described)
    except OSError as error:
        raise UserError(f'--profile {profile}: {error.strerror}') from error
    except ValueError as error:
        raise UserError(f'--profile {profile}: not JSON: {error}') from error
    except PlanError as error:
        raise UserError(f'--profile {profile}: {error}') from error


#: What a layer costs, beside what the graph says of it; null: unknown.
_COSTS = ('memory_bytes', 'seconds', 'joules', 'joules_error', 'energy_kind', 'energy_source')


def document(model: Any, cuts: Any, rows: Sequence[LayerCost]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        'model': {'name': model.name, 'sha256': model.sha256},
        'layers': [
            {'index': layer.index, 'name': layer.name, 'operators': list(layer.operators),
             'output_bytes': layer.output_bytes, 'weight_bytes': layer.weight_bytes,
             **{key: plain[key] for key in _COSTS}}
            for layer, plain in zip(model.layers, (row.plain() for row in rows), strict=True)],
        'cuts': [
            {'index': cut.index, 'bytes': cut.bytes,
             'tensors': [{'name': tensor.name, 'dtype': tensor.dtype, 'shape': list(tensor.shape), 'bytes': tensor.bytes,
                          **({'example': True} if tensor.observed else {})} for tensor in cut.tensors]} for cut in cuts],
        **({'remark': model.remark} if model.remark else {}),
    }


def _print_tables(model: Any, cuts: Any, rows: Sequence[LayerCost]) -> None:
    from rich.markup import escape

    from edge_dnn_partition.cli.console import console as open_console

    print_layers(f'{model.name}  ·  sha256 {model.sha256[:12]}…', rows)
    console = open_console()
    for heading, names in (('input', model.inputs), ('output', model.outputs)):
        for name in names:
            tensor = model.tensors[name]
            example = ', for example: that size depends on the data' if tensor.observed else ''
            console.print(f'{heading}: {escape(name)} {"x".join(map(str, tensor.shape)) or "scalar"}, '
                          f'{readable_bytes(tensor.bytes)}{example}', highlight=False)
    varying = sorted({cut.index for cut in cuts if any(tensor.observed for tensor in cut.tensors)} - {len(model.layers)})
    if varying:
        console.print(f'Sizes at the cuts {", ".join(map(str, varying))} depend on the data: those shown are an example.',
                      highlight=False, soft_wrap=True)  # fmt: skip
    if model.remark:
        console.print(f"The author's operators are used as they are: {escape(model.remark)}", highlight=False, soft_wrap=True)

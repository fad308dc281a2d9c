# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition inspect``: a model's layers and the places where it can be cut."""

from __future__ import annotations

import argparse
import json
from typing import Any

from edge_dnn_partition.cli.model_arguments import (
    add_model_arguments,
    console_for_tables,
    load_given_model,
    readable_bytes,
)


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        'inspect', help='show the layers of an ONNX model and the cuts between them',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Show the layers of an ONNX model, and what would be sent at each cut between them.',
        epilog='example:\n  edge-dnn-partition inspect resnet50.onnx\n'
               '  edge-dnn-partition inspect detector.onnx --shape images=1x3x640x640 --json')
    add_model_arguments(parser)
    parser.add_argument('--json', action='store_true', help='print one JSON document instead of tables')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the layers and cuts of a model.

    :raises ModelError: the model cannot be used.
    """
    from edge_dnn_partition.graph.cuts import linear_cuts

    model = load_given_model(args)
    cuts = linear_cuts(model)
    if args.json:
        print(json.dumps(document(model, cuts)))
    else:
        _print_tables(model, cuts)
    return 0


def document(model: Any, cuts: Any) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        'model': {'name': model.name, 'sha256': model.sha256},
        'layers': [
            {'index': layer.index, 'name': layer.name, 'operators': list(layer.operators),
             'output_bytes': layer.output_bytes, 'weight_bytes': layer.weight_bytes} for layer in model.layers],
        'cuts': [
            {'index': cut.index, 'bytes': cut.bytes,
             'tensors': [{'name': tensor.name, 'dtype': tensor.dtype, 'shape': list(tensor.shape),
                          'bytes': tensor.bytes} for tensor in cut.tensors]} for cut in cuts],
    }


def _print_tables(model: Any, cuts: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    from edge_dnn_partition.graph.cuts import candidate_boundaries

    console = console_for_tables()
    candidates = set(candidate_boundaries(model))
    table = Table(title=f'{escape(model.name)}  ·  sha256 {model.sha256[:12]}…', title_justify='left')
    for heading, justify in (('layer', 'right'), ('name', 'left'), ('operators', 'left'), ('weights', 'right'),
                             ('cut after it', 'right'), ('tensors', 'right'), ('sent there', 'right')):
        table.add_column(heading, justify=justify, overflow='fold')  # type: ignore[arg-type]
    for layer, cut in zip(model.layers, cuts[1:], strict=True):
        table.add_row(
            str(layer.index), escape(layer.name), ' '.join(layer.operators), readable_bytes(layer.weight_bytes),
            str(cut.index), str(len(cut.tensors)), readable_bytes(cut.bytes),
            style='bold' if cut.index in candidates else None)
    console.print(table)
    for heading, names in (('inputs', model.inputs), ('outputs', model.outputs)):
        for name in names:
            tensor = model.tensors[name]
            console.print(f'{heading[:-1]}: {escape(name)} {"x".join(map(str, tensor.shape)) or "scalar"}, '
                          f'{readable_bytes(tensor.bytes)}', highlight=False)
    console.print(f'{len(model.layers)} layers, {readable_bytes(sum(layer.weight_bytes for layer in model.layers))} '
                  'of weights. Bold: the cuts that plans choose from.', highlight=False)

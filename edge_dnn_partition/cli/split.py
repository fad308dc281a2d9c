# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition split``: the stages between given cuts, as ONNX files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edge_dnn_partition.cli.model_view import (
    add_model_arguments,
    load_given_model,
    readable_bytes,
)
from edge_dnn_partition.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        'split',
        description="Write the stages of an ONNX model between given cuts ('inspect' lists them), and a manifest.",
        epilog='example:\n  edge-dnn-partition split resnet50.onnx --cut 12 --cut 40 --out stages --verify',
    )
    add_model_arguments(parser)
    parser.add_argument('--cut', action='append', type=int, required=True, metavar='I',
                        help='cut after the first I layers; once per cut, in ascending order')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the stages')
    parser.add_argument('--verify', action='store_true',
                        help='run the stages and the original on seeded random inputs and compare')
    parser.add_argument('--json', action='store_true',
                        help='print one JSON document: the manifest with full paths, and the verification')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the stages; 1 if they were to be verified and differ.

    The manifest's paths are relative to its folder, so that the folder can be copied.

    :raises ModelError: the model cannot be used, or a cut does not exist.
    """
    from edge_dnn_partition.cache import write_atomic
    from edge_dnn_partition.graph.stages import extract_stages

    model = load_given_model(args)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        stages = extract_stages(model, args.cut, args.out)
        manifest: dict[str, Any] = {'stages': [
            {'path': stage.path.name, 'inputs': list(stage.inputs), 'outputs': list(stage.outputs)}
            for stage in stages]}
        write_atomic(args.out / 'manifest.json', (json.dumps(manifest, indent=2) + '\n').encode())
    except OSError as error:
        raise UserError(f'the stages cannot be written to {args.out}: {error.strerror}; '
                        'choose another folder with --out') from None
    folder = args.out.resolve()
    answer: dict[str, Any] = {
        'stages': [stage | {'path': str(folder / stage['path'])} for stage in manifest['stages']],
        'manifest': str(folder / 'manifest.json')}
    passed = True
    if args.verify:
        from edge_dnn_partition.graph.verify import verify_stages

        found = verify_stages(model, stages)
        passed = found.passed
        answer['verification'] = {
            'passed': found.passed, 'bit_exact': found.exact, 'tolerance': found.tolerance,
            'outputs': [{'name': output.name, 'bit_exact': output.exact, 'max_abs_difference': output.largest_absolute,
                         'relative_difference': output.relative} for output in found.outputs]}
    if args.json:
        print(json.dumps(answer))
    else:
        _print_tables(model, stages, answer)
    if not passed:
        print('error: the stages do not compute what the model does; please report this with the model',
              file=sys.stderr)
    return 0 if passed else 1


def _print_tables(model: Any, stages: Any, answer: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from edge_dnn_partition.cli.console import console as open_console

    console = open_console()
    table = Table(title=f'{escape(model.name)} in {len(stages)} stages', title_justify='left')
    for heading in ('stage', 'file', 'size', 'reads', 'makes'):
        table.add_column(heading, overflow='fold')
    for number, stage in enumerate(stages):
        size = sum(file.stat().st_size for file in (stage.path, stage.path.with_name(stage.path.name + '.data'))
                   if file.exists())
        table.add_row(str(number), escape(str(stage.path)), readable_bytes(size),
                      *('\n'.join(_tensor(model, name) for name in names) for names in (stage.inputs, stage.outputs)))
    console.print(table)
    verification = answer.get('verification')
    if verification is None:
        return
    for output in verification['outputs']:
        verdict = 'bit for bit equal' if output['bit_exact'] else (
            f'largest difference {output["max_abs_difference"]:.3g}, relative {output["relative_difference"]:.3g}')
        console.print(f'{escape(output["name"])}: {verdict}', highlight=False)


def _tensor(model: Any, name: str) -> str:
    from rich.markup import escape

    tensor = model.tensors[name]
    return escape(f'{name} {"x".join(map(str, tensor.shape)) or "scalar"} ({readable_bytes(tensor.bytes)})')

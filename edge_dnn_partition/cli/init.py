# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition init``: writes a fleet file and what it needs from what a model says of itself."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from edge_dnn_partition.errors import UserError

EPILOG = """
examples:
  edge-dnn-partition init model.onnx                          two devices, played on this machine
  edge-dnn-partition init model.onnx --device pi --device jetson --out robot
  edge-dnn-partition init resnet-50/ --images photos          a folder as Hugging Face has it

Reads what ultralytics, Hugging Face, timm and PaddleOCR write into or beside a model, and guesses the rest, with a comment.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'init', description='Write the fleet file, preprocessing and labels of a model, with comments; say what is not known.',
        epilog=EPILOG,
    )  # fmt: skip
    parser.add_argument('model', type=Path, metavar='MODEL', help='the ONNX file, or a folder that has it')
    parser.add_argument('--device', action='append', default=[], metavar='NAME', help='a device; first the one with the camera')
    parser.add_argument('--out', type=Path, default=Path(), metavar='DIR', help='the folder to write to (default: this one)')
    parser.add_argument('--fleet', default='robot', metavar='NAME', help="the fleet's name, and that of its file (default: robot)")
    parser.add_argument('--images', type=Path, metavar='DIR', help='a folder of images in place of a camera')
    parser.add_argument('--force', action='store_true', help='overwrite files')
    parser.add_argument('--json', action='store_true', help='print one JSON document')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files and say what is known, guessed and not known.

    :raises UserError: the model cannot be read, a name is illegal, or a file is there already.
    """
    from edge_dnn_partition.cli.init_files import Wanted, write_files
    from edge_dnn_partition.graph.metadata.ends import read_ends
    from edge_dnn_partition.graph.metadata.read import read_facts
    from edge_dnn_partition.graph.metadata.sidecars import model_file
    from edge_dnn_partition.planning.fleet.fleet import parse_fleet

    names = tuple(args.device)
    if twice := next((name for name in names if names.count(name) > 1), ''):
        raise UserError(f'--device {twice} is given twice; name each device once')
    devices: dict[str, Any] = {name: {} for name in names or ('pi',)}
    parse_fleet({'fleet': args.fleet, 'source': next(iter(devices)), 'devices': devices}, what='init')  # are the names legal?
    model = model_file(args.model)
    ends = read_ends(model)
    facts = read_facts(ends)
    wanted = Wanted(args.fleet, _from(model, args.out), names, '' if args.images is None else _from(args.images, args.out))
    made = write_files(ends, facts, wanted)
    present = [name for name in made.files if (args.out / name).exists()]
    if present and not args.force:
        raise UserError(f'{args.out / present[0]} is there already; overwrite with --force, or choose another folder with --out')
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, text in made.files.items():
            (args.out / name).write_text(text, encoding='utf-8')
    except OSError as error:
        raise UserError(f'{args.out} cannot be written ({error.strerror}); choose another folder with --out') from error
    source = None if facts is None else facts.source
    files = [str(args.out / name) for name in made.files]
    if args.json:
        print(json.dumps({'files': files, 'source': source, 'guesses': made.guesses, 'unknown': made.unknown}))
        return 0
    print(f'read: {source or "the shapes of inputs and outputs; no file says more"}')
    for title, lines in (('wrote', files), ('guessed', made.guesses), ('not known', made.unknown)):
        for line in lines:
            print(f'{title}: {line}')
    print(f'next: edge-dnn-partition doctor --fleet {args.out / args.fleet}.yaml')
    return 0


def _from(path: Path, folder: Path) -> str:
    """Return a path as a file in a folder names it: relative if it lies in that folder, so that the folder can be copied."""
    path, folder = path.resolve(), folder.resolve()
    return os.path.relpath(path, folder) if path.is_relative_to(folder) else str(path)

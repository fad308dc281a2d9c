# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the verbs that take a model have in common."""

from __future__ import annotations

import argparse
from typing import Any, Final

_ZOO: Final = 'zoo:'


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and ``--shape``."""
    parser.add_argument('model', metavar='MODEL.onnx', help='the ONNX file; zoo:NAME is a network of the zoo, such as zoo:vit_b16')
    parser.add_argument('--shape', action='append', default=[], metavar='NAME=1x3x224x224',
                        help='the shape of an input that the file leaves open; once per input')


def load_given_model(args: argparse.Namespace) -> Any:
    """Load the model that was named on the command line.

    :raises ModelError: the model cannot be used, or a shape is malformed or missing.
    """
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.graph.shapes import parse_shapes

    path = args.model
    if path.startswith(_ZOO):
        from edge_dnn_partition.graph.zoo import model_path

        path = model_path(path.removeprefix(_ZOO))
    return load_model(path, shapes=parse_shapes(args.shape))


def readable_bytes(count: int) -> str:
    """Return a size for people, in binary units."""
    size = float(count)
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if size < 1024 or unit == 'GiB':
            return f'{size:.0f} {unit}' if unit == 'B' else f'{size:.1f} {unit}'
        size /= 1024
    raise AssertionError


def console_for_tables() -> Any:
    """Return a console as wide as the terminal, and wide enough for whole names where there is none."""
    import sys

    from edge_dnn_partition.cli.console import console

    return console(width=None if sys.stdout.isatty() else 160)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The README's table of parameters is what the nodes declare."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

README = Path(__file__).parents[2] / 'README.md'


def row(node, parameter):
    if parameter.choices:
        limits = ', '.join(f'`{choice}`' if choice else '(empty)' for choice in parameter.choices)
    elif parameter.minimum is not None:
        limits = f'{parameter.minimum:g} … {parameter.maximum:g}'
    else:
        limits = ''
    what = parameter.description + (' (at the start only)' if parameter.read_only else '')
    return f'| `{node}` | `{parameter.name}` | `{parameter.default!r}` | {limits} | {what} |'


@pytest.mark.parametrize('node', ['device_monitor', 'worker', 'scheduler', 'frame_source', 'dashboard', 'visualisation'])
def test_table(node):
    declared = importlib.import_module(f'edge_dnn_partition.nodes.{node}').PARAMETERS
    written = [line for line in README.read_text().splitlines() if line.startswith(f'| `{node}` | `')]
    assert written == [row(node, parameter) for parameter in declared]

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts a node, or several in one process: ``python -m edge_dnn_partition.nodes worker --ros-args -r __ns:=/demo/pi``.

Signals are held back from the first line on, through the replacement of the process by
itself that the linker's variables may need (a signal mask survives it) and the imports
that take most of a start: a signal that comes meanwhile ends the process with code 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.nodes.core import signals

NAMES = ('device_monitor', 'worker', 'scheduler', 'frame_source', 'dashboard', 'visualisation', 'router')


def main(name: str | None = None) -> int:
    """Run the node ``name``, and those that the command line names first, and end the process with them.

    Return the exit code if there is no such node.

    Each node is a module of this package with its class as ``NODE``.
    """
    signals.hold()
    os.environ.setdefault('OMP_NUM_THREADS', '1')  # numpy's own threads would be in the way of the model's
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    signals.install()
    arguments = sys.argv[1:]
    names = [] if name is None else [name]
    while arguments and arguments[0] in NAMES:
        names.append(arguments.pop(0))
    if not names:
        sys.stderr.write(f'error: name a node first: one of {", ".join(NAMES)}\n')
        return 2
    def load() -> list[Any]:
        try:
            return [import_module(f'edge_dnn_partition.nodes.{name}').NODE for name in names]
        except ModuleNotFoundError as error:
            raise UserError(_missing(names, error)) from error

    try:
        from edge_dnn_partition.nodes.core.process import run_nodes
    except ModuleNotFoundError as error:
        sys.stderr.write(f'error: {_missing(names, error)}\n')
        return 2
    return signals.leave(run_nodes(load, arguments))


def _missing(names: Sequence[str], error: ModuleNotFoundError) -> str:
    return (
        f'{" and ".join(names)} needs the Python module {error.name}: run make setup, or source ROS 2 and the workspace that this '
        'package was built in, and start it from another folder than a checkout'
    )


if __name__ == '__main__':
    sys.exit(main())

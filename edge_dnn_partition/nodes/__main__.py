# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts a node: ``python -m edge_dnn_partition.nodes worker --ros-args -r __ns:=/demo/pi``.

The signal handlers come before the imports, which take most of a start: a signal
that comes meanwhile is kept, and the process ends with code 0.
"""

from __future__ import annotations

import sys

from . import signals

NAMES = ('device_monitor', 'worker', 'scheduler', 'frame_source')


def main(name: str | None = None) -> int:
    """Run the node ``name``, or the one that the command line names first; return the exit code.

    Each node is a module of this package with ``main(args)``.
    """
    signals.install()
    arguments = sys.argv[1:]
    if name is None:
        if not arguments or arguments[0] not in NAMES:
            print(f'error: name a node first: one of {", ".join(NAMES)}', file=sys.stderr)
            return 2
        name = arguments.pop(0)
    from importlib import import_module

    try:
        module = import_module(f'{__package__}.{name}')
    except ModuleNotFoundError as error:
        print(
            f'error: {name} needs {error.name}; source ROS 2, or run make setup', file=sys.stderr
        )
        return 2
    return int(module.main(arguments))


if __name__ == '__main__':
    sys.exit(main())

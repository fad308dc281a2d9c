# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts a node: ``python -m edge_dnn_partition.nodes worker --ros-args -r __ns:=/demo/pi``.

Signals are held back from the first line on, through the replacement of the process by
itself that the linker's variables may need (a signal mask survives it) and the imports
that take most of a start: a signal that comes meanwhile ends the process with code 0.
"""

from __future__ import annotations

import sys

from edge_dnn_partition.nodes.core import signals

NAMES = ('device_monitor', 'worker', 'scheduler', 'frame_source', 'dashboard', 'visualisation')


def main(name: str | None = None) -> int:
    """Run the node ``name``, or the one that the command line names first, and end the process with it.

    Return the exit code if there is no such node.

    Each node is a module of this package with ``main(args)``.
    """
    signals.hold()
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    signals.install()
    arguments = sys.argv[1:]
    if name is None:
        if not arguments or arguments[0] not in NAMES:
            sys.stderr.write(f'error: name a node first: one of {", ".join(NAMES)}\n')
            return 2
        name = arguments.pop(0)
    from importlib import import_module

    try:
        module = import_module(f'edge_dnn_partition.nodes.{name}')
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f'error: {name} needs the Python module {error.name}: run make setup, or source ROS 2 and the '
            'workspace that this package was built in, and start it from another folder than a checkout\n'
        )
        return 2
    return signals.leave(int(module.main(arguments)))


if __name__ == '__main__':
    sys.exit(main())

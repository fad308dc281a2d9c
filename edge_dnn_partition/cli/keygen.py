# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The verb ``keygen``: makes a fleet's key."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EPILOG = """
examples:
  edge-dnn-partition keygen fleet.key

Copy the key to every device and name it in the fleet file: security: {key_file: fleet.key}
See docs/security.md for what a key does and what it does not.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'keygen',
        help="make a fleet's key",
        description="Make a fleet's key: 32 random bytes in a file that its owner alone may read; none is overwritten.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('file', nargs='?', type=Path, default=Path('fleet.key'), metavar='FILE', help='default: fleet.key')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a key."""
    from edge_dnn_partition.runtime.deployment.fleet_key import write_key

    write_key(args.file)
    print(f'wrote {args.file}; copy it to every device, and name it in the fleet file: security: {{key_file: {args.file.name}}}')
    return 0

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The option ``--fleet-name`` of the verbs that have to do with a running fleet."""

from __future__ import annotations

import argparse
import os

from edge_dnn_partition.nodes.core.topics import NAME_VARIABLE


def add_fleet_name(parser: argparse.ArgumentParser) -> None:
    """Add the option; the environment's name is its default."""
    parser.add_argument(
        '--fleet-name', default=os.environ.get(NAME_VARIABLE, ''), metavar='NAME', type=lambda given: given.strip('/'),
        help=f'call the fleet NAME instead of what its file says: many robots have one file (default: ${NAME_VARIABLE})',
    )  # fmt: skip

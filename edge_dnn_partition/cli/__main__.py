# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Makes ``python -m edge_dnn_partition.cli`` work."""

import sys

from .main import main

if __name__ == '__main__':
    sys.exit(main())

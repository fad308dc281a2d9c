# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Lets the tests of results import what they share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # synthetic_heads.py

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the planning problem share: the helpers in pipelines.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the runtime share: the fleet in protocol_fleet.py, and outbox_drain.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # protocol_fleet.py, outbox_drain.py

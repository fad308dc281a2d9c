# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a scheduler makes of what the fleet says: the planning problem, when to decide, the switch of plans, a replay."""

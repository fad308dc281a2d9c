# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How stages run and frames end exactly once; no ROS."""

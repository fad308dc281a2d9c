# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the fleet is like and where the split goes next; no ROS, time passed in."""

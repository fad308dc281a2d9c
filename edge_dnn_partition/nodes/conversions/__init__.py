# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""ROS messages to the project's own types and back, and plans as messages on disk."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the fleet is like: host telemetry, link and compute estimates."""

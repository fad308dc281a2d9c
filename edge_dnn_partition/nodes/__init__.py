# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The only code that imports rclpy: device_monitor, worker, scheduler, frame_source."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Splits ONNX models across the devices of a robot or fleet, live, over ROS 2."""

__version__ = '0.1.0'

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Splits ONNX models across the devices of a robot or fleet, live, over ROS 2."""

import os

__version__ = '0.2.0'

# onnxruntime 1.29 and later send telemetry by default, and keep a database of it in the user's home, unless this is set when they
# are imported; this module is always imported before. Who wants it sets 0.
if not os.environ.get('ORT_DISABLE_TELEMETRY'):
    os.environ['ORT_DISABLE_TELEMETRY'] = '1'

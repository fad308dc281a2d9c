# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a user's own node imports; needs ROS."""

from edge_dnn_partition.monitoring.missed_results import MissedResults
from edge_dnn_partition.nodes.clients.inference_client import InferenceClient
from edge_dnn_partition.nodes.conversions.inference_messages import (
    InferenceError,
    InferenceExpiredError,
    InferenceFailedError,
    InferenceLostError,
    InferenceRefusedError,
    InferenceResult,
    InferenceTimeoutError,
)

__all__ = [
    'InferenceClient', 'InferenceError', 'InferenceExpiredError', 'InferenceFailedError', 'InferenceLostError',
    'InferenceRefusedError', 'InferenceResult', 'InferenceTimeoutError', 'MissedResults',
]  # fmt: skip

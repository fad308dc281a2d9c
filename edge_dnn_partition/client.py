# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a user's own node imports; needs ROS."""

from edge_dnn_partition.nodes.clients.inference_client import InferenceClient
from edge_dnn_partition.nodes.messages.inference_messages import (
    InferenceError,
    InferenceExpiredError,
    InferenceLostError,
    InferenceRefusedError,
    InferenceResult,
    InferenceTimeoutError,
)

__all__ = [
    'InferenceClient', 'InferenceError', 'InferenceExpiredError', 'InferenceLostError', 'InferenceRefusedError',
    'InferenceResult', 'InferenceTimeoutError',
]  # fmt: skip

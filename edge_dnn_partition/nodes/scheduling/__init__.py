# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's parts: policy, encodings, switch of plans, services, diagnostics, explanations."""

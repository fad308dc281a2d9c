# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's parts: it prepares stages, runs them, profiles its device and counts its energy."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Power: meters, a model where there is none, and whose energy it was."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a model's file, and the files that its exporter put beside it, say of its inputs and outputs."""

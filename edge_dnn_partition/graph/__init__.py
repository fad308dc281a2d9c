# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a model is: ONNX to layers, cuts, and stages as ONNX sub-graphs; the model zoo."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From an image to what a model says of it: preprocessing, a stage's onnxruntime session, postprocessing."""

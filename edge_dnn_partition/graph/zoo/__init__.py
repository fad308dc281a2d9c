# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Well-known networks from code: seeded, exported by torch, cached; nothing is downloaded."""

from edge_dnn_partition.graph.zoo.catalog import model_path, names, small_names

__all__ = ['model_path', 'names', 'small_names']

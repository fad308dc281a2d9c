# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem on bare costs, and what an assignment of nodes to devices costs."""

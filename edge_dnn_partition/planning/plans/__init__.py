# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A plan, and what it is made of: profiles, placements, encodings."""

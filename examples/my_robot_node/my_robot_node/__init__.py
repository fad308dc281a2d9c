# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A node of one's own that asks a fleet what it sees on an image."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of a fleet, from its file and from what its devices say, and the planning problem that follows."""

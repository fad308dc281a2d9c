# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What asks or watches a running fleet from outside: a user's own node, the command line, the doctor."""

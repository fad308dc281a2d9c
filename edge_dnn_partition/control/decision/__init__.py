# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When to move to another plan, and to which: the decision, the policies, what they learn, and why, in words."""

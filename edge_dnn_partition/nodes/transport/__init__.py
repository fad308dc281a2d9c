# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Both ends of a hop over DDS: the sender, the inbox, and what is known of the links."""

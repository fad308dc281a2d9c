# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What one can see of a running fleet: health, the stream, its shape in space, who is on the network."""

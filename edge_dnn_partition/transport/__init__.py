# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How tensors travel: buffers, encodings, fragments, outbox and assembler, shared memory, what a link shows."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What layers, stages and encodings take on this device in seconds, joules and bytes, measured."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a device tells of itself, one source a file, each given the root of proc and sysfs."""

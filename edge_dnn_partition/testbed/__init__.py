# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet on one machine: dilated devices and shaped links in user space."""

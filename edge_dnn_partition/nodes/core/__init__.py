# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What every node stands on: lifecycle, process and signals, executor, parameters, names and quality of service."""

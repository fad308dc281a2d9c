# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks that `edge-dnn-partition bench NAME` runs, one bench_NAME.py each."""

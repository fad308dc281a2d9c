# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a stage runs: engine, tensor pieces, frame ledger, plan switch."""

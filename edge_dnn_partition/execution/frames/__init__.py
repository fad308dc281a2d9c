# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The way of each frame: admission, plans by version, stages that can run, the ledger, hedges and shadow frames."""

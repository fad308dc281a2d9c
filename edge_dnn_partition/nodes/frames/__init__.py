# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's parts: camera, sending and sending again, hedges, shadow frames, the service `infer`, results."""

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory a layer needs while it runs: its weights, and the tensors that are alive then."""

from __future__ import annotations

from edge_dnn_partition.graph.cuts import linear_cuts
from edge_dnn_partition.graph.model import Model


def memory_bytes(model: Model) -> tuple[int, ...]:
    """Return per layer the bytes of its weights, of what is alive before it, and of what it makes.

    Along the model's topological order, without what a kernel takes to work in, and without buffers that a runtime
    lets two tensors share.
    """
    return tuple(layer.weight_bytes + cut.bytes + layer.output_bytes
                 for layer, cut in zip(model.layers, linear_cuts(model), strict=False))  # fmt: skip

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs of a model's stages, one after another, so that each runs on what the stages before it computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_dnn_partition.execution.stages.engine import Engine

Arrays = dict[str, np.ndarray[Any, Any]]


class StageInputs:
    """The tensors that are known so far; the model's own inputs are made up, with a seed."""

    def __init__(self) -> None:
        self._values: Arrays = {}
        self._random = np.random.default_rng(0)

    def feeds(self, engine: Engine) -> Arrays:
        """Return what a stage reads: computed, or made up as normal values, or ones where a value may be an index."""
        for name, ones in engine.made_up_feeds().items():
            if name not in self._values:
                floats = np.issubdtype(ones.dtype, np.floating)
                self._values[name] = self._random.standard_normal(ones.shape).astype(ones.dtype) if floats else ones
        return {tensor.name: self._values[tensor.name] for tensor in engine.inputs}

    def compute(self, engine: Engine) -> None:
        """Run a stage once and keep what it makes."""
        self._values |= engine.try_out(self.feeds(engine))

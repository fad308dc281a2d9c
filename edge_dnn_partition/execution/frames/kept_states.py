# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The state that a device's stages made of the last frames, by the run that made it (docs/state.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import NotReadyError
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.states import carried
from edge_dnn_partition.transport.fragments import Address

Array = NDArray[Any]


def without_values(array: Array) -> Array:
    """Return what says that a state was made and is kept where it was made; a scalar is sent as it is."""
    return np.empty((0,) * array.ndim, array.dtype)


@dataclass
class KeptStates:
    """The state of the newest run, and of the one that it began with. Not thread safe.

    A run names the one that it follows, so nothing that is kept can be taken for another frame's: where it is gone, the source
    sends it. Of the runs before the one that is followed none is asked for again.

    :param model: with its states.
    """

    model: Model
    _kept: dict[int, dict[str, Array]] = field(default_factory=dict)
    _newest: int = 0

    @property
    def outputs(self) -> frozenset[str]:
        """The outputs of the model that are state."""
        return frozenset(self.model.states.values())

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the inputs among some that are state."""
        return tuple(name for name in names if name in self.model.states)

    def after(self, run: int, names: Iterable[str]) -> dict[str, Array]:
        """Return what a run has made of some states.

        :param names: of inputs.
        :raises NotReadyError: if one is not here.
        """
        kept = self._kept.get(run, {})
        try:
            return {name: kept[name] for name in names}
        except KeyError as missing:
            raise NotReadyError(f'the state {missing} after run {run} is not here') from None

    def keep(self, address: Address, outputs: Mapping[str, Array]) -> None:
        """Take in what a stage made; other runs than this and the one before it are let go."""
        made = {name: output for name, output in self.model.states.items() if output in outputs}
        if not made or not address.run or (address.after and address.run < self._newest):
            return
        self._newest = address.run
        self._kept = {run: states for run, states in self._kept.items() if run in (address.after, address.run)}
        kept = self._kept.setdefault(address.run, {})
        for name, output in made.items():
            kept[name] = carried(outputs[output], self.model.tensors[name].shape)

    def clear(self) -> None:
        """Let all go."""
        self._kept.clear()

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The kind ``action_chunk``: a policy's output becomes the actions of a robot's joints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.schema import Seconds, Strict, check

from .actions import Actions
from .postprocess import Arrays, Prediction, output_named

KIND: Final = 'action_chunk'


class Options(Strict):
    """Its keys in the fleet file.

    :param joints: names, in the order of the output's last axis.
    :param actions_per_second: of the output.
    :param blend: how long a chunk takes to replace the one before it.
    :param output: the output's name; empty: the first one. ``[1, steps, joints]`` or ``[steps, joints]``.
    :param mean: of each joint, and ``std``: a position is ``output * std + mean``; empty: the output holds positions.
    """

    joints: tuple[str, ...] = Field(min_length=1)
    actions_per_second: float = Field(gt=0)
    blend: Seconds = 0.3
    output: str = ''
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class ActionChunk:
    """Actions of a robot's joints."""

    topics: ClassVar[tuple[str, ...]] = ('actions',)

    options: Options
    kind: str = KIND

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:  # noqa: ARG002
        """Return the chunk.

        :raises UserError: if the output is no list of actions of these joints, or holds what is not a number.
        """
        options = self.options
        values = np.asarray(output_named(outputs, options.output), np.float64)
        if values.ndim == 3 and values.shape[0] == 1:
            values = values[0]
        if values.ndim != 2 or not len(values):
            raise UserError(
                f'postprocessing: an output of shape {list(values.shape)} is no chunk of actions [1, steps, joints]; '
                'name another output'
            )
        if values.shape[1] != len(options.joints):
            raise UserError(
                f'postprocessing: joints: {len(options.joints)} names for actions of {values.shape[1]} values; '
                "name all of them, in the output's order"
            )
        if options.std:
            values = values * options.std
        if options.mean:
            values = values + options.mean
        if not np.isfinite(values).all():
            raise UserError('postprocessing: the actions hold NaN or infinity, so none is published; look at the inputs')
        return Prediction(self.kind, actions=Actions(options.joints, values, 1 / options.actions_per_second, options.blend))


def action_chunk(values: Mapping[str, Any], _base: Path) -> ActionChunk:
    """Return an `ActionChunk`; see `postprocess.Factory`."""
    options = check(Options, values, what='postprocessing')
    for name in ('mean', 'std'):
        given = getattr(options, name)
        if given and len(given) != len(options.joints):
            raise UserError(f'postprocessing: {name}: {len(given)} numbers for {len(options.joints)} joints; give one of each')
    if len(set(options.joints)) != len(options.joints):
        raise UserError('postprocessing: joints: a name is there twice; each joint has its own')
    return ActionChunk(options)

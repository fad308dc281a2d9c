# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Stages of a model as files that are cut out once and used again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from edge_dnn_partition import __version__
from edge_dnn_partition.cache import needed, places
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.stages import StageFile, extract_stage, stage_boundary

from .optimised import prune

_LIMIT_BYTES: Final = 4 << 30
_EMBED_AT_MOST: Final = 1 << 20
"""Weights beside the file are mapped, not read, which is less memory and time where a stage is cut out, optimised and loaded."""


def stage_file(model: Model, layers: Collection[int]) -> StageFile:
    """Return the file of a stage, which is extracted if it is missing.

    :param model: the prepared model.
    :param layers: the stage's layers, a convex set.
    :raises ModelError: if they are no stage of the model.
    """
    inputs, outputs = stage_boundary(model, layers)


    def extract(path: Path) -> None:
        extract_stage(model, layers, path, embed_at_most=_EMBED_AT_MOST)

    path = needed(extract, 'stages', f'{model.key[:16]}-{__version__}', f'{_name(layers)}.onnx')
    with contextlib.suppress(OSError):
        os.utime(path)
    return StageFile(path, tuple(inputs), tuple(outputs))


def limit_stage_cache() -> None:
    """Delete the stages used longest ago from all models once they take more than 4 GiB."""
    for folder in places('stages'):
        prune(folder, _LIMIT_BYTES)


def _name(layers: Collection[int]) -> str:
    ordered = sorted(layers)
    if ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f'{ordered[0]}-{ordered[-1] + 1}'
    return hashlib.sha256(','.join(map(str, ordered)).encode()).hexdigest()[:16]

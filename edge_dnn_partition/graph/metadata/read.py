# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the readers in turn what a model says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edge_dnn_partition.graph.metadata import hugging_face, paddle, timm, ultralytics

from .ends import Ends
from .facts import Facts

READERS: Final[tuple[Callable[[Ends], Facts | None], ...]] = (ultralytics.read, paddle.read, timm.read, hugging_face.read)


def read_facts(ends: Ends) -> Facts | None:
    """Return what the first source says that knows the model; None if none does.

    :raises UserError: if a file that belongs to the model cannot be read.
    """
    return next((found for read in READERS if (found := read(ends)) is not None), None)

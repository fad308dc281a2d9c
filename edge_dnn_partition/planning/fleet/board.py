# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Boards modelled from published measurements: seconds of each layer by the kind of its work.

One slowdown for a whole board is not enough: a Raspberry Pi 4 is 6.4 times slower than a Jetson AGX Xavier's CPU on ResNet-50, 4.9
times on MobileNetV2, and two orders slower than its GPU. Each file in ``boards/`` names the rows that its rates reproduce.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from pydantic import Field

from edge_dnn_partition.errors import PlanError, nearest
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.work import Work, layer_work
from edge_dnn_partition.schema import Seconds, Strict, Watts, check
from edge_dnn_partition.yaml_file import read_yaml

_FOLDER: Final = Path(__file__).parent / 'boards'


class Row(Strict):
    """A published measurement of a whole model, which the rates reproduce; watts at the wall, where they were taken."""

    path: str
    model: str
    milliseconds: float = Field(gt=0)
    watts: float | None = Field(default=None, gt=0)


class Rates(Strict):
    """Multiply-adds per second by kind: convolutions over several pixels, over one (and matrix products), and per channel."""

    dense: float = Field(gt=0)
    pointwise: float = Field(gt=0)
    depthwise: float = Field(gt=0)


class BoardPower(Strict):
    """Watts at rest (0 where no source separates them) and what computing adds."""

    idle: Watts = 0.0
    active: Watts


class Board(Strict):
    """A board's file. ``other_slowdown``, over a core of this machine, is for images and encodings."""

    what: str
    source: str
    rows: tuple[Row, ...]
    multiply_adds_per_second: Rates
    elements_per_second: float = Field(gt=0)
    layer_overhead: Seconds
    other_slowdown: float = Field(ge=1)
    power: BoardPower

    def seconds(self, work: Work) -> float:
        """Return the seconds of some work; an activation function is part of the convolution before it."""
        rates = self.multiply_adds_per_second
        return (
            work.dense / rates.dense + work.pointwise / rates.pointwise + work.depthwise / rates.depthwise
            + work.elements / self.elements_per_second + work.products * self.layer_overhead
        )  # fmt: skip

    def layer_seconds(self, model: Model) -> tuple[float, ...]:
        """Return the seconds of each layer of a model."""
        return tuple(self.seconds(work) for work in layer_work(model))


def board_names() -> tuple[str, ...]:
    """Return the names of the known boards."""
    return tuple(sorted(path.stem for path in _FOLDER.glob('*.yaml')))


@functools.cache
def board(name: str) -> Board:
    """Return a board by its name.

    :raises PlanError: if it is unknown.
    """
    if name not in board_names():
        raise PlanError(f'there is no board {name!r}{nearest(name, board_names())}; there are {", ".join(board_names())}')
    path = _FOLDER / f'{name}.yaml'
    return check(Board, read_yaml(path, kind='board file'), what=str(path))

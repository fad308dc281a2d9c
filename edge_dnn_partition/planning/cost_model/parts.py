# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a planning problem: devices, links and tensors, all of whose figures are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_dnn_partition.errors import PlanError

INPUT: Final = -1
"""The producer of a model's inputs: they lie on the source."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """The costs of a device, apart from the seconds of each node.

    ``encode_*`` and ``decode_*`` are spent on the sender and on the reader of a
    transfer: they add to the latency and to the device's compute seconds.

    :param deviation: standard deviation of the logarithm of its seconds, from frame to frame.
    :raises PlanError: if a figure is unknown (NaN); solvers cannot compare it.
    """

    name: str
    active_watts: float = 0.0
    idle_watts: float = 0.0
    radio_watts: float = 0.0
    energy_weight: float = 1.0
    memory_bytes: float = float('inf')
    encode_seconds: float = 0.0
    encode_seconds_per_byte: float = 0.0
    decode_seconds: float = 0.0
    decode_seconds_per_byte: float = 0.0
    deviation: float = 0.0

    def __post_init__(self) -> None:
        refuse_unknown(f'device {self.name}', vars(self))


@dataclass(frozen=True, kw_only=True)
class Link:
    """A one-way link; links with the same ``channel`` share the air. For ``deviation`` see `Device`."""

    sender: str
    reader: str
    bytes_per_second: float
    latency_seconds: float = 0.0
    channel: str | None = None
    deviation: float = 0.0

    def __post_init__(self) -> None:
        refuse_unknown(f'link from {self.sender} to {self.reader}', vars(self))


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor: who writes it (``INPUT``: it lies on the source) and who reads it.

    ``readers`` are distinct node indices above ``producer``, in rising order.
    """

    name: str
    producer: int
    readers: tuple[int, ...]
    bytes: float
    at_sink: bool = False


def refuse_unknown(what: str, figures: Mapping[str, Any]) -> None:
    """Refuse unknown figures, which solvers cannot compare.

    :raises PlanError: if one is NaN.
    """
    for name, figure in figures.items():
        if figure != figure:  # noqa: PLR0124 (NaN alone)
            raise PlanError(f'{what}: {name} is unknown; give or measure it before planning')

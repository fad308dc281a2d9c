# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of numbers by transfer: what encodings make of bytes and seconds between each two devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

    from .problem import Floats, Ints


@dataclass(frozen=True, eq=False)
class ByTransfer:
    """Numbers ``(tensors, devices, devices)``; a thousand devices have a million pairs, and few links.

    It is indexed as the whole array would be, by tensor, sender and reader.

    :param column: ``(devices, devices)``: where in ``values`` a pair is.
    :param values: ``(tensors, columns)``, of which the last holds for all pairs between which nothing is sent.
    """

    column: Ints
    values: np.ndarray

    @classmethod
    def of(cls, whole: np.ndarray) -> Self:
        """Return the table of a whole array."""
        tensors, devices, _ = whole.shape
        return cls(np.arange(devices * devices).reshape(devices, devices), whole.reshape(tensors, -1))

    def __getitem__(self, place: tuple[Any, Any, Any]) -> np.ndarray:
        """Return the numbers of some transfers, of the shape that the three indices broadcast to."""
        tensor, sender, reader = place
        found: np.ndarray = self.values[tensor, self.column[sender, reader]]
        return found

    def whole(self, tensor: int | slice = slice(None)) -> np.ndarray:
        """Return the numbers of a tensor ``(devices, devices)``, or of some ``(tensors, devices, devices)``."""
        found: np.ndarray = self.values[tensor][..., self.column]
        return found

    def holding(self, values: np.ndarray) -> ByTransfer:
        """Return other numbers for the same pairs, ``(tensors, columns)``."""
        return ByTransfer(self.column, values)

    def among(self, devices: Ints) -> ByTransfer:
        """Return the table of some devices alone, given by their indices."""
        last = self.values.shape[1] - 1
        column = self.column[np.ix_(devices, devices)]
        there = column < last
        kept = column[there]
        fewer = np.full(column.shape, len(kept), dtype=np.int64)
        fewer[there] = np.arange(len(kept))
        return ByTransfer(fewer, self.values[:, [*kept.tolist(), last]])

    @cached_property
    def ends(self) -> tuple[Ints, Ints]:
        """The senders and readers of the columns but the last, ``(columns - 1,)`` each, in their order."""
        last = self.values.shape[1] - 1
        sender, reader = np.nonzero(self.column < last)
        order = np.argsort(self.column[sender, reader], kind='stable')
        return sender[order], reader[order]


def columns_of(sender: Ints, reader: Ints, devices: int) -> Ints:
    """Return a table's ``column`` in which some pairs stand in the order given."""
    column = np.full((devices, devices), len(sender), dtype=np.int64)
    column[sender, reader] = np.arange(len(sender))
    return column


@dataclass(frozen=True, eq=False, kw_only=True)
class Coding:
    """How tensors are encoded on their ways.

    The seconds are spent on the sender and on the reader: they add to the latency and to the device's compute seconds.

    :param wire_bytes: what is sent, in place of the tensor's own bytes.
    :param encodings: the encoding by tensor, sender and reader, by name, where it is not ``raw``.
    """

    wire_bytes: ByTransfer
    encode_seconds: ByTransfer
    decode_seconds: ByTransfer
    encodings: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    def among(self, devices: Ints) -> Coding:
        """Return the same for some devices alone, given by their indices."""
        tables = (self.wire_bytes.among(devices), self.encode_seconds.among(devices), self.decode_seconds.among(devices))
        return Coding(wire_bytes=tables[0], encode_seconds=tables[1], decode_seconds=tables[2], encodings=self.encodings)

    @property
    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """All that costs something, ``(tensors, devices, devices)`` each."""
        return self.wire_bytes.whole(), self.encode_seconds.whole(), self.decode_seconds.whole()

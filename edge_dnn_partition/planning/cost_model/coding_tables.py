# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What encodings make of a problem's transfers: bytes, and seconds at both ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .by_transfer import ByTransfer

if TYPE_CHECKING:
    from .problem import Floats, Ints


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

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of tensors, and the fragments that they are cut into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .fragment_size import MAX_FRAGMENT_BYTES
from .tensors import WireTensor
from .timing import HopTime, StageTime

FRAME: Final = 0
PROBE: Final = 1

MISSING_AT_ONCE: Final = 2_000
"""So many missing fragments are named in one acknowledgement."""
MANY_MISSING: Final = 16
"""So many missing fragments are worth an acknowledgement while others are still coming."""


@dataclass(frozen=True)
class Address:
    """What a message belongs to. ``from_stage`` -1 is the frame source."""

    model_sha256: str
    plan_version: int
    frame_id: int
    attempt: int
    from_stage: int


NOWHERE: Final = Address('', 0, 0, 0, -1)
"""What a probe belongs to, and a fragment of which only the message's first one says more."""


@dataclass(frozen=True)
class Fragment:
    """A part of a message of ``total`` bytes. What stands behind ``sent_ns`` comes with fragment 0 only.

    All fragments but the last are equally long, and the last one ends the message, so none needs to say where it lies.
    Where ``segment`` names shared memory, the whole message lies there and ``data`` is empty.
    """

    kind: int
    sender: str
    incarnation: int
    message: int
    index: int
    count: int
    total: int
    data: memoryview | bytes
    paced: bool = False
    sent_ns: int = 0
    address: Address = NOWHERE
    layout: tuple[WireTensor, ...] = ()
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()
    encode_seconds: float = 0.0
    segment: str = ''


@dataclass(frozen=True)
class TensorMessage:
    """The tensors that one stage of one frame sends to one device, on the sender's side.

    :param segment: the shared memory that ``buffer`` is a part of; empty if it is not.
    """

    kind: int
    sender: str
    incarnation: int
    address: Address
    number: int
    buffer: memoryview
    layout: tuple[WireTensor, ...] = ()
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()
    encode_seconds: float = 0.0
    fragment_bytes: int = MAX_FRAGMENT_BYTES
    segment: str = ''

    @property
    def count(self) -> int:
        """The number of fragments, at least one."""
        return 1 if self.segment else max(1, -(-len(self.buffer) // self.fragment_bytes))

    def fragment_length(self, index: int) -> int:
        """Return the size of a fragment's data in bytes."""
        return 0 if self.segment else min(self.fragment_bytes, len(self.buffer) - index * self.fragment_bytes)

    def fragment(self, index: int, *, paced: bool = False, sent_ns: int = 0) -> Fragment:
        """Return one fragment; its data is a view of the message's buffer."""
        start = index * self.fragment_bytes
        data = b'' if self.segment else self.buffer[start : start + self.fragment_bytes]
        if index:
            return Fragment(
                self.kind, self.sender, self.incarnation, self.number, index, self.count, len(self.buffer), data, paced,
                sent_ns,
            )  # fmt: skip
        return Fragment(
            self.kind, self.sender, self.incarnation, self.number, 0, self.count, len(self.buffer), data, paced, sent_ns,
            self.address, self.layout, self.stages, self.hops, self.encode_seconds, self.segment,
        )  # fmt: skip

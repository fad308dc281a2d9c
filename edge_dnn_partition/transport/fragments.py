# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of tensors, and the fragments that they are cut into."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .tensors import WireTensor
from .timing import HopTime, StageTime

MAX_FRAGMENT_BYTES: Final = 60_000
MIN_FRAGMENT_BYTES: Final = 8_000
FRAGMENTS_FOR_DISPERSION: Final = 8
PACKET_BYTES: Final = 1_480
"""What a packet of a network with an MTU of 1500 carries behind its IP header; a datagram is cut into such parts."""
HEADER_BYTES: Final = 214
"""What UDP (8), RTPS (132 to 136, of which 60 are the statistics of Fast DDS) and the message itself add to a fragment: 56, or
72 where the sender's name has 19 letters."""
HEAD_BYTES: Final = 152
"""What the first fragment of a probe has beyond that at most: layout and address. They fill no packet of their own, either: where a
link pays for a packet after it has gone (a token bucket), the next fragment comes right behind a small one, as if it were fast."""
FRAGMENT_SECONDS: Final = 0.006
"""How long a fragment may take on its link, so that even a queue of 10 ms holds it."""
PATIENT_PACKETS: Final = 3
"""On a slow link a fragment is that long at least, where its queue holds it: in single packets a tenth would be headers."""
LEAST_FRAGMENTS: Final = 2
"""A message of one fragment would show nothing of its link; one that is smaller than two of `MIN_FRAGMENT_BYTES` is one."""
LEAST_SECONDS: Final = 0.001
"""Fragments that take less are not worth a wake-up of sender and receiver each."""

PROBE_FRAGMENT_SECONDS: Final = 0.0015
"""So long a probe's fragment takes on its link at least. What handles a message takes some tenths of a millisecond: shorter
fragments would show that, and a fast link would seem to be slow. A probe of five takes less than a queue of 10 ms..."""
PROBE_PACKETS: Final = 12
"""... but a fragment has no more packets: where the link falls to a hundredth meanwhile, frames wait behind what is on it."""


def in_packets(packets: int) -> int:
    """Return how many bytes of a message a fragment has that fills so many packets."""
    return min(packets * PACKET_BYTES - HEADER_BYTES, MAX_FRAGMENT_BYTES)


def packets_of(size: int) -> int:
    """Return how many packets a fragment takes that has so many bytes of a message."""
    return math.ceil((size + HEADER_BYTES) / PACKET_BYTES)


def fragment_size(
    total: int, *, rate: float | None = None, measured: bool = True, local: bool = False, patient_packets: int = PATIENT_PACKETS
) -> int:
    """Return how large fragments of a message should be, in bytes.

    A message that crosses a network is cut into at least eight fragments where that leaves 8 kB for each, so that the
    receiver can tell the link's rate from their spacing. On a slow link they are smaller: a fragment is one datagram,
    of which the network may lose a part, and a short queue overflows when it comes at once.

    While a link's rate is only guessed, fragments fill one packet: of what comes too fast the link drops some packets
    and carries the others, and these show its rate; whereas of larger datagrams each loses a part, and their other
    parts fill the receiver's memory for fragments, so that it drops what comes later as well.

    :param rate: the link's estimated rate in bytes per second; None: nothing is lost on it.
    :param measured: whether that is more than a guess.
    :param local: the message stays on its device.
    :param patient_packets: the link's queue holds so many packets, even where they take longer than usual.
    """
    if local:
        return MAX_FRAGMENT_BYTES
    if rate is None:
        return min(MAX_FRAGMENT_BYTES, max(MIN_FRAGMENT_BYTES, -(-total // FRAGMENTS_FOR_DISPERSION)))
    if not measured:
        return in_packets(1)
    most = max(round(rate * FRAGMENT_SECONDS / PACKET_BYTES), patient_packets)
    few = min(rate * LEAST_SECONDS, total / LEAST_FRAGMENTS)
    wanted = max(MIN_FRAGMENT_BYTES, few, total / FRAGMENTS_FOR_DISPERSION)
    largest = in_packets(min(most, packets_of(math.ceil(wanted))))
    fragments = max(1, math.ceil(total / largest))  # of about one length, so that the last one is not the only short one
    return min(largest, in_packets(packets_of(math.ceil(total / fragments))))


PROBE_FRAGMENTS: Final = 5
"""Of a probe: behind the first, four of one packet each are enough for a rate."""


def probe_fragment_size(rate: float | None, affordable_bytes: float = math.inf) -> int:
    """Return how large the fragments of a probe should be, in bytes; ``rate`` as for `fragment_size`.

    :param affordable_bytes: what the whole probe may cost on the wire; one packet a fragment is the least.
    """
    size = in_packets(PATIENT_PACKETS)
    if rate is not None:
        fast = in_packets(min(max(PATIENT_PACKETS, int(rate * PROBE_FRAGMENT_SECONDS / PACKET_BYTES)), PROBE_PACKETS))
        size = fast if fast > size else min(size, fragment_size(1 << 20, rate=rate))
    return (size if PROBE_FRAGMENTS * (size + HEADER_BYTES) <= affordable_bytes else in_packets(1)) - HEAD_BYTES


FRAME: Final = 0
PROBE: Final = 1

MISSING_AT_ONCE: Final = 2_000
"""So many missing fragments are named in one acknowledgement."""
MANY_MISSING: Final = 16
"""So many missing fragments are worth an acknowledgement while others are still coming."""


@dataclass(frozen=True)
class Address:
    """What a message belongs to. ``from_stage`` -1 is the frame source.

    The rest is of models that carry state from frame to frame (docs/state.md).

    :param run: the number of this sending; no other has it.
    :param after: the run whose state this one begins with; 0: the message brings the state.
    :param snapshot: the state that it makes goes to the source as well.
    """

    model_sha256: str
    plan_version: int
    frame_number: int
    attempt: int
    from_stage: int
    run: int = 0
    after: int = 0
    snapshot: bool = False


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
    :param deadline: by the sender's monotonic clock; the message is dropped then if it has not arrived.
    :param priority: it leaves before messages of lower priority to the same target.
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
    deadline: float = math.inf
    priority: int = 0

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


HOLD_SECONDS: Final = 0.15
"""The receiver acknowledges a message of one fragment this much later at most, together with those after it: it shows nothing of
its link, and an acknowledgement of its own would cost both ends as much as the message."""


class AckState(IntEnum):
    """What an acknowledgement says of its message; the numbers of HopAck."""

    COMPLETE = 0
    MISSING = 1
    REFUSED = 2
    RUN = 3
    """A rate sample of a long message that is still arriving."""


@dataclass(frozen=True)
class Ack:
    """A receiver's acknowledgement of a message; see HopAck for its fields.

    :param also: the numbers of other messages that are complete.
    :param arrived: when the last of its fragments arrived, by the receiver's clock; NaN: unknown.
    :param held_seconds: from then to the sending of this acknowledgement.
    """

    state: AckState
    kind: int
    sender: str
    incarnation: int
    receiver: str
    address: Address
    message: int
    missing: Sequence[int] = ()
    reason: str = ''
    total: int = 0
    fragment_bytes: int = 0
    spread_bytes: int = 0
    spread_seconds: float = 0.0
    paced: bool = False
    since_sent_ns: int = 0
    echo_sent_ns: int = 0
    arrived: float = math.nan
    held_seconds: float = 0.0
    also: Sequence[int] = ()

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of tensors, cut into pieces by the sender and put together by the receiver."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edge_dnn_partition.errors import WireError

from .tensors import WireTensor, check_layout
from .timing import HopTime, StageTime

FRAME: Final = 0
PROBE: Final = 1

MAX_PIECE_BYTES: Final = 60_000
MIN_PIECE_BYTES: Final = 8_000
PIECES_FOR_DISPERSION: Final = 8
MAX_PIECES: Final = 1 << 20


@dataclass(frozen=True)
class Address:
    """What a bundle belongs to. ``from_stage`` -1 is the frame source."""

    model_sha256: str
    plan_version: int
    frame_id: int
    attempt: int
    from_stage: int


@dataclass(frozen=True)
class Piece:
    """A part of a bundle; ``offset``, ``total`` in bytes. ``layout`` and times come with piece 0.

    Where ``segment`` names shared memory, the whole bundle lies there and ``data`` is empty.
    """

    kind: int
    sender: str
    incarnation: int
    address: Address
    bundle: int
    index: int
    count: int
    offset: int
    total: int
    data: memoryview | bytes
    paced: bool = False
    sent_ns: int = 0
    layout: tuple[WireTensor, ...] = ()
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()
    encode_seconds: float = 0.0
    segment: str = ''


@dataclass(frozen=True)
class Bundle:
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
    piece_bytes: int = MAX_PIECE_BYTES
    segment: str = ''

    @property
    def count(self) -> int:
        """The number of pieces, at least one."""
        return 1 if self.segment else max(1, -(-len(self.buffer) // self.piece_bytes))

    def piece_length(self, index: int) -> int:
        """Return the size of a piece's data in bytes."""
        return 0 if self.segment else min(self.piece_bytes, len(self.buffer) - index * self.piece_bytes)

    def piece(self, index: int, *, paced: bool = False, sent_ns: int = 0) -> Piece:
        """Return one piece; its data is a view of the bundle's buffer."""
        start = index * self.piece_bytes
        first = index == 0
        return Piece(
            self.kind, self.sender, self.incarnation, self.address, self.number, index, self.count, start,
            len(self.buffer), b'' if self.segment else self.buffer[start : start + self.piece_bytes], paced, sent_ns,
            self.layout if first else (), self.stages if first else (), self.hops if first else (),
            self.encode_seconds if first else 0.0, self.segment,
        )  # fmt: skip


def piece_size(total: int, *, local: bool = False) -> int:
    """Return how large pieces of a bundle should be, in bytes.

    A bundle that crosses a network is cut into at least eight pieces where that
    leaves 8 kB for each, so that the receiver can tell the link's rate from their spacing.
    """
    if local:
        return MAX_PIECE_BYTES
    return min(MAX_PIECE_BYTES, max(MIN_PIECE_BYTES, -(-total // PIECES_FOR_DISPERSION)))


@dataclass(frozen=True)
class Received:
    """A bundle that is whole: its buffer, its layout (checked), and how it came (seconds, bytes)."""

    kind: int
    sender: str
    incarnation: int
    address: Address
    number: int
    buffer: Any
    layout: tuple[WireTensor, ...]
    stages: tuple[StageTime, ...]
    hops: tuple[HopTime, ...]
    encode_seconds: float
    spread_bytes: int
    spread_seconds: float
    paced: bool
    echo_sent_ns: int
    arrived: float


@dataclass
class _Partial:
    head: Piece | None
    kind: int
    address: Address
    count: int
    total: int
    buffer: bytearray
    have: bytearray
    first_at: float
    last_at: float
    left: int
    piece_bytes: int
    first_bytes: int
    paced: bool = False
    repeated: bool = False
    asked_at: float = 0.0
    first_sent_ns: int = 0
    echo_sent_ns: int = 0


BundleKey = tuple[str, int, int]
"""Sender, its incarnation, the bundle's number."""


@dataclass
class Assembler:
    """Puts bundles together from pieces that may come late, twice, in any order, or be wrong.

    Memory is bounded by ``max_bytes``: the bundle that has waited longest makes room. Time is passed in.
    """

    max_bytes: int = 1 << 30
    remember: int = 4096
    _partial: OrderedDict[BundleKey, _Partial] = field(default_factory=OrderedDict)
    _done: OrderedDict[BundleKey, Address] = field(default_factory=OrderedDict)
    held_bytes: int = 0
    evicted: int = 0

    def add(self, piece: Piece, now: float) -> Received | None:
        """Take one piece in; return the bundle if it is whole now.

        :raises WireError: if the piece contradicts itself or those before it; what was there stays.
        """
        key = (piece.sender, piece.incarnation, piece.bundle)
        if key in self._done:
            return None
        length = self._check(piece)
        partial = self._partial.get(key)
        if partial is None:
            partial = self._begin(key, piece, length, now)
        elif (partial.count, partial.total, partial.address, partial.piece_bytes) != (
            piece.count, piece.total, piece.address, length,
        ):  # fmt: skip
            raise WireError(f'bundle {piece.bundle} of {piece.sender}: its pieces disagree on what it is')
        size = len(piece.data)
        if piece.index == 0 and partial.head is None:
            partial.head = piece
        partial.last_at = now
        partial.echo_sent_ns = piece.sent_ns
        partial.paced |= piece.paced
        if partial.have[piece.index]:
            partial.repeated = True
            return None
        partial.buffer[piece.offset : piece.offset + size] = piece.data
        partial.have[piece.index] = 1
        partial.left -= 1
        return self._finish(key, partial) if partial.left == 0 else None

    def add_shared(self, piece: Piece, buffer: Any, now: float) -> Received | None:
        """Take a bundle in that lies in shared memory; return it unless it was here before.

        :param buffer: its ``piece.total`` bytes.
        :raises WireError: if layout and size contradict each other.
        """
        key = (piece.sender, piece.incarnation, piece.bundle)
        if key in self._done:
            return None
        check_layout(piece.layout, piece.total)
        self._note_done(key, piece.address)
        return Received(
            piece.kind, piece.sender, piece.incarnation, piece.address, piece.bundle, buffer, piece.layout, piece.stages,
            piece.hops, piece.encode_seconds, 0, 0.0, piece.paced, piece.sent_ns, now,
        )  # fmt: skip

    def is_done(self, key: BundleKey) -> bool:
        """True if that bundle was whole before, so that its pieces are repetitions."""
        return key in self._done

    def overdue(self, now: float, quiet_seconds: float) -> Iterator[tuple[BundleKey, Address, int, list[int]]]:
        """Yield key, address, kind and missing pieces (64 at most) of each bundle that has been quiet for so long."""
        for key, partial in self._partial.items():
            if now - max(partial.last_at, partial.asked_at) >= quiet_seconds:
                partial.asked_at = now
                missing = [i for i, have in enumerate(partial.have) if not have][:64]
                yield key, partial.address, partial.kind, missing

    def forget(self, now: float, after_seconds: float) -> int:
        """Drop bundles of which nothing has come for so long; return how many."""
        old = [key for key, partial in self._partial.items() if now - partial.last_at > after_seconds]
        for key in old:
            self._drop(key)
        return len(old)

    def forget_sender(self, sender: str, incarnation: int) -> None:
        """Drop the unfinished bundles of other incarnations of a sender that has started anew."""
        for key in [k for k in self._partial if k[0] == sender and k[1] != incarnation]:
            self._drop(key)

    def _check(self, piece: Piece) -> int:
        """Raise if a piece contradicts itself; return how long each piece of its bundle but the last must be."""
        where = f'bundle {piece.bundle} of {piece.sender}'
        size = len(piece.data)
        last = piece.count - 1
        if not 1 <= piece.count <= MAX_PIECES or not 0 <= piece.index <= last:
            raise WireError(f'{where}: piece {piece.index} of {piece.count} cannot be')
        if piece.total > self.max_bytes:
            raise WireError(f'{where}: {piece.total} bytes are more than the inbox holds ({self.max_bytes})')
        if piece.offset < 0 or piece.offset + size > piece.total:
            raise WireError(f'{where}: piece {piece.index} reaches past the end of the bundle')
        if piece.index == last and piece.offset + size != piece.total:
            raise WireError(f'{where}: the last piece does not end the bundle')
        length = size if piece.index < last or last == 0 else piece.offset // last
        if last and (length == 0 or -(-piece.total // length) != piece.count):
            raise WireError(f'{where}: piece {piece.index} has a wrong size')
        if piece.offset != piece.index * length:
            raise WireError(f'{where}: piece {piece.index} has a wrong offset')
        if piece.index == 0:
            check_layout(piece.layout, piece.total)
        return length

    def _begin(self, key: BundleKey, piece: Piece, length: int, now: float) -> _Partial:
        while self._partial and self.held_bytes + piece.total > self.max_bytes:
            self._drop(next(iter(self._partial)))
            self.evicted += 1
        partial = _Partial(
            None, piece.kind, piece.address, piece.count, piece.total, bytearray(piece.total), bytearray(piece.count),
            now, now, piece.count, length, len(piece.data), first_sent_ns=piece.sent_ns,
        )  # fmt: skip
        self._partial[key] = partial
        self.held_bytes += piece.total
        return partial

    def _drop(self, key: BundleKey) -> None:
        self.held_bytes -= self._partial.pop(key).total

    def _note_done(self, key: BundleKey, address: Address) -> None:
        self._done[key] = address
        while len(self._done) > self.remember:
            self._done.popitem(last=False)

    def _finish(self, key: BundleKey, partial: _Partial) -> Received:
        self._drop(key)
        self._note_done(key, partial.address)
        head = partial.head
        if head is None:
            raise WireError(f'bundle {key[2]} of {key[0]} has no first piece')
        spread = 0 if partial.repeated else partial.total - partial.first_bytes
        # A receiver that was held up finds pieces side by side that came one after the other: the tensors
        # cannot have come faster than they left (the delivery rate of BBR).
        seconds = max(partial.last_at - partial.first_at, (partial.echo_sent_ns - partial.first_sent_ns) * 1e-9)
        return Received(
            partial.kind, key[0], key[1], partial.address, key[2], partial.buffer, head.layout, head.stages,
            head.hops, head.encode_seconds, spread, seconds, partial.paced,
            partial.echo_sent_ns, partial.last_at,
        )  # fmt: skip

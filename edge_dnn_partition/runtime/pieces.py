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
LEAST_PIECE_BYTES: Final = 2_600
"""Fits into two packets of a network of 1500 bytes, with the headers of IP, UDP, RTPS and the piece itself (some 280
bytes): smaller ones would be mostly headers."""
PACKET_BYTES: Final = 1_200
"""Fits into one packet. While a link's rate is only guessed, pieces are as small: of what comes too fast the link
drops some packets and carries the others, and these show its rate; whereas of larger datagrams each loses a part,
and their other parts fill the receiver's memory for fragments, so that it drops what comes later as well."""
PIECE_SECONDS: Final = 0.006
"""How long a piece may take on its link, so that even a queue of 10 ms holds it."""
PIECES_FOR_DISPERSION: Final = 8
PROBE_PIECE_BYTES: Final = 4_096
MAX_PIECES: Final = 1 << 20
_STRETCHED: Final = 1.03


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


def piece_size(total: int, *, rate: float | None = None, measured: bool = True, local: bool = False) -> int:
    """Return how large pieces of a bundle should be, in bytes.

    A bundle that crosses a network is cut into at least eight pieces where that leaves 8 kB for each, so that the
    receiver can tell the link's rate from their spacing. On a slow link they are smaller: a piece is one datagram,
    of which the network may lose a fragment, and a short queue overflows when it comes at once.

    :param rate: the link's estimated rate in bytes per second; None: nothing is lost on it.
    :param measured: whether that is more than a guess.
    :param local: the bundle stays on its device.
    """
    if local:
        return MAX_PIECE_BYTES
    if rate is not None and not measured:
        return PACKET_BYTES
    most = MAX_PIECE_BYTES if rate is None else int(max(LEAST_PIECE_BYTES, min(MAX_PIECE_BYTES, rate * PIECE_SECONDS)))
    return min(most, max(min(MIN_PIECE_BYTES, most), -(-total // PIECES_FOR_DISPERSION)))


def probe_piece_size(rate: float | None) -> int:
    """Return how large the pieces of a probe should be, in bytes; ``rate`` as for `piece_size`."""
    return PROBE_PIECE_BYTES if rate is None else max(LEAST_PIECE_BYTES, min(PROBE_PIECE_BYTES, int(rate * PIECE_SECONDS)))


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
    asked_at: float = float('-inf')
    asked: int = 0
    first_sent_ns: int = 0
    echo_sent_ns: int = 0
    train: tuple[int, float] | None = None
    """Bytes and seconds of the first few pieces, if they came in order and none was missing."""

    @property
    def came_bytes(self) -> int:
        """What has come since the first piece, about."""
        return max(0, min(self.total, (self.count - self.left) * self.piece_bytes) - self.first_bytes)

    @property
    def spread_seconds(self) -> float:
        """From the first piece to the last one that has come.

        A receiver that was held up finds pieces side by side that came one after the other: they cannot have come
        faster than they left (the delivery rate of BBR).
        """
        return max(self.last_at - self.first_at, self.sent_seconds)

    @property
    def sent_seconds(self) -> float:
        """The same by the sender's clock, when they left."""
        return (self.echo_sent_ns - self.first_sent_ns) * 1e-9

    def missing(self, most: int) -> list[int]:
        """The pieces that have not come, by index."""
        return [index for index, have in enumerate(self.have) if not have][:most]


BundleKey = tuple[str, int, int]
"""Sender, its incarnation, the bundle's number."""

MISSING_AT_ONCE: Final = 2_000


@dataclass(frozen=True)
class Gap:
    """Pieces of a bundle that are to be asked for, and how fast the others came (0 if that was said before)."""

    key: BundleKey
    address: Address
    kind: int
    missing: list[int]
    came_bytes: int
    came_seconds: float


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
        elif (partial.count, partial.total, partial.piece_bytes) != (piece.count, piece.total, length):
            raise WireError(f'bundle {piece.bundle} of {piece.sender}: its pieces disagree on what it is')
        size = len(piece.data)
        if piece.index == 0 and partial.head is None:
            partial.head, partial.address = piece, piece.address
        if partial.asked or partial.have[piece.index]:
            partial.repeated = True
        partial.last_at = now
        partial.echo_sent_ns = piece.sent_ns
        partial.paced |= piece.paced
        if partial.have[piece.index]:
            return None
        partial.buffer[piece.offset : piece.offset + size] = piece.data
        partial.have[piece.index] = 1
        partial.left -= 1
        if piece.index == PIECES_FOR_DISPERSION - 1 and partial.left == partial.count - PIECES_FOR_DISPERSION:
            partial.train = partial.came_bytes, partial.spread_seconds
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

    def gap(self, key: BundleKey, now: float) -> Gap | None:
        """Return what a bundle lacks, to be asked for now; None if it is unknown or whole."""
        partial = self._partial.get(key)
        return None if partial is None else self._ask(key, partial, now)

    def overdue(self, now: float, quiet_seconds: float) -> Iterator[Gap]:
        """Yield what each bundle lacks that has been quiet for so long, or for long as its pieces go.

        What has been asked for is asked for again later and later, at least once a second.
        """
        for key, partial in self._partial.items():
            came = partial.count - partial.left
            usual = 4 * (partial.last_at - partial.first_at) / came
            patience = max(quiet_seconds, min(usual, 1.0)) * 2 ** min(partial.asked, 4)
            if now - max(partial.last_at, partial.asked_at) >= min(patience, max(1.0, quiet_seconds)):
                yield self._ask(key, partial, now)

    @staticmethod
    def _ask(key: BundleKey, partial: _Partial, now: float) -> Gap:
        lossy = not partial.repeated
        partial.asked_at = now
        partial.asked += 1
        partial.repeated = True
        bytes_, seconds = (partial.came_bytes, partial.spread_seconds) if lossy else (0, 0.0)
        return Gap(key, partial.address, partial.kind, partial.missing(MISSING_AT_ONCE), bytes_, seconds)

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
        came = (0, 0.0) if partial.repeated else (partial.total - partial.first_bytes, partial.spread_seconds)
        if not partial.repeated and not partial.paced and partial.train is not None:
            came = partial.train  # only these were sent faster than the estimated rate
        # The sender's pace is what was measured only if the link did not stretch it.
        limited = partial.paced and partial.last_at - partial.first_at <= _STRETCHED * partial.sent_seconds
        return Received(
            partial.kind, key[0], key[1], partial.address, key[2], partial.buffer, head.layout, head.stages,
            head.hops, head.encode_seconds, *came, limited,
            partial.echo_sent_ns, partial.last_at,
        )  # fmt: skip

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments become messages again, in bounded memory and whatever is sent; what is missing, and how fast the rest arrived."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edge_dnn_partition.errors import WireError

from .fragments import (
    FRAGMENTS_FOR_DISPERSION,
    FRAME,
    MANY_MISSING,
    MAX_FRAGMENT_BYTES,
    MISSING_AT_ONCE,
    PROBE,
    PROBE_FRAGMENTS,
    Address,
    Fragment,
)
from .partial import LONG_STRETCHED, STRETCHED, FragmentBuffer, Partial, Run
from .tensors import WireTensor, buffer_size, check_layout, image_parts, shaped, unpack
from .timing import HopTime, StageTime

MAX_FRAGMENTS: Final = 1 << 20
MOST_MESSAGES: Final = 128
"""Incomplete messages of one sender at a time."""
_LONG: Final = 32
_MUCH_MISSING: Final = 0.3
"""If this share of the fragments before the newest one is missing, and at least `MANY_MISSING`, the sender is told at once: the
link is far slower than the pace."""


@dataclass(frozen=True)
class Received:
    """A message that is complete: its buffer, its layout (checked), and how it arrived (seconds, bytes).

    :param since_sent_ns: the spread is that of the fragments that left after this; earlier ones are in runs. 0: all.
    """

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
    arrived: float
    spread_bytes: int = 0
    spread_seconds: float = 0.0
    paced: bool = False
    echo_sent_ns: int = 0
    fragment_bytes: int = 0
    since_sent_ns: int = 0

    def views(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the tensors as views of the buffer, and their encodings: of compressed pixels, what the pixels are."""
        return self._arrays(), {tensor.name: image_parts(tensor.encoding)[0] for tensor in self.layout}

    def _arrays(self) -> dict[str, Any]:
        return unpack(self.layout, self.buffer)


class Handed(Received):
    """A message from a node of the same process: ``buffer`` are the tensors' bytes, an array each, which nobody may change."""

    @property
    def bytes(self) -> int:
        """What it would take on a link."""
        return buffer_size(self.layout)

    def head(self) -> Fragment:
        """Return the first fragment that it would have there."""
        return Fragment(
            self.kind, self.sender, self.incarnation, self.number, 0, 1, self.bytes, b'', address=self.address, layout=self.layout,
            stages=self.stages, hops=self.hops, encode_seconds=self.encode_seconds,
        )  # fmt: skip

    def _arrays(self) -> dict[str, Any]:
        arrays = {}
        for tensor, flat in zip(self.layout, self.buffer, strict=True):
            kept = flat.view()
            kept.flags.writeable = False
            arrays[tensor.name] = shaped(tensor, kept)
        return arrays


MessageKey = tuple[str, int, int]
"""Sender, its incarnation, the message's number."""


@dataclass(frozen=True)
class Gap:
    """Missing fragments of a message, and how fast the others arrived (0 if that was reported before)."""

    key: MessageKey
    address: Address
    kind: int
    missing: list[int]
    spread_bytes: int
    spread_seconds: float


@dataclass
class Assembler:
    """Puts messages together from fragments that may come late, twice, in any order, or be wrong. Time is passed in.

    Memory is taken as fragments arrive, whatever they claim; the message that has waited longest is evicted when it is full.

    :param max_bytes: of one message, and of all incomplete messages together.
    :param expect: raises `WireError` for the first fragment of a message that nobody waits for.
    """

    max_bytes: int = 1 << 30
    expect: Callable[[Fragment], None] = lambda _: None
    remember: int = 4096
    _partial: OrderedDict[MessageKey, Partial] = field(default_factory=OrderedDict)
    _done: OrderedDict[MessageKey, Address] = field(default_factory=OrderedDict)
    _delivered: OrderedDict[tuple[str, int, Address], None] = field(default_factory=OrderedDict)
    """A message that was cut anew may arrive under both its numbers."""
    _refused: OrderedDict[MessageKey, None] = field(default_factory=OrderedDict)
    _under_way: Counter[str] = field(default_factory=Counter)
    """Incomplete messages by sender."""
    held_bytes: int = 0
    evicted: int = 0

    def add(self, fragment: Fragment, now: float) -> Received | None:
        """Take a fragment; return the message if it is complete now.

        :raises WireError: if the fragment contradicts itself or those before it; what was there stays.
        """
        key = (fragment.sender, fragment.incarnation, fragment.message)
        if key in self._done or key in self._refused:
            return None
        length = self._check(fragment)
        partial = self._partial.get(key)
        if partial is not None and (partial.count, partial.total, partial.fragment_bytes) != (fragment.count, fragment.total,
            length):
            raise WireError(f'message {fragment.message} of {fragment.sender}: its fragments contradict each other')
        if fragment.index == 0 and (partial is None or partial.head is None):
            self._take_head(key, fragment)
        if partial is None:
            partial = self._begin(key, fragment, length, now)
        if fragment.index == 0 and partial.head is None:
            partial.head, partial.address = fragment, fragment.address
        if partial.asked or partial.reported_missing or fragment.index in partial.have:
            partial.repeated = True
        new = fragment.index not in partial.have
        if partial.left > new:
            partial.note_run(fragment)
        partial.last_at = now
        partial.echo_sent_ns = fragment.sent_ns
        if not new:
            return None
        self.held_bytes += partial.buffer.write(fragment.index * length, fragment.data)
        partial.have.add(fragment.index)
        partial.left -= 1
        self._make_room(partial)
        if fragment.index == FRAGMENTS_FOR_DISPERSION - 1 and partial.left == partial.count - FRAGMENTS_FOR_DISPERSION:
            partial.train = partial.arrived_bytes, partial.spread_seconds, partial.as_they_left()
        if fragment.index == 2 * FRAGMENTS_FOR_DISPERSION - 1 and partial.left == partial.count - 2 * FRAGMENTS_FOR_DISPERSION:
            partial.settled = partial.arrived_bytes, now, fragment.sent_ns
        return self._finish(key, partial) if partial.left == 0 else None

    def add_shared(self, fragment: Fragment, buffer: Any, now: float) -> Received | None:
        """Take a message that lies in shared memory; return it unless it was here before.

        :param buffer: its ``fragment.total`` bytes.
        :raises WireError: if layout and size contradict each other.
        """
        key = (fragment.sender, fragment.incarnation, fragment.message)
        if key in self._done:
            return None
        self._take_head(key, fragment)
        if not self._note_done(key, fragment.address, fragment.kind):
            return None
        return Received(
            fragment.kind, fragment.sender, fragment.incarnation, fragment.address, fragment.message, buffer, fragment.layout,
            fragment.stages, fragment.hops, fragment.encode_seconds, now, paced=fragment.paced, echo_sent_ns=fragment.sent_ns,
        )  # fmt: skip

    @property
    def incomplete(self) -> bool:
        """Whether fragments of some message are missing."""
        return bool(self._partial)

    def is_done(self, key: MessageKey) -> bool:
        """True if that message has been complete, so that its fragments are repetitions."""
        return key in self._done

    def run(self, fragment: Fragment) -> Run | None:
        """Return the run that a fragment which has just arrived has ended, to be acknowledged; None if it has ended none."""
        partial = self._partial.get((fragment.sender, fragment.incarnation, fragment.message))
        if partial is None:
            return None
        run, partial.ended_run = partial.ended_run, None
        return run

    def gap(self, fragment: Fragment, now: float) -> Gap | None:
        """Return what is missing of a message after a fragment of it, to be asked for now; None if it is to be waited for.

        That is when its last fragment is here and others are not, or many earlier ones are not, twice as many as last time.
        """
        key = (fragment.sender, fragment.incarnation, fragment.message)
        partial = self._partial.get(key)
        if partial is None:
            return None
        if fragment.index == partial.count - 1:
            return self._ask(key, partial, now)
        lost = fragment.index + 1 - (partial.count - partial.left)
        if lost < max(MANY_MISSING, _MUCH_MISSING * (fragment.index + 1), 2 * partial.reported_missing):
            return None
        partial.reported_missing = lost
        return self._ask(key, partial, now, before=fragment.index)

    def overdue(self, now: float, quiet_seconds: float) -> Iterator[Gap]:
        """Yield what is missing of each message that has been quiet for so long, or for several times its fragments' spacing.

        What has been asked for is asked for again ever later, at least once a second.
        """
        for key, partial in list(self._partial.items()):
            arrived = partial.count - partial.left
            usual = 4 * (partial.last_at - partial.first_at) / arrived
            patience = max(quiet_seconds, min(usual, 1.0)) * 2 ** min(partial.asked, 4)
            if now - max(partial.last_at, partial.asked_at) >= min(patience, max(1.0, quiet_seconds)):
                yield self._ask(key, partial, now)
                if partial.kind == PROBE:  # what is missing of it is not sent again
                    self._drop(key)

    @staticmethod
    def _ask(key: MessageKey, partial: Partial, now: float, before: int | None = None) -> Gap:
        lossy = not partial.repeated
        partial.asked_at = now
        partial.asked += before is None
        partial.repeated = True
        bytes_, seconds = (partial.arrived_bytes, partial.spread_seconds) if lossy else (0, 0.0)
        if lossy and partial.has_runs:
            run = partial.last_run()
            bytes_, seconds = (run.bytes, run.seconds) if run is not None else (0, 0.0)
        return Gap(key, partial.address, partial.kind, partial.missing(MISSING_AT_ONCE, before), bytes_, seconds)

    def forget(self, now: float, after_seconds: float) -> int:
        """Drop messages of which nothing has arrived for so long; return how many."""
        old = [key for key, partial in self._partial.items() if now - partial.last_at > after_seconds]
        for key in old:
            self._drop(key)
        return len(old)

    def _check(self, fragment: Fragment) -> int:
        """Return the length of each fragment of a message but the last; raise if the fragment contradicts itself."""
        where = f'message {fragment.message} of {fragment.sender}'
        size = len(fragment.data)
        last = fragment.count - 1
        if not 1 <= fragment.count <= MAX_FRAGMENTS or not 0 <= fragment.index <= last:
            raise WireError(f'{where}: there cannot be a fragment {fragment.index} of {fragment.count}')
        if fragment.kind not in (FRAME, PROBE):
            raise WireError(f'{where}: unknown kind {fragment.kind}')
        if fragment.kind == PROBE and fragment.total > PROBE_FRAGMENTS * MAX_FRAGMENT_BYTES:
            raise WireError(f'{where}: a probe cannot have {fragment.total} bytes')
        if fragment.total > self.max_bytes:
            raise WireError(f'{where}: {fragment.total} bytes exceed what this device holds ({self.max_bytes})')
        if size > fragment.total:
            raise WireError(f'{where}: fragment {fragment.index} reaches past the end of the message')
        if last == 0 and size != fragment.total:
            raise WireError(f'{where}: the last fragment does not end the message')
        length = size if fragment.index < last or last == 0 else (fragment.total - size) // last
        if last and (length == 0 or -(-fragment.total // length) != fragment.count):
            raise WireError(f'{where}: fragment {fragment.index} has a wrong size')
        if fragment.index == last and last * length + size != fragment.total:
            raise WireError(f'{where}: the last fragment does not end the message')
        return length

    def _take_head(self, key: MessageKey, fragment: Fragment) -> None:
        """Raise if a message contradicts itself, or nobody waits for it; nothing more is taken of the latter."""
        check_layout(fragment.layout, fragment.total)
        if fragment.kind != FRAME:
            return
        try:
            self.expect(fragment)
        except WireError:
            if key in self._partial:
                self._drop(key)
            _note(self._refused, key, self.remember)
            raise

    def _begin(self, key: MessageKey, fragment: Fragment, length: int, now: float) -> Partial:
        if self._under_way[fragment.sender] >= MOST_MESSAGES:
            self._evict(next(other for other in self._partial if other[0] == fragment.sender))
        partial = Partial(
            None, fragment.kind, fragment.address, fragment.count, fragment.total, FragmentBuffer(fragment.total), set(),
            now, now, fragment.count, length, len(fragment.data), fragment.paced, first_sent_ns=fragment.sent_ns,
        )  # fmt: skip
        partial.begin_run(fragment)
        self._partial[key] = partial
        self._under_way[fragment.sender] += 1
        self.held_bytes += partial.buffer.held_bytes
        return partial

    def _make_room(self, partial: Partial) -> None:
        while self.held_bytes > self.max_bytes:
            oldest = next((key for key, other in self._partial.items() if other is not partial), None)
            if oldest is None:
                return
            self._evict(oldest)

    def _evict(self, key: MessageKey) -> None:
        self._drop(key)
        self.evicted += 1

    def _drop(self, key: MessageKey) -> None:
        self.held_bytes -= self._partial.pop(key).buffer.held_bytes
        self._under_way[key[0]] -= 1
        if not self._under_way[key[0]]:
            del self._under_way[key[0]]

    def _note_done(self, key: MessageKey, address: Address, kind: int) -> bool:
        """Note that a message is complete; return whether it is new, and not the same one under another number."""
        _note(self._done, key, self.remember, address)
        if kind != FRAME:
            return True
        what = (*key[:2], address)
        known = what in self._delivered
        _note(self._delivered, what, self.remember)
        return not known

    def _finish(self, key: MessageKey, partial: Partial) -> Received | None:
        self._drop(key)
        if not self._note_done(key, partial.address, partial.kind):
            return None
        head = partial.head
        if head is None:
            raise WireError(f'message {key[2]} of {key[0]} has no first fragment')
        since = 0
        if partial.has_runs:
            run = partial.last_run()
            spread = (0, 0.0, False) if run is None else (run.bytes, run.seconds, run.as_they_left)
            since = 0 if run is None else run.since_sent_ns
        elif partial.repeated:
            spread = 0, 0.0, False
        elif not partial.paced and partial.train is not None:
            spread = partial.train_or_tail(partial.train)  # only these were sent faster than the estimated rate
        else:
            even = partial.as_they_left(LONG_STRETCHED if partial.count >= _LONG else STRETCHED)
            spread = partial.total - partial.first_bytes, partial.spread_seconds, even
        return Received(
            partial.kind, key[0], key[1], partial.address, key[2], partial.buffer.data, head.layout, head.stages,
            head.hops, head.encode_seconds, partial.last_at, *spread, partial.echo_sent_ns, partial.fragment_bytes, since,
        )  # fmt: skip


def _note(table: OrderedDict[Any, Any], key: Any, most: int, value: Any = None) -> None:
    """Put something into a table that forgets its oldest entries."""
    table[key] = value
    while len(table) > most:
        table.popitem(last=False)

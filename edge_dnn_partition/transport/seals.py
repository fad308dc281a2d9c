# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Seals: proof that a message comes from a process that has the fleet's key, that it is whole, and that it is no recording.

A seal ends the message: a session (the sending process's number, random at each start), a count (one higher for each message
of that process) and a keyed BLAKE2b (RFC 7693) over these, the topic, and all that stands before it. A recording is told from
a message in two ways. No reader takes the same count of a session twice (`Window`, like the replay window of IPsec, RFC 4303).
And none believes a session before that has named the reader's own, which was unknown before the reader started (`Vouchers`).
No clocks are compared.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import struct
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

KEY_BYTES: Final = 32
SEAL_BYTES: Final = 32
_MAC_BYTES: Final = 16
_HEAD: Final = struct.Struct('<QQ')
_LENGTH: Final = struct.pack('<I', SEAL_BYTES)
"""What stands before a seal in CDR: how long the sequence is."""
_TAIL_BYTES: Final = len(_LENGTH) + SEAL_BYTES
_WINDOW: Final = 1024
_SESSIONS: Final = 1024
"""Processes that a reader tells apart; the one that has been silent for longest is forgotten first."""


@dataclass(frozen=True)
class Seal:
    """Who sealed a message, and its number among that process's messages."""

    session: int
    count: int


class Sealer:
    """Seals the messages of one process, and tells whether others' seals are good; may be used from any thread.

    :param key: the fleet's, `KEY_BYTES` of them.
    :param session: random, new at each start of the process.
    """

    def __init__(self, key: bytes, session: int) -> None:
        self.session = session
        self._key = key
        self._counts = itertools.count(1)
        self._begun: dict[str, hashlib.blake2b] = {}

    def seal(self, topic: str, message: bytes | memoryview) -> bytes:
        """Return a message with a seal.

        :param message: in little-endian CDR, without the seal that ends it and without its length.
        """
        head = _HEAD.pack(self.session, next(self._counts))
        return b''.join((message, _LENGTH, head, self._mac(topic, head, message)))

    def check(self, topic: str, raw: bytes) -> Seal | None:
        """Return the seal that ends a message; None if there is none, or it is not right."""
        message = memoryview(raw)[:-_TAIL_BYTES]
        tail = raw[len(message) :]
        if len(tail) != _TAIL_BYTES or tail[: len(_LENGTH)] != _LENGTH:
            return None
        head = tail[len(_LENGTH) : len(_LENGTH) + _HEAD.size]
        if not hmac.compare_digest(self._mac(topic, head, message), tail[-_MAC_BYTES:]):
            return None
        return Seal(*_HEAD.unpack(head))

    def _mac(self, topic: str, head: bytes, message: bytes | memoryview) -> bytes:
        begun = self._begun.get(topic)
        if begun is None:
            begun = hashlib.blake2b(key=self._key, digest_size=_MAC_BYTES, person=b'edp seal 1')
            begun.update(topic.encode() + b'\0')
            self._begun[topic] = begun
        mac = begun.copy()
        mac.update(head)
        mac.update(message)
        return mac.digest()


class Verdict(Enum):
    """How a reader judges a message whose seal is valid."""

    BELIEVED = 'believed'
    KNOWN = 'known'
    """It has arrived before."""
    EARLY = 'early'
    """It was sealed before its process knew of this reader."""
    STRANGER = 'stranger'
    """Its process may have ended before this one started: it may be a recording."""


@dataclass
class Window:
    """The counts of one session that a reader of one topic has taken.

    :param ordered: the topic is reliable, so that a lower count never comes after a higher one.
    """

    ordered: bool
    highest: int = 0
    _floor: int = 0
    _recent: deque[int] = field(default_factory=deque)
    _known: set[int] = field(default_factory=set)

    def take(self, count: int) -> bool:
        """Return whether a count is new, and note it; where messages may overtake one another, the last 1024 are kept."""
        if self.ordered:
            new = count > self.highest
            self.highest = max(count, self.highest)
            return new
        if count <= self._floor or count in self._known:
            return False
        self._recent.append(count)
        self._known.add(count)
        if len(self._recent) > _WINDOW:
            oldest = self._recent.popleft()
            self._known.discard(oldest)
            self._floor = max(self._floor, oldest)
        return True


@dataclass
class Vouchers:
    """Which sessions a process has heard of, and which of them are known to have lived since it started.

    :param own: the process's own session.
    """

    own: int
    _heard: OrderedDict[int, None] = field(default_factory=OrderedDict)
    _since: OrderedDict[int, int] = field(default_factory=OrderedDict)

    @property
    def heard(self) -> tuple[int, ...]:
        """The others' sessions, to be named to all."""
        return tuple(self._heard)

    def take(self, seal: Seal, heard: Iterable[int]) -> bool:
        """Take in whom a process has heard of; return whether it was unknown, so that it is to be named."""
        if seal.session == self.own:
            return False
        new = seal.session not in self._heard
        _touch(self._heard, seal.session, None)
        if self.own in heard:
            _touch(self._since, seal.session, self._since.get(seal.session, seal.count))
        return new

    def since(self, session: int) -> int | None:
        """Return the count from which on a session's messages are later than this process's start; None: it may be a recording."""
        return 0 if session == self.own else self._since.get(session)


@dataclass
class Reader:
    """What one reader of a topic has taken. A latched topic's messages may be older than the reader.

    :param vouchers: of the process.
    """

    vouchers: Vouchers
    latched: bool
    ordered: bool
    _windows: OrderedDict[int, Window] = field(default_factory=OrderedDict)

    def take(self, seal: Seal) -> Verdict:
        """Return what is to be made of a message with a valid seal, and note it if it is believed."""
        since = self.vouchers.since(seal.session)
        if since is None:
            return Verdict.STRANGER
        if seal.count < since and not self.latched:
            return Verdict.EARLY
        window = self._windows.get(seal.session) or Window(self.ordered)
        _touch(self._windows, seal.session, window)
        return Verdict.BELIEVED if window.take(seal.count) else Verdict.KNOWN


def _touch(table: OrderedDict[int, Any], key: int, value: Any) -> None:
    """Put something to the end of a table, and forget what stands first where the table is too long."""
    table[key] = value
    table.move_to_end(key)
    while len(table) > _SESSIONS:
        table.popitem(last=False)

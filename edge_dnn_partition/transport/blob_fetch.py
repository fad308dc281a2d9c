# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fetching a blob from a device that has it: which part is asked for when, and of whom; time is passed in.

One question is under way at a time, and asks for as much as the link carries in about 50 ms, after which the link is left to
others for as long: so a large file takes half of a link at most, and holds up a heartbeat or a tensor by no more than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.errors import WireError

from .blobs import MOST_ASKED, BlobAsk, BlobPart, BlobStore, PartialBlob, fits

BURST_SECONDS: Final = 0.05
"""How long one question's answers are to occupy the link."""
_FIRST_ASKED: Final = 16_000
_LEAST_ASKED: Final = 2_000
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 4.0
_TRIES: Final = 4
"""So many questions without an answer, and another holder is looked for."""
_WRONG: Final = 3
"""So many times all of it came with another hash, and nobody is asked again."""
_MOST_AHEAD: Final = 64


@dataclass(frozen=True)
class Earlier:
    """Of whom another blob was fetched, how many bytes were asked for at once, and the least seconds to the answer."""

    holder: str
    window: int
    round_trip: float


class BlobFetch:
    """Fetches one blob; `ask` says what to send, `on_part` takes what comes.

    It goes on after a break for as long as it is asked, and never begins anew but after a wrong hash.

    :param size: bytes that it has, if that is known.
    :param before: the last one's end: its holder may have this one, too.
    :param share: of the link's time that it may take.
    """

    def __init__(
        self, sha256: str, store: BlobStore, *, size: int | None = None, before: Earlier | None = None, share: float = 0.5
    ) -> None:
        self.sha256, self._store, self._share = sha256, store, share
        self.total = size
        """Bytes of the blob, None as long as that is not known."""
        self.failure = ''
        """Why it cannot be had; empty: it can, as far as is known."""
        self.done = store.find(sha256) is not None
        """Whether it is whole, and its hash right."""
        self._part = None if self.done else store.open_part(sha256)
        self._holder = ''
        self._bad: set[str] = set()
        """Holders whose bytes had another hash, or who do not have it."""
        self._ahead: dict[int, bytes] = {}
        """What came before what precedes it."""
        self._asked_at = self._ask_at = 0.0
        self._end = 0
        self._window = _FIRST_ASKED
        self._waiting = False
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._unanswered = self._wrong = 0
        self._round_trip = math.inf
        if before is not None and size is not None:
            self._holder, self._window, self._round_trip = before.holder, before.window, before.round_trip

    @property
    def earlier(self) -> Earlier:
        """What the next fetch begins with."""
        return Earlier(self._holder, self._window, self._round_trip)

    @property
    def have(self) -> int:
        """Bytes that are here."""
        return (self.total or 0) if self._part is None else self._part.size

    @property
    def ask_at(self) -> float:
        """When `ask` is to be called next."""
        if self._part is None or self.failure:
            return math.inf
        return self._asked_at + self._wait_seconds if self._waiting else self._ask_at

    def ask(self, now: float) -> BlobAsk | None:
        """Return the question that is due, if one is.

        :raises UserError: if what is here cannot be written.
        """
        if self._part is None or self.failure or now < self.ask_at:
            return None
        if self._waiting:  # for nothing, or not for all
            self._unanswered += 1
            self._window = max(_LEAST_ASKED, self._window // 2)
            self._wait_seconds = min(_LONGEST_WAIT_SECONDS, 2 * self._wait_seconds)
            if self._unanswered >= _TRIES:
                self._holder, self._unanswered = '', 0
                self._bad.clear()  # they may have it now
        self._waiting, self._asked_at = True, now
        if not self._holder:
            self._end = self._part.size
            return BlobAsk('', self.sha256)
        self._end = self._part.size + self._window
        if self.total is not None:
            self._end = min(self._end, self.total)
        return BlobAsk(self._holder, self.sha256, self._part.size, self._end - self._part.size)

    def on_part(self, part: BlobPart, now: float) -> None:
        """Take an answer.

        :raises WireError: if it cannot be one to what was asked.
        :raises UserError: if it cannot be written.
        """
        if self._part is None or part.sha256 != self.sha256:
            return
        if part.missing:
            if part.holder == self._holder:
                self._leave(now)
            return
        if (self.total is not None and part.total != self.total) or part.offset + len(part.data) > part.total:
            raise WireError(f'{part.holder} offers {part.total} bytes as {self.sha256[:12]}…, which is not its size')
        if not fits(part.total):
            self.failure = f'{part.total} bytes are more than the cache may hold (EDGE_DNN_PARTITION_CACHE_LIMIT)'
            return
        if not self._holder and part.holder not in self._bad:
            self._holder, self.total = part.holder, part.total
            self._answered(now)
        if part.holder != self._holder:
            return
        if part.data and part.offset < self._part.size + 2 * MOST_ASKED and len(self._ahead) < _MOST_AHEAD:
            self._ahead[part.offset] = part.data
        self._take(self._part, now)

    def close(self) -> None:
        """Leave what is here for later."""
        if self._part is not None:
            self._part.close()

    def _take(self, part: PartialBlob, now: float) -> None:
        """Append what has come as far as nothing is missing before it."""
        for offset in sorted(self._ahead):
            if offset > part.size:
                break
            data = self._ahead.pop(offset)[part.size - offset :]
            if data:
                part.append(data)
        if self.total is not None and part.size >= self.total:
            self._finish(part, now)
        elif self._waiting and part.size >= self._end:
            busy = self._answered(now)
            self._window = round(min(2.0, max(0.5, BURST_SECONDS / max(busy, 1e-3))) * self._window)
            self._window = max(_LEAST_ASKED, min(MOST_ASKED, self._window))

    def _answered(self, now: float) -> float:
        """Note that a question was answered; return for how long the answers occupied the link."""
        took = now - self._asked_at
        self._round_trip = min(self._round_trip, took)
        busy = took - self._round_trip
        self._waiting, self._unanswered = False, 0
        self._ask_at = now + busy * (1 / self._share - 1)
        self._wait_seconds = max(_FIRST_WAIT_SECONDS, min(_LONGEST_WAIT_SECONDS, 8 * took))
        return busy

    def _leave(self, now: float) -> None:
        """Look for another holder."""
        self._bad.add(self._holder)
        self._holder, self._waiting, self._ask_at = '', False, now

    def _finish(self, part: PartialBlob, now: float) -> None:
        self._ahead.clear()
        if part.finish():
            self._part, self.done = None, True
            return
        self._wrong += 1
        if self._wrong >= _WRONG:
            self.failure = f'what {self._holder} sends of {self.sha256[:12]}… has another hash: is its file damaged?'
        self._part = self._store.open_part(self.sha256)
        self._leave(now)

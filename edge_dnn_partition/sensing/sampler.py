# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Runs many sources such that one that hangs or fails never stops the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .source import Source, Unavailable

Status = Literal['new', 'ok', 'absent', 'failed', 'hanging']

_EARLY: Final = 0.25
"""Share of a period by which a reading may come early, since a timer's ticks do not fall on its ends."""


@dataclass(frozen=True)
class SourceState:
    """What became of a source; ``found`` says what it reads, or why it is left out, in one line."""

    name: str
    status: Status
    found: str
    advice: str = ''


@dataclass
class _Entry:
    source: Source[Any]
    status: Status = 'new'
    found: str = ''
    advice: str = ''
    reading: Any = None
    read_at: float = float('-inf')
    retry_at: float = float('-inf')
    retry_seconds: float = 0.0
    stuck: bool = False

    def due(self, now: float) -> bool:
        if self.stuck:
            return False
        if self.status == 'ok':
            return now - self.read_at >= (1 - _EARLY) * self.source.period_seconds
        return now >= self.retry_at

    def leave_out(self, now: float, status: Status, reason: str, advice: str, *, first_retry: float, last: float) -> None:
        """Drop the reading, say why, and try again later: each time twice as late, up to ``last`` seconds."""
        self.retry_seconds = last if status == 'absent' else min(last, max(first_retry, 2 * self.retry_seconds))
        self.retry_at = now + self.retry_seconds
        self.status, self.found, self.advice, self.reading = status, reason, advice, None


@dataclass
class _Round:
    """One pass over the sources that are due, on a thread of its own that is given up if one hangs."""

    entries: Sequence[_Entry]
    done: threading.Event = field(default_factory=threading.Event)
    at: int = 0
    started: float = 0.0
    given_up: bool = False


class Sampler:
    """Samples sources, each at most every ``period_seconds`` of its own.

    :param sources: with names of their own.
    :param deadline_seconds: what a source may take; its thread is given up after that, and no other is
        started for it until that one has come back.
    :param retry_seconds: how long a source that failed or hung is left out at first; twice as long each time.
    :param absent_seconds: how long a source is left out that this device does not have, and the longest
        that another is.
    """

    def __init__(
        self,
        sources: Iterable[Source[Any]],
        *,
        deadline_seconds: float = 1.0,
        retry_seconds: float = 2.0,
        absent_seconds: float = 60.0,
    ) -> None:
        self._entries = {source.name: _Entry(source) for source in sources}
        self._deadline = deadline_seconds
        self._retry, self._absent = retry_seconds, absent_seconds
        self._lock = threading.Lock()

    def sample(self, now_seconds: float) -> dict[str, Any]:
        """Read what is due and return the readings by the sources' names; one that is left out is missing.

        :param now_seconds: the time, on a steady clock.
        """
        rest: Sequence[_Entry] = [entry for entry in self._entries.values() if entry.due(now_seconds)]
        while rest:
            rest = self._round(rest, now_seconds)
        with self._lock:
            return {name: entry.reading for name, entry in self._entries.items() if entry.status == 'ok'}

    def states(self) -> tuple[SourceState, ...]:
        """Return what became of each source."""
        with self._lock:
            return tuple(SourceState(n, e.status, e.found, e.advice) for n, e in self._entries.items())

    def _round(self, entries: Sequence[_Entry], now: float) -> Sequence[_Entry]:
        """Run sources until all are through or one hangs; return those that are left."""
        current = _Round(entries, started=time.monotonic())
        threading.Thread(target=self._run, args=(current, now), name='sampler', daemon=True).start()
        while True:
            with self._lock:
                remaining = current.started + self._deadline - time.monotonic()
                if current.at >= len(entries):
                    return ()
                if remaining <= 0:
                    current.given_up = True
                    hung = entries[current.at]
                    hung.stuck = True
                    reason = f'gave no answer in {self._deadline:g} s'
                    hung.leave_out(now, 'hanging', reason, '', first_retry=self._retry, last=self._absent)
                    return entries[current.at + 1 :]
            current.done.wait(remaining)

    def _run(self, current: _Round, now: float) -> None:
        for entry in current.entries:
            outcome = self._attempt(entry, now)
            with self._lock:
                if current.given_up:
                    entry.stuck = False  # it came back after all: it may be tried again
                    return
                self._take(entry, now, outcome)
                current.at += 1
                current.started = time.monotonic()
        current.done.set()

    @staticmethod
    def _attempt(entry: _Entry, now: float) -> tuple[Status, str, str, Any]:
        found = entry.found
        try:
            if entry.status != 'ok':
                found = entry.source.probe()
            return 'ok', found, '', entry.source.read(now)
        except Unavailable as error:
            return 'absent' if entry.status in ('new', 'absent') else 'failed', error.reason, error.advice, None
        except Exception as error:  # noqa: BLE001 (a vendor's library may raise anything; it must not stop the others)
            return 'failed', _one_line(error), '', None

    def _take(self, entry: _Entry, now: float, outcome: tuple[Status, str, str, Any]) -> None:
        status, found, advice, reading = outcome
        if status != 'ok':
            entry.leave_out(now, status, found, advice, first_retry=self._retry, last=self._absent)
            return
        entry.status, entry.found, entry.advice = status, found, advice
        entry.reading, entry.read_at, entry.retry_seconds = reading, now, 0.0


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f'{error.filename or "it"}: {error.strerror}'
    return f'{type(error).__name__}: {" ".join(str(error).split())[:160]}'

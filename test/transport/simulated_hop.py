# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A hop over a link that exists in this file only, in simulated time: packets, a queue, what finds it full is lost.

Sender and receiver are the real ones (`FragmentSender`, `FragmentReceiver`) without DDS, so that many links can be tried in seconds.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.fragment_receiver import QUIET_SECONDS, FragmentReceiver
from edge_dnn_partition.transport.fragment_sender import FragmentSender
from edge_dnn_partition.transport.fragments import FRAME, Ack, Address, Fragment, TensorMessage
from edge_dnn_partition.transport.tensors import WireTensor

PACKET = 1480
PACKET_HEADERS = 34
FRAGMENT_HEADERS = 192
WAY_BACK_SECONDS = 0.002


@dataclass
class Wire:
    """A link of ``rate`` bytes per second with a queue of ``queue`` bytes, besides the packet that is under way."""

    rate: float
    queue: float
    free_at: float = 0.0
    dropped: int = 0

    def send(self, now: float, size: int) -> float | None:
        """Send a datagram; return when it is there, None if one of its packets was dropped."""
        left, whole = size + FRAGMENT_HEADERS, True
        while left > 0:
            packet = min(PACKET, left) + PACKET_HEADERS
            left -= PACKET
            if max(0.0, self.free_at - now) * self.rate + packet > self.queue + PACKET + PACKET_HEADERS:
                self.dropped += 1
                whole = False
                continue
            self.free_at = max(self.free_at, now) + packet / self.rate
        return self.free_at if whole else None


@dataclass
class Hop:
    """A sender, a link and a receiver.

    :param megabits: the link's rate; ``queue_seconds``: of its queue, which holds two packets at least.
    :param guess: what the fleet file says of the rate, in Mbit/s.
    """

    megabits: float
    queue_seconds: float
    guess: float
    now: float = 0.0
    lost_answers: Callable[[], bool] = lambda: False
    """Says of each acknowledgement whether it is lost."""
    _away: tuple[float, float] = (0.0, 0.0)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _frames: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.set_rate(self.megabits)
        fleet = Fleet.model_validate({
            'fleet': 'hop', 'source': 'a', 'devices': {'a': {}, 'b': {}},
            'links': [{'between': ['a', 'b'], 'rate': f'{self.guess} Mbit/s', 'delay': '1 ms'}],
        })  # fmt: skip
        self.sender = FragmentSender(fleet, 'a', 1)
        self.outbox = self.sender.connect(('b', False)).outbox
        self.receiver = FragmentReceiver('b', self._take)
        self.answers = 0

    def set_rate(self, megabits: float) -> None:
        """Change the link."""
        rate = megabits * 1e6 / 8
        queue = max(self.queue_seconds * rate, 2 * (PACKET + PACKET_HEADERS))
        self.wire = Wire(rate, queue, self.now, self.wire.dropped if hasattr(self, 'wire') else 0)

    def cut(self, begin: float, seconds: float) -> None:
        """Let nothing cross, either way, for some seconds from a time on."""
        self._away = (begin, begin + seconds)

    @property
    def _down(self) -> bool:
        return self._away[0] <= self.now < self._away[1]

    def frames(self, size: int, count: int, *, gap: float = 0.02, patience: float = 300.0) -> list[float]:
        """Send so many tensors of ``size`` bytes, one after the other; return each one's latency over bytes/rate."""
        latencies = []
        for _ in range(count):
            begun = self.now
            self._put(size)
            arrived = self._until_acknowledged(begun + patience)
            latencies.append((arrived - begun) / (size / self.wire.rate))
            self._at(self.now + gap, lambda: None)
            self._run(self.now + gap)
        return latencies

    def _put(self, size: int) -> None:
        layout = (WireTensor('tensor', 2, (size,), 'raw', 0, size),)
        message = TensorMessage(
            FRAME, 'a', 1, Address('m', 1, next(self._frames), 0, -1), next(self.sender.numbers), memoryview(bytes(size)), layout,
            fragment_bytes=self.outbox.fragment_bytes(size),
        )  # fmt: skip
        self.sender.put(('b', False), message, self.now)

    def _until_acknowledged(self, deadline: float) -> float:
        self._arrived: float | None = None
        while not self.outbox.idle:
            assert self.now < deadline, 'a tensor did not arrive'
            self._step()
        assert self._arrived is not None, 'an acknowledgement without an arrival'
        return self._arrived

    def _run(self, until: float) -> None:
        while self.now < until:
            self._step()

    def _step(self) -> None:
        """Go on to what happens next: an event, a fragment that leaves, or the receiver's look at what is quiet."""
        leaves = self.outbox.next_at(self.now)
        event = self._events[0][0] if self._events else float('inf')
        if event <= leaves:
            self.now, _, action = heapq.heappop(self._events)
            action()
        else:
            self.now = max(self.now, leaves) + 1e-9
            ready = self.outbox.take(self.now)
            there = None if ready is None or self._down else self.wire.send(self.now, len(ready[1].data))
            if ready is not None and there is not None:
                self._at(there, lambda fragment=ready[1]: self._arrive(fragment))
        if not any(action == self._look for _, _, action in self._events):
            self._at(self.now + QUIET_SECONDS / 2, self._look)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), action))

    def _look(self) -> None:
        for ack in list(self.receiver.on_tick(self.now)):
            self._answer(ack)

    def _arrive(self, fragment: Fragment) -> None:
        ack = self.receiver.on_fragment(fragment, self.now)
        if ack is not None:
            self._answer(ack)

    def _take(self, *_: object) -> None:
        self._arrived = self.now

    def _answer(self, ack: Ack) -> None:
        self.answers += 1
        if not self._down and not self.lost_answers():
            self._at(self.now + WAY_BACK_SECONDS, lambda: self.sender.on_ack(ack, self.now))

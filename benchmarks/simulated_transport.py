# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A node's transport in simulated time: the product's sender and receiver of fragments over links that exist here only.

The product's are `FragmentSender` and `FragmentReceiver` with all that they use. Simulated are the clock and the links with their
queues, in place of the thread and DDS of `DdsLink`. Tensors inside a device cost `HANDLE_SECONDS`. Times in seconds, sizes in
bytes.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_dnn_partition.nodes.conversions.wire import links_in, write_links
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.testbed.shaping import PACKET_BYTES, Shape
from edge_dnn_partition.testbed.testbed_file import TestbedLink
from edge_dnn_partition.testbed.traces import OUTAGE_BITS_PER_SECOND, Capacity
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.fragment_receiver import QUIET_SECONDS, FragmentReceiver
from edge_dnn_partition.transport.fragment_sender import CONFIRM_SECONDS, FragmentSender
from edge_dnn_partition.transport.fragments import FRAME, HEADER_BYTES, Ack, Address, Fragment, TensorMessage
from edge_dnn_partition.transport.link import Target
from edge_dnn_partition.transport.tensors import WireTensor
from edge_dnn_partition.transport.timing import HopTime, StageTime

HANDLE_SECONDS: Final = 0.001
"""What the processes at its ends take to hand a message over, on the testbed; within a device it takes no more."""
PACKET_HEADERS: Final = 34
ACK_BYTES: Final = 250
HEARTBEAT_BYTES: Final = 600
PLAN_BYTES: Final = 1500
CHATTER_SECONDS: Final = 0.05
CHATTER_BYTES: Final = {'from source': 865, 'to source': 880, 'else': 300}
"""What else crosses a link, in so many bytes at a time: discovery, acknowledgements, telemetry, the second copy of each heartbeat.
Measured on the testbed with a fleet of three at rest and no probes: 18 kB/s from the source's device (with scheduler, frame source
and a client) to another, 24.5 back, of which the first copy of the heartbeats is simulated, and 6.7 between two others."""
QUEUE_SECONDS: Final = float(TestbedLink.model_fields['queue'].default)
"""What a link's queue holds, as the testbed's links have it; two packets at least."""
_CUT: Final = OUTAGE_BITS_PER_SECOND / 8
SAY_AGAIN_SECONDS: Final = 0.2
"""After so long DDS sends again what is reliable and was not acknowledged."""
_SEPARATOR: Final = '\n'


class Loop:
    """Simulated time: actions in the order of their times, and of their being asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a time, or now if that has passed."""
        heapq.heappush(self._events, (max(when, self.now), next(self._order), action))

    def every(self, period: float, action: Callable[[], None], *, first: float | None = None) -> None:
        """Do something again and again."""

        def again() -> None:
            action()
            self.at(self.now + period, again)

        self.at(self.now + (period if first is None else first), again)

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = until


class Wire:
    """One direction of a link as the testbed shapes it (`testbed.shaping`): a token bucket behind a queue with tail drop.

    A packet leaves once those before it are paid for, at the rate at which each left; after a pause the bucket's burst is free
    (``sch_htb``). Where the rate is below `OUTAGE_BITS_PER_SECOND` the link is cut, and what is in the queue then is lost.

    :param capacity: what it carries, headers included.
    :param delay: of every packet beside that.
    """

    def __init__(self, capacity: Capacity, delay: float, queue_seconds: float = QUEUE_SECONDS) -> None:
        self.capacity, self.delay, self._queue_seconds = capacity, delay, queue_seconds
        self._paid_at = -math.inf
        """When all that has left is paid for, and the next packet may leave."""
        self._waiting: deque[tuple[float, int]] = deque()
        """When each packet in the queue leaves, and its bytes."""
        self._backlog = 0
        self.carried = 0
        self._span = (0.0, -math.inf, 0.0, 0)
        """The present rate, until when it holds, the seconds that its burst is worth, the bytes that the queue holds."""

    def send(self, now: float, size: int) -> float | None:
        """Send a datagram; return when it is there, None if one of its packets is lost.

        :param size: with the headers of its message.
        """
        rate, until, burst_seconds, most = self._span
        if now >= until:
            rate, until = self.capacity.span_at(now)
            shape = Shape(max(8 * rate, OUTAGE_BITS_PER_SECOND), self._queue_seconds)
            burst_seconds, most = shape.burst_bytes / rate, shape.queue_bytes
            self._span = rate, until, burst_seconds, most
        if rate < _CUT:
            return None
        while self._waiting and self._waiting[0][0] <= now:
            self._backlog -= self._waiting.popleft()[1]
        self._paid_at = max(self._paid_at, now - burst_seconds)
        left, leaves = size, now
        lost = False
        while left > 0:
            packet = min(left, PACKET_BYTES - PACKET_HEADERS) + PACKET_HEADERS
            left -= packet - PACKET_HEADERS
            if self._backlog + packet > most:
                lost = True
                continue
            leaves = max(now, self._paid_at)
            while leaves >= until and rate >= _CUT:
                rate, until = self.capacity.span_at(until)
            if rate < _CUT:  # it is still there when the link is cut
                return None
            self._paid_at += packet / rate
            self._backlog += packet
            self._waiting.append((leaves, packet))
            self.carried += packet
        return None if lost else leaves + self.delay


Wires = Mapping[tuple[str, str], Wire]


def names_of(layout: Iterable[WireTensor]) -> list[str]:
    """Return the names of the tensors that a simulated message brings."""
    return [name for tensor in layout for name in tensor.name.split(_SEPARATOR)]


@dataclass
class Endpoint:
    """What a node sends and receives with.

    :param incarnation: unlike that of any other node.
    :param accept: takes a whole message that came from another device, or from this one.
    :param peers: every node's endpoint by target, filled before anything is sent.
    """

    loop: Loop
    fleet: Fleet
    device: str
    incarnation: int
    wires: Wires
    accept: Callable[[Received, HopTime], None]
    peers: Mapping[Target, Endpoint]
    _wakes_at: float = math.inf
    _ticking: bool = False

    def __post_init__(self) -> None:
        self.sender = FragmentSender(self.fleet, self.device, self.incarnation)
        self._receiver = FragmentReceiver(self.device, self._later)

    # Sending --------------------------------------------------------------------------------------------------

    def send(
        self, target: Target, address: Address, sizes: Mapping[str, float], stages: tuple[StageTime, ...] = (),
        hops: tuple[HopTime, ...] = (), encode_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Send tensors of so many bytes, by name."""
        size = max(1, round(sum(sizes.values())))
        layout = (WireTensor(_SEPARATOR.join(sizes), 2, (size,), 'raw', 0, size),)
        number = next(self.sender.numbers)
        if target[0] == self.device:
            received = Received(FRAME, self.device, self.incarnation, address, number, _bytes(0), layout, stages, hops,
                                encode_seconds, self.loop.now + HANDLE_SECONDS)  # fmt: skip
            hop = HopTime(self.device, self.device, address.from_stage, size, encode_seconds, 0.0, 0)
            self.loop.at(received.arrived, lambda: self.peers[target].accept(received, hop))
            return
        outbox = self.sender.connect(target).outbox
        message = TensorMessage(FRAME, self.device, self.incarnation, address, number, _bytes(size), layout, stages, hops,
                                encode_seconds, outbox.fragment_bytes(size))  # fmt: skip
        self.sender.put(target, message, self.loop.now)
        self._pump()

    def probe(self, device: str) -> None:
        """Measure a link that nothing uses, or that is held up, if that is due."""
        self.sender.connect((device, False))
        self.sender.probe(device, self.loop.now)
        self._pump()

    def _pump(self) -> None:
        """Send what may leave now, and wake up when more may."""
        now, loop = self.loop.now, self.loop
        for target, peer in self.sender.peers.items():
            while (ready := peer.outbox.take(now)) is not None:
                fragment, receiver = ready[1], self.peers[target]
                there = self.wires[self.device, target[0]].send(now, len(fragment.data) + HEADER_BYTES)
                if there is not None:
                    loop.at(there, functools.partial(receiver.receive, fragment))
        due = max(self.sender.next_at(now), now + 1e-6)
        if due < self._wakes_at:
            self._wakes_at = due
            loop.at(due, functools.partial(self._wake, due))

    def _wake(self, due: float) -> None:
        if due == self._wakes_at:
            self._wakes_at = math.inf
            self._pump()

    def forget_frame(self, frame_number: int, *, late: bool = False) -> None:
        """As `TensorLink.forget_frame`."""
        self.sender.forget_frame(frame_number, self.loop.now, late=late)

    def seconds_left(self, frame_number: int) -> float:
        """As `TensorLink.seconds_left`."""
        return self.sender.seconds_left(frame_number, self.loop.now)

    def forget_device(self, device: str) -> None:
        """As `TensorLink.forget_device`."""
        self.sender.forget_device(device)

    def on_beat(self, message: Any) -> None:
        """Take over what another process of this device has measured (a heartbeat)."""
        self.sender.on_states(links_in(message), self.loop.now)

    def write_links(self, message: Any) -> None:
        """Write what is known of the links into a heartbeat."""
        write_links(message, self.sender.states(self.loop.now))

    def know(self, device: str, bytes_per_second: float) -> None:
        """Take the true rate of a link for what was measured: only who is informed is told."""
        estimator = self.sender.links[device].estimator
        estimator._rates.clear()  # noqa: SLF001
        estimator._rates.append(bytes_per_second)  # noqa: SLF001
        estimator.last_at = self.loop.now
        for peer in self.sender.peers_at(device):
            peer.link.set_pace(peer.outbox)

    # Receiving ------------------------------------------------------------------------------------------------

    def _later(self, received: Received, hop: HopTime) -> None:
        self.loop.at(self.loop.now + HANDLE_SECONDS, lambda: self.accept(received, hop))

    def receive(self, fragment: Fragment) -> None:
        """Take a fragment that has arrived."""
        ack = self._receiver.on_fragment(fragment, self.loop.now)
        if ack is not None:
            self._answer(ack)
        if not self._ticking and self._receiver.incomplete:
            self._ticking = True
            self.loop.at(self.loop.now + QUIET_SECONDS / 2, self._tick)

    def _tick(self) -> None:
        for ack in list(self._receiver.on_tick(self.loop.now)):
            self._answer(ack)
        self._ticking = self._receiver.incomplete
        if self._ticking:
            self.loop.at(self.loop.now + QUIET_SECONDS / 2, self._tick)

    def _answer(self, ack: Ack) -> None:
        there = self.wires[self.device, ack.sender].send(self.loop.now, ACK_BYTES + 4 * (len(ack.missing) + len(ack.also)))
        if there is None:
            self.loop.at(self.loop.now + SAY_AGAIN_SECONDS, lambda: self._answer(ack))
            return
        owner = next(p for (device, _), p in self.peers.items() if device == ack.sender and p.incarnation == ack.incarnation)
        self.loop.at(there, lambda: owner.on_ack(ack))

    def on_ack(self, ack: Ack) -> None:
        """Take an acknowledgement that has arrived."""
        if self.sender.on_ack(ack, self.loop.now):
            self.loop.at(self.loop.now + CONFIRM_SECONDS, lambda: self.probe(ack.receiver))
        self._pump()


_ZEROS = memoryview(bytes(1 << 20))


def _bytes(size: int) -> memoryview:
    """Return so many bytes, of which nobody cares what they are."""
    global _ZEROS  # noqa: PLW0603
    if size > len(_ZEROS):
        _ZEROS = memoryview(bytes(size))
    return _ZEROS[:size]

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A node's transport in simulated time: the product's outboxes, assemblers and link estimates over links that exist here only.

The product's are `Outbox`, `Assembler`, `Links` (with its `LinkEstimator` and `EstimateGuard`) and `LinkProber`. Simulated are the
clock, the links with their queues, and what `TensorSender` and `TensorInbox` add with threads and DDS. Tensors inside a device
cost `HANDLE_SECONDS`. Times in seconds, sizes in bytes.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from edge_dnn_partition.msg import HopAck

from edge_dnn_partition.nodes.transport.links import Links
from edge_dnn_partition.nodes.transport.sender import CONFIRM_SECONDS
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.testbed.shaping import PACKET_BYTES, Shape
from edge_dnn_partition.testbed.testbed_file import TestbedLink
from edge_dnn_partition.testbed.traces import OUTAGE_BITS_PER_SECOND, Capacity
from edge_dnn_partition.transport.assembler import Assembler, Gap, Received
from edge_dnn_partition.transport.fragments import FRAME, HEADER_BYTES, NOWHERE, PROBE, Address, Fragment, TensorMessage
from edge_dnn_partition.transport.outbox import Outbox
from edge_dnn_partition.transport.outgoing import Waiting
from edge_dnn_partition.transport.probing import LinkProber
from edge_dnn_partition.transport.tensors import WireTensor
from edge_dnn_partition.transport.timing import HopTime, StageTime

HANDLE_SECONDS: Final = 0.001
"""What the processes at its ends take to hand a message over, on the testbed; within a device it takes no more."""
QUIET_SECONDS: Final = 0.1
"""As `TensorInbox.QUIET_SECONDS`."""
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

Target = tuple[str, bool]
"""A device, and whether its frame source (True) or its worker is meant."""


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
    probing_share: float = 0.0
    probe_period: float = 1.0
    _outboxes: dict[Target, Outbox] = field(default_factory=dict)
    _wakes_at: float = math.inf
    _ticking: bool = False

    def __post_init__(self) -> None:
        self.links = Links(self.fleet, self.device)
        self._probers = {device: LinkProber() for device in self.links.estimators}
        self._numbers = itertools.count(1)
        self._assembler = Assembler()

    # Sending --------------------------------------------------------------------------------------------------

    def send(
        self, target: Target, address: Address, sizes: Mapping[str, float], stages: tuple[StageTime, ...] = (),
        hops: tuple[HopTime, ...] = (), encode_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Send tensors of so many bytes, by name."""
        size = max(1, round(sum(sizes.values())))
        layout = (WireTensor(_SEPARATOR.join(sizes), 2, (size,), 'raw', 0, size),)
        number = next(self._numbers)
        if target[0] == self.device:
            received = Received(
                FRAME, self.device, self.incarnation, address, number, _bytes(0), layout, stages, hops, encode_seconds, 0, 0.0,
                paced=False, echo_sent_ns=0, arrived=self.loop.now + HANDLE_SECONDS,
            )  # fmt: skip
            hop = HopTime(self.device, self.device, address.from_stage, size, encode_seconds, 0.0, 0)
            self.loop.at(received.arrived, lambda: self.peers[target].accept(received, hop))
            return
        outbox = self._outbox(target)
        self._put(target, TensorMessage(FRAME, self.device, self.incarnation, address, number, _bytes(size), layout, stages, hops,
                                 encode_seconds, outbox.fragment_bytes(size)))  # fmt: skip

    def _outbox(self, target: Target) -> Outbox:
        if target not in self._outboxes:
            silence = functools.partial(self.links.silence, target[0])
            outbox = self._outboxes[target] = Outbox(numbers=self._numbers, on_silence=silence)
            self.links.set_pace(target[0], outbox)
        return self._outboxes[target]

    def _put(self, target: Target, message: TensorMessage, seen: float = 0.0) -> None:
        outbox = self._outbox(target)
        self.links.set_pace(target[0], outbox)
        if message.kind != PROBE:
            for other, peer in self._outboxes.items():
                if other[0] == target[0]:
                    peer.end_probe()
        outbox.put(message, self.loop.now, seen=seen)
        self._pump()

    def probe(self, device: str) -> None:
        """Measure a link that nothing uses, or that is held up, if that is due."""
        outbox = self._outbox((device, False))
        outboxes = [other for target, other in self._outboxes.items() if target[0] == device]
        if not all(other.may_be_probed(self.loop.now) for other in outboxes):
            return
        probe = self._probers[device].next_probe(
            self.loop.now, self.links.estimators[device], self.links.doubts[device], ceiling=self.probing_share,
            period=self.probe_period, rate=outbox.rate, busy=not all(other.idle for other in outboxes),
        )  # fmt: skip
        if probe is None:
            return
        total = probe.fragments * probe.fragment_bytes
        layout = (WireTensor('probe', 2, (total,), 'raw', 0, total),)
        self._put((device, False), TensorMessage(PROBE, self.device, self.incarnation, NOWHERE, next(self._numbers), _bytes(total),
                                          layout, fragment_bytes=probe.fragment_bytes), probe.bytes_per_second)  # fmt: skip

    def worth_probing(self, worth: Mapping[tuple[str, str], tuple[float, float]]) -> None:
        """Take in which links the scheduler would know more of: their share of the ceiling, and bytes per second hoped for."""
        for device, prober in self._probers.items():
            prober.told(self.loop.now, *worth.get((self.device, device), (0.0, 0.0)))

    def _pump(self) -> None:
        """Send what may leave now, and wake up when more may."""
        now, loop = self.loop.now, self.loop
        for target, outbox in self._outboxes.items():
            while (ready := outbox.take(now)) is not None:
                fragment, receiver = ready.fragment, self.peers[target]
                there = self.wires[self.device, target[0]].send(now, len(fragment.data) + HEADER_BYTES)
                if there is not None:
                    loop.at(there, functools.partial(receiver.receive, fragment))
        due = min((outbox.next_at(now) for outbox in self._outboxes.values()), default=math.inf)
        due = max(due, now + 1e-6)
        if due < self._wakes_at:
            self._wakes_at = due
            loop.at(due, functools.partial(self._wake, due))

    def _wake(self, due: float) -> None:
        if due == self._wakes_at:
            self._wakes_at = math.inf
            self._pump()

    def forget_frame(self, frame_id: int, *, late: bool = False) -> None:
        """Send nothing more of a frame that is finished or sent anew, as `TensorSender.forget_frame`."""
        for (device, _), outbox in self._outboxes.items():
            if late and (waits := outbox.unanswered(self.loop.now, frame_id)) is not None:
                self.links.given_up(device, waits, self.loop.now)
            outbox.drop_frame(frame_id)

    def seconds_left(self, frame_id: int) -> float:
        """As `TensorSender.seconds_left`."""
        left = {device: outbox.bytes_left(frame_id) for (device, _), outbox in self._outboxes.items()}
        return max((self.links.seconds_for(device, size, self.loop.now) for device, size in left.items() if size), default=0.0)

    def forget_device(self, device: str) -> None:
        """Forget what is on its way to a device."""
        for target, outbox in self._outboxes.items():
            if target[0] == device:
                outbox.clear()

    def told(self, message: Any) -> None:
        """Take in what another process of this device has measured (a heartbeat)."""
        self.links.told(message, self.loop.now)
        for target, outbox in self._outboxes.items():
            self.links.set_pace(target[0], outbox)

    def describe(self, message: Any) -> None:
        """Write what is known of the links into a heartbeat."""
        waits: dict[str, Waiting] = {}
        for (device, _), outbox in self._outboxes.items():
            found = outbox.unanswered(self.loop.now)
            if found is not None and (device not in waits or found.seconds > waits[device].seconds):
                waits[device] = found
        self.links.describe(message, self.loop.now, waits)

    def know(self, device: str, bytes_per_second: float) -> None:
        """Take the true rate of a link for what was measured: only who is informed is told."""
        estimator = self.links.estimators[device]
        estimator._rates.clear()  # noqa: SLF001
        estimator._rates.append(bytes_per_second)  # noqa: SLF001
        estimator.last_at = self.loop.now
        for target, outbox in self._outboxes.items():
            if target[0] == device:
                self.links.set_pace(device, outbox)

    # Receiving ------------------------------------------------------------------------------------------------

    def receive(self, fragment: Fragment) -> None:
        """Take a fragment that has arrived."""
        key = (fragment.sender, fragment.incarnation, fragment.message)
        received = None if self._assembler.is_done(key) else self._assembler.add(fragment, self.loop.now)
        if received is not None:
            hop = HopTime(received.sender, self.device, received.address.from_stage, len(received.buffer),
                          received.encode_seconds, received.spread_seconds, received.spread_bytes)  # fmt: skip
            if received.kind == FRAME:
                self.loop.at(self.loop.now + HANDLE_SECONDS, lambda: self.accept(received, hop))
            self._answer(fragment, HopAck.COMPLETE, received=received)
        elif self._assembler.is_done(key):
            self._answer(fragment, HopAck.COMPLETE)
        elif (gap := self._assembler.gap(fragment, self.loop.now)) is not None:
            self._ask(gap)
        elif (run := self._assembler.run(fragment)) is not None:
            self._say(fragment.sender, HopAck.RUN, fragment, spread_bytes=run.bytes, spread_seconds=run.seconds, total=run.total,
                      paced=run.as_they_left, fragment_bytes=run.fragment_bytes, since_sent_ns=run.since_sent_ns,
                      echo_sent_ns=run.echo_sent_ns)  # fmt: skip
        if not self._ticking and self._assembler.held_bytes:
            self._ticking = True
            self.loop.at(self.loop.now + QUIET_SECONDS / 2, self._tick)

    def _tick(self) -> None:
        for gap in list(self._assembler.overdue(self.loop.now, QUIET_SECONDS)):
            self._ask(gap)
        self._assembler.forget(self.loop.now, 60.0)
        self._ticking = self._assembler.held_bytes > 0
        if self._ticking:
            self.loop.at(self.loop.now + QUIET_SECONDS / 2, self._tick)

    def _ask(self, gap: Gap) -> None:
        sender, incarnation, message = gap.key
        of = SimpleNamespace(kind=gap.kind, incarnation=incarnation, message=message, sent_ns=0)
        self._say(sender, HopAck.MISSING, of, missing=gap.missing, spread_bytes=gap.came_bytes, spread_seconds=gap.came_seconds)

    def _answer(self, fragment: Fragment, state: int, received: Received | None = None) -> None:
        how: dict[str, Any] = {}
        if received is not None:
            how = {
                'total': len(received.buffer), 'fragment_bytes': received.fragment_bytes, 'spread_bytes': received.spread_bytes,
                'spread_seconds': received.spread_seconds, 'paced': received.paced, 'echo_sent_ns': received.echo_sent_ns,
                'since_sent_ns': received.since_sent_ns,
            }
        self._say(fragment.sender, state, fragment, **how)

    def _say(self, sender: str, state: int, of: Any, **what: Any) -> None:
        ack = SimpleNamespace(
            state=state, kind=of.kind, incarnation=of.incarnation, receiver=self.device, message=of.message, missing=[],
            spread_bytes=0, spread_seconds=0.0, paced=False, total=0, fragment_bytes=0, held_seconds=0.0,
            echo_sent_ns=of.sent_ns, since_sent_ns=0,
        )  # fmt: skip
        ack.__dict__.update(what)
        self._return(sender, ack)

    def _return(self, sender: str, ack: Any) -> None:
        there = self.wires[self.device, sender].send(self.loop.now, ACK_BYTES + 4 * len(ack.missing))
        if there is None:
            self.loop.at(self.loop.now + SAY_AGAIN_SECONDS, lambda: self._return(sender, ack))
            return
        owner = next(p for (device, _), p in self.peers.items() if device == sender and p.incarnation == ack.incarnation)
        self.loop.at(there, lambda: owner.on_ack(ack))

    def on_ack(self, ack: Any) -> None:
        """Take in what a receiver says of a message, as `TensorSender.on_ack`."""
        now, device = self.loop.now, ack.receiver
        self.links.take(ack, [outbox for target, outbox in self._outboxes.items() if target[0] == device], now)
        complete = ack.state == HopAck.COMPLETE
        if ack.kind == PROBE and complete and self.links.doubtful(device):
            self.loop.at(now + CONFIRM_SECONDS, lambda: self.probe(device))
        self._pump()


_ZEROS = memoryview(bytes(1 << 20))


def _bytes(size: int) -> memoryview:
    """Return so many bytes, of which nobody cares what they are."""
    global _ZEROS  # noqa: PLW0603
    if size > len(_ZEROS):
        _ZEROS = memoryview(bytes(size))
    return _ZEROS[:size]

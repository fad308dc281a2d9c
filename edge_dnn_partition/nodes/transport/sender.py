# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending end of a hop over DDS: one paced outbox a peer, and a thread that publishes their fragments."""

from __future__ import annotations

import functools
import heapq
import itertools
import resource
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.msg import Exploration, Heartbeat, HopAck, TensorFragment
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.fragment_codec import encode
from edge_dnn_partition.transport.fragments import FRAME, NOWHERE, PROBE, Address, Fragment, TensorMessage
from edge_dnn_partition.transport.outbox import Outbox
from edge_dnn_partition.transport.outgoing import Waiting
from edge_dnn_partition.transport.probing import LinkProber
from edge_dnn_partition.transport.segments import LEAST_BYTES, SegmentPool
from edge_dnn_partition.transport.tensors import WireTensor, buffer_size, lay_out, place
from edge_dnn_partition.transport.timing import HopTime, StageTime

from .links import Links

CONFIRM_SECONDS: Final = 0.1
"""So long after a probe that showed another rate than is believed a second one leaves: what kept the receiver busy is over."""
_WAITED_SECONDS: Final = 0.0005
"""Where publishing a fragment took so much more than it was at work, it waited for something."""

Target = tuple[str, bool]
"""A device, and whether its frame source (True) or its worker is meant."""


@dataclass
class _Peer:
    outbox: Outbox
    publisher: Any
    segments: SegmentPool | None = None
    readers: int = 0
    """How many inboxes were matched at the last look; that of a process that was killed stays for a while."""
    shared: dict[int, TensorMessage] = field(default_factory=dict)
    """Messages that lie in shared memory and have no acknowledgement yet."""

    def clear(self) -> None:
        """Forget what is on its way."""
        self.outbox.clear()
        self.shared.clear()
        if self.segments is not None:
            self.segments.clear()


def _times_preempted() -> int:
    """Return how often this thread had to leave its processor to others."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class TensorSender:
    """Sends messages to other devices' inboxes, from a thread of its own; may be called from any thread.

    :param node: publishes for it; its ``incarnation`` marks the messages.
    :param fleet: gives first guesses of the links.
    :param hardware: may shape and delay them.
    """

    def __init__(self, node: FleetNode, fleet: Fleet, hardware: Hardware | None = None) -> None:
        self._node, self._hardware = node, hardware or Hardware()
        self._device = node.topics.device
        self._numbers = itertools.count(1)
        self._condition = threading.Condition()
        self._peers: dict[Target, _Peer] = {}
        self._air: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped = False
        self.longest_publish_seconds = 0.0
        """So long has one fragment held this process up, at most."""
        self.longest_publish_cpu_seconds = 0.0
        """And so long has it been at work on one: the rest is the machine's other business."""
        self.probing_share = 0.02
        """What probes may take of an idle link at most."""
        self.probe_period = 1.0
        """Seconds between probes of a link of which nobody would know more, at least."""
        self._links = Links(fleet, self._device, self._hardware)
        self._probers = {device: LinkProber() for device in self._links.estimators}
        self._thread = threading.Thread(target=self._run, name='tensor_sender', daemon=True)
        self._thread.start()

    def connect(self, target: Target) -> None:
        """Make the publisher to an inbox, if it is not there yet. Call it in the thread that spins."""
        if target in self._peers:
            return
        device, to_source = target
        topic = self._node.topics.results(device) if to_source else self._node.topics.tensors(device)
        publisher = self._node.advertise(TensorFragment, topic, qos.TENSORS, always=True)
        segments = SegmentPool() if device == self._device else None
        with self._condition:
            outbox = Outbox(
                self._hardware.shaper(device), local=device == self._device, numbers=self._numbers,
                on_silence=functools.partial(self._links.silence, device),
            )  # fmt: skip
            self._links.set_pace(device, outbox)
            self._peers[target] = _Peer(outbox, publisher, segments)

    def connected(self, target: Target) -> bool:
        """True if the inbox's owner has been discovered."""
        peer = self._peers.get(target)
        return peer is not None and peer.publisher.get_subscription_count() > 0

    def send(
        self,
        target: Target,
        address: Address,
        arrays: Mapping[str, Any],
        encodings: Mapping[str, str],
        *,
        stages: tuple[StageTime, ...] = (),
        hops: tuple[HopTime, ...] = (),
        encode_seconds: float = 0.0,
    ) -> None:
        """Send tensors; they are kept until the receiver has them. The arrays must not change any more.

        :param encodings: of images; an encoded tensor (`Coded`) names its own.
        :param encode_seconds: what it took to encode them.
        """
        begin = time.perf_counter()
        peer = self._peer(target)
        images = {name: code for name, code in encodings.items() if code != 'raw'}
        layout, flat = lay_out(arrays, images)
        number = next(self._numbers)
        buffer, segment = self._place(peer, layout, flat, number)
        message = TensorMessage(
            FRAME, self._device, self._node.incarnation, address, number, buffer, layout, stages, hops,
            encode_seconds + time.perf_counter() - begin, peer.outbox.fragment_bytes(len(buffer)), segment,
        )  # fmt: skip
        self._put(target[0], peer, message)

    def _peer(self, target: Target) -> _Peer:
        try:
            return self._peers[target]
        except KeyError:
            raise WireError(f'no connection to {target[0]} has been made') from None

    def _place(self, peer: _Peer, layout: tuple[WireTensor, ...], flat: list[Any], number: int) -> tuple[memoryview, str]:
        """Put tensors into shared memory where the receiver can read it; return the buffer, and the memory's name."""
        size = buffer_size(layout)
        if peer.segments is not None and size >= LEAST_BYTES:
            with self._condition:
                segment = peer.segments.take(size)
                shared = None if segment is None else segment.fill(size, (self._node.incarnation, number))
            if segment is not None and shared is not None:
                place(layout, flat, shared)
                return shared, segment.name
        return place(layout, flat), ''

    def probe(self, device: str) -> None:
        """Measure a link that nothing uses, if that is due; see `LinkProber`."""
        peer = self._peer((device, False))
        with self._condition:
            now = time.monotonic()
            outboxes = [other.outbox for target, other in self._peers.items() if target[0] == device]
            if not all(outbox.may_be_probed(now) for outbox in outboxes):
                return
            probe = self._probers[device].next_probe(
                now, self._links.estimators[device], self._links.doubts[device], ceiling=self.probing_share,
                period=self.probe_period, rate=peer.outbox.rate, busy=not all(outbox.idle for outbox in outboxes),
            )  # fmt: skip
        if probe is None:
            return
        buffer = memoryview(bytes(probe.fragments * probe.fragment_bytes))
        layout = (WireTensor('probe', 2, (len(buffer),), 'raw', 0, len(buffer)),)
        message = TensorMessage(
            PROBE, self._device, self._node.incarnation, NOWHERE, next(self._numbers), buffer, layout,
            fragment_bytes=probe.fragment_bytes,
        )  # fmt: skip
        self._put(device, peer, message, probe.bytes_per_second)

    def worth_probing(self, message: Exploration) -> None:
        """Take in which links the scheduler would know more of."""
        now = time.monotonic()
        rows = zip(message.senders, message.receivers, message.shares, message.bytes_per_second, strict=True)
        found = {receiver: (share, rate) for sender, receiver, share, rate in rows if sender == self._device}
        with self._condition:
            for device, prober in self._probers.items():
                prober.told(now, *found.get(device, (0.0, 0.0)))

    def _end_probes(self, device: str) -> None:
        """Let no probe of a link stand before what is to go over it, to whichever inbox."""
        for target, peer in self._peers.items():
            if target[0] == device:
                peer.outbox.end_probe()

    def _put(self, device: str, peer: _Peer, message: TensorMessage, seen: float = 0.0) -> None:
        with self._condition:
            self._links.set_pace(device, peer.outbox)
            if message.segment:
                peer.shared[message.number] = message
            now = time.monotonic()
            alone = not self._links.shaped(device) and peer.outbox.idle and self._links.hold(device) <= 0
            if message.kind != PROBE:
                self._end_probes(device)
            peer.outbox.put(message, now, seen=seen)
            ready = peer.outbox.take(now) if alone else None
        while ready is not None:  # what may leave at once is not worth waking another thread for
            self._publish(peer, ready.fragment)
            with self._condition:
                ready = peer.outbox.take(time.monotonic()) if peer.outbox.rate is not None else None
        with self._condition:
            self._condition.notify()

    def _publish(self, peer: _Peer, fragment: Fragment) -> None:
        message = encode(fragment)
        begin, busy, preempted = time.perf_counter(), time.thread_time(), _times_preempted()
        peer.publisher.publish(message)
        took, worked = time.perf_counter() - begin, time.thread_time() - busy
        self.longest_publish_seconds = max(self.longest_publish_seconds, took)
        self.longest_publish_cpu_seconds = max(self.longest_publish_cpu_seconds, worked)
        if took - worked > _WAITED_SECONDS and _times_preempted() == preempted:  # the network's queue was full
            with self._condition:
                peer.outbox.blocked(fragment.message, took - worked)

    def on_ack(self, ack: HopAck) -> None:
        """Take in what a receiver says of a message."""
        if ack.incarnation != self._node.incarnation:
            return
        now = time.monotonic()
        with self._condition:
            peers = [peer for (device, _), peer in self._peers.items() if device == ack.receiver]
            outboxes = []
            for peer in peers:
                shared = peer.shared.pop(ack.message, None) if ack.state != HopAck.RUN else None
                if ack.state == HopAck.MISSING and shared is not None:
                    self._send_in_fragments(peer, shared, now)
                else:
                    outboxes.append(peer.outbox)
            self._links.take(ack, outboxes, now)
            if ack.kind == PROBE and ack.state == HopAck.COMPLETE and self._links.doubtful(ack.receiver):
                confirm: Callable[[], None] = functools.partial(self.probe, ack.receiver)
                heapq.heappush(self._air, (now + CONFIRM_SECONDS, next(self._order), confirm))
            self._condition.notify()

    def _send_in_fragments(self, peer: _Peer, message: TensorMessage, now: float) -> None:
        """Send a message again, and all later ones, in fragments: its receiver does not see this process's memory."""
        if peer.segments is not None:
            peer.segments.clear()
            peer.segments = None
        peer.outbox.acknowledge(message.number)
        peer.outbox.put(replace(message, number=next(self._numbers), segment=''), now)

    def forget_frame(self, frame_id: int, *, late: bool = False) -> None:
        """Send nothing more of a frame that is finished or sent anew.

        :param late: it is sent anew because a link may hold it up, and not since who had it has died.
        """
        now = time.monotonic()
        with self._condition:
            for (device, _), peer in self._peers.items():
                if late and (waits := peer.outbox.unanswered(now, frame_id)) is not None:
                    self._links.given_up(device, waits, now)
                peer.outbox.drop_frame(frame_id)

    def seconds_left(self, frame_id: int) -> float:
        """Return how long what is left here of a frame will be on its way; 0 if nothing is."""
        now = time.monotonic()
        with self._condition:
            left = ((device, peer.outbox.bytes_left(frame_id)) for (device, _), peer in self._peers.items())
            return max((self._links.seconds_for(device, size, now) for device, size in left if size), default=0.0)

    def forget_device(self, device: str) -> None:
        """Forget what is on its way to a device that has died or started anew."""
        with self._condition:
            for target, peer in self._peers.items():
                if target[0] == device:
                    peer.clear()

    def later(self, device: str, action: Callable[[], None]) -> None:
        """Do something small when the delay to a device has passed; at once on a real link."""
        delay = self._links.delay(device)
        if delay <= 0:
            action()
            return
        with self._condition:
            heapq.heappush(self._air, (time.monotonic() + delay, next(self._order), action))
            self._condition.notify()

    def reshape(self, change: Callable[[float], dict[float, float]]) -> None:
        """Call ``change`` with the time while no fragment leaves; it returns the new arrivals of fragments on their way, by old."""
        with self._condition:
            moved = change(time.monotonic())
            self._air = [(moved.get(at, at), number, action) for at, number, action in self._air]
            heapq.heapify(self._air)
            self._condition.notify()

    def told(self, message: Heartbeat) -> None:
        """Take in what another process of this device has measured of the links that start here."""
        with self._condition:
            self._links.told(message, time.monotonic())
            for target, peer in self._peers.items():
                self._links.set_pace(target[0], peer.outbox)

    def describe_links(self, message: Heartbeat, now: float) -> None:
        """Write what is known of the links that start here into a heartbeat; NaN: not measured."""
        with self._condition:
            waits: dict[str, Waiting] = {}
            self._look_for_new_receivers(now)
            for (device, _), peer in self._peers.items():
                found = peer.outbox.unanswered(now)
                if found is not None and (device not in waits or found.seconds > waits[device].seconds):
                    waits[device] = found
            self._links.describe(message, now, waits)

    def _look_for_new_receivers(self, now: float) -> None:
        """Do not hold against a link that a process which has died did not answer, once there is another one in its place."""
        for (device, _), peer in self._peers.items():
            before, peer.readers = peer.readers, peer.publisher.get_subscription_count()
            if peer.readers > before:
                self._links.receiver_anew(device, now)
                peer.outbox.receiver_anew()
                self._links.set_pace(device, peer.outbox)

    @property
    def devices(self) -> list[str]:
        """The other devices of the fleet."""
        return list(self._links.estimators)

    @property
    def bytes_waiting(self) -> int:
        """Bytes that no acknowledgement has come for."""
        with self._condition:
            return sum(peer.outbox.bytes_unacknowledged for peer in self._peers.values())

    def stop(self) -> None:
        """End the thread."""
        with self._condition:
            self._stopped = True
            for peer in self._peers.values():
                peer.clear()
            self._condition.notify()
        self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._stopped:
                    return
                now = time.monotonic()
                due = self._air[0][0] if self._air else float('inf')
                wait = min(due, *(p.outbox.next_at(now) for p in self._peers.values()), float('inf')) - now
                if wait > 0:
                    self._condition.wait(min(wait, 1.0))
                    continue
                for target, peer in self._peers.items():
                    ready = peer.outbox.take(now)
                    if ready is not None:
                        action: Callable[[], None] = functools.partial(self._publish, peer, ready.fragment)
                        at = ready.at + self._links.hold(target[0])
                        heapq.heappush(self._air, (at, next(self._order), action))
                actions = []
                while self._air and self._air[0][0] <= now:
                    actions.append(heapq.heappop(self._air)[2])
            for action in actions:
                try:
                    action()
                except Exception:  # noqa: BLE001, PERF203
                    if self._stopped or self._node.ending.is_set():
                        return
                    self._node.repeats.failure('a fragment could not be sent')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors over DDS: `FragmentSender` and `FragmentReceiver` on topics, with a clock and a thread that publishes fragments."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import resource
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.msg import HopAck, TensorFragment
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.assembler import Handed
from edge_dnn_partition.transport.fragment_codec import decode, decode_ack, encode, encode_ack
from edge_dnn_partition.transport.fragment_receiver import QUIET_SECONDS, FragmentReceiver
from edge_dnn_partition.transport.fragment_sender import CONFIRM_SECONDS, FragmentSender
from edge_dnn_partition.transport.fragments import FRAME, Ack, AckState, Address, Fragment, TensorMessage
from edge_dnn_partition.transport.link import Expect, LinkState, OnMessage, Target
from edge_dnn_partition.transport.tensors import buffer_size, lay_out, place
from edge_dnn_partition.transport.timing import HopTime, StageTime

from .guarded_sender import GuardedSender

_MOST_DEVICES: Final = 256
"""It has links to no more than so many; a stranger could make up any number of names."""
_BLOCKED_SECONDS: Final = 0.0005
"""Where publishing a fragment takes so much longer than it uses the processor, it waited for something."""


def _times_preempted() -> int:
    """Return how often this thread has had to yield its processor to others."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class DdsLink(GuardedSender[FragmentSender]):
    """A `TensorLink` over DDS: best-effort fragments on each target's topic, acknowledgements on each sender's.

    A node of this process gets the tensors as they are, in the thread that sends them.

    :param node: publishes and subscribes for it.
    :param fleet: names the devices, and gives first guesses of the links.
    :param hardware: may shape and delay links.
    :param on_sent: called in the node's thread when a frame's message has been acknowledged.
    """

    def __init__(
        self, node: FleetNode, fleet: Fleet, hardware: Hardware | None = None, *,
        on_sent: Callable[[HopTime], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._node, self._fleet, self._on_sent = node, fleet, on_sent
        self._device = node.topics.device
        self._hardware = hardware or Hardware()
        super().__init__(FragmentSender(fleet, self._device, node.incarnation, self._hardware))
        self._publishers: dict[Target, Any] = {}
        self._answering: dict[str, Any] = {}
        """Publishers of acknowledgements, by the device that they go to."""
        self._air: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._looks_at = -math.inf
        """Until then the thread waits, unless it is woken."""
        self._stopped = False
        self.longest_publish_seconds = 0.0
        """The longest time for which one fragment has blocked this process."""
        self.longest_publish_cpu_seconds = 0.0
        """Of processor time; the rest is the machine's other business."""
        node.subscribe(HopAck, node.topics.acks(), self._on_ack, qos.ACKS, raw=True)
        self._thread = threading.Thread(target=self._run, name='tensor_sender', daemon=True)
        self._thread.start()

    # Sending --------------------------------------------------------------------------------------------------

    @property
    def devices(self) -> list[str]:
        """See `TensorLink`."""
        return list(self.sender.links)

    @property
    def bytes_waiting(self) -> int:
        """See `TensorLink`."""
        with self._condition:
            return self.sender.bytes_waiting

    def connect(self, target: Target) -> None:
        """See `TensorLink`."""
        if target in self._publishers:
            return
        device, to_source = target
        topic = self._node.topics.results(device) if to_source else self._node.topics.tensors(device)
        publisher = self._node.advertise(TensorFragment, topic, qos.TENSORS, always=True)
        self._answers_to(device)  # what is sent there is followed by what comes from there, be it probes alone
        with self._condition:
            self.sender.connect(target)
            self._publishers[target] = publisher

    def _inbox(self, target: Target) -> Callable[[Handed], bool] | None:
        """Return what takes tensors for a target that is in this process."""
        device, to_source = target
        topics = self._node.topics
        return self._node.inboxes.get(topics.results() if to_source else topics.tensors()) if device == self._device else None

    def connected(self, target: Target) -> bool:
        """See `TensorLink`."""
        if self._inbox(target) is not None:
            return True
        publisher = self._publishers.get(target)
        return publisher is not None and publisher.get_subscription_count() > 0

    def send(
        self, target: Target, address: Address, arrays: Mapping[str, Any], encodings: Mapping[str, str], *,
        stages: tuple[StageTime, ...] = (), hops: tuple[HopTime, ...] = (), encode_seconds: float = 0.0,
        deadline: float = math.inf, priority: int = 0,
    ) -> None:  # fmt: skip
        """See `TensorLink`."""
        begin = time.perf_counter()
        peer = self.sender.peer(target)
        layout, flat = lay_out(arrays, {name: code for name, code in encodings.items() if code != 'raw'})
        number, size, segment, shared = next(self.sender.numbers), buffer_size(layout), '', None
        if (take := self._inbox(target)) is not None:
            seconds = encode_seconds + time.perf_counter() - begin
            if take(Handed(
                FRAME, self._device, self.sender.incarnation, address, number, flat, layout, stages, hops, seconds, time.monotonic()
            )):  # fmt: skip
                return
        if peer.segments is not None:
            with self._condition:
                shared, segment = self.sender.segment_for(peer, size, number)
        buffer = place(layout, flat, shared)
        message = TensorMessage(
            FRAME, self._device, self.sender.incarnation, address, number, buffer if shared is None else shared, layout, stages,
            hops, encode_seconds + time.perf_counter() - begin, peer.outbox.fragment_bytes(size), segment, deadline, priority,
        )  # fmt: skip
        self._put(target, lambda now: self.sender.put(target, message, now))

    def probe(self, device: str) -> None:
        """See `TensorLink`."""
        if self.connected((device, False)):
            self._put((device, False), lambda now: self.sender.probe(device, now))

    def _put(self, target: Target, put: Callable[[float], bool]) -> None:
        """Queue a message; what may leave at once is published in this thread, as it is not worth waking another one for."""
        peer = self.sender.peers[target]
        with self._condition:
            now = time.monotonic()
            ready = peer.outbox.take(now) if put(now) else None
        while ready is not None:
            self._publish(target, ready[1])
            with self._condition:
                ready = peer.outbox.take(time.monotonic()) if peer.outbox.rate is not None else None
        with self._condition:
            self._notify()

    def _publish(self, target: Target, fragment: Fragment) -> None:
        message = encode(fragment)
        begin, busy, preempted = time.perf_counter(), time.thread_time(), _times_preempted()
        self._publishers[target].publish(message)
        took, worked = time.perf_counter() - begin, time.thread_time() - busy
        self.longest_publish_seconds = max(self.longest_publish_seconds, took)
        self.longest_publish_cpu_seconds = max(self.longest_publish_cpu_seconds, worked)
        if took - worked > _BLOCKED_SECONDS and _times_preempted() == preempted:  # the network's queue was full
            with self._condition:
                self.sender.peers[target].outbox.on_blocked(fragment.message, took - worked)

    def _on_ack(self, raw: bytes) -> None:
        ack, now = decode_ack(raw), time.monotonic()
        with self._condition:
            others = self.sender.waiting(ack.receiver, ack.also) if ack.also else []
            if self.sender.on_ack(ack, now):
                self._at(now + CONFIRM_SECONDS, functools.partial(self.probe, ack.receiver))
            self._notify()
        if ack.state == AckState.COMPLETE and ack.kind == FRAME and ack.total:
            self._on_sent(HopTime(
                self._device, ack.receiver, ack.address.from_stage, ack.total, 0.0, ack.spread_seconds, ack.spread_bytes,
            ))  # fmt: skip
        for other in others:
            if size := len(other.buffer):
                self._on_sent(HopTime(self._device, ack.receiver, other.address.from_stage, size, 0.0, 0.0, 0))

    def states(self) -> dict[str, LinkState]:
        """See `TensorLink`."""
        with self._condition:
            now = time.monotonic()
            for target, publisher in self._publishers.items():
                self.sender.on_receivers(target, publisher.get_subscription_count(), now)
            return self.sender.states(now)

    def reshape(self, change: Callable[[float], dict[float, float]]) -> None:
        """Call ``change`` with the time while no fragment leaves; it returns the new arrivals of fragments on their way, by old."""
        with self._condition:
            moved = change(time.monotonic())
            self._air = [(moved.get(at, at), number, action) for at, number, action in self._air]
            heapq.heapify(self._air)
            self._notify()

    def stop(self) -> None:
        """See `TensorLink`."""
        with self._condition:
            self._stopped = True
            for peer in self.sender.peers.values():
                peer.clear()
            self._condition.notify()
        self._thread.join(1.0)

    # Receiving ------------------------------------------------------------------------------------------------

    def listen(
        self, to_source: bool, on_message: OnMessage, *, expect: Expect = lambda _: None, max_bytes: int = 1 << 30
    ) -> FragmentReceiver:
        """See `TensorLink`."""
        node = self._node
        receiver = FragmentReceiver(self._device, on_message, expect=expect, max_bytes=max_bytes)

        def answer(ack: Ack) -> None:
            message = encode_ack(ack, time.monotonic())
            publisher = self._answers_to(ack.sender)
            self._later(ack.sender, lambda: publisher.publish(message))

        def on_fragment(message: bytes) -> None:
            fragment = decode(message)
            if fragment.sender not in self._answering:
                self._meet(fragment.sender)
            ack = receiver.on_fragment(fragment, node.arrived)
            if receiver.incomplete:
                tick.start()
            if ack is not None:
                answer(ack)
                if ack.state == AckState.REFUSED:
                    raise WireError(ack.reason)

        def on_tick() -> None:
            if evicted := receiver.take_evicted():
                node.refuse('memory', f'{evicted} incomplete messages evicted for newer ones: too many are under way')
            for ack in receiver.on_tick(time.monotonic()):
                answer(ack)
            if not receiver.incomplete:
                tick.stop()

        def on_handed(received: Handed) -> None:
            expect(received.head())
            on_message(received, HopTime(
                received.sender, self._device, received.address.from_stage, received.bytes, received.encode_seconds, 0.0, 0
            ))  # fmt: skip

        topic = node.topics.results() if to_source else node.topics.tensors()
        node.subscribe(TensorFragment, topic, on_fragment, qos.TENSORS, raw=True)
        node.open_inbox(topic, on_handed)
        tick = node.every(QUIET_SECONDS / 2, on_tick)
        return receiver

    def _answers_to(self, device: str) -> Any:
        if device not in self._answering:
            self._answering[device] = self._node.advertise(HopAck, self._node.topics.acks(device), qos.ACKS, always=True)
        return self._answering[device]

    def _meet(self, device: str) -> None:
        """Have a link to a device that has begun to send, and a way to answer it; until DDS has found that, answers are lost."""
        if device not in self._fleet:
            raise WireError(f'fragment from {device!r}, which is not a device of this fleet')
        if len(self._answering) >= _MOST_DEVICES:
            raise WireError(f'fragment from {device!r}: there are links to {_MOST_DEVICES} devices already')
        self.connect((device, False))

    # The thread -----------------------------------------------------------------------------------------------

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._air, (when, next(self._order), action))

    def _later(self, device: str, action: Callable[[], None]) -> None:
        """Do something small when the delay to a device has passed; at once on a real link."""
        delay = self._hardware.delay(device)
        if delay <= 0:
            action()
            return
        with self._condition:
            self._at(time.monotonic() + delay, action)
            self._notify()

    def _notify(self) -> None:
        """Wake the thread if something is due before it looks again; under the condition."""
        due = self._air[0][0] if self._air else math.inf
        if min(due, self.sender.next_at(time.monotonic())) < self._looks_at:
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._stopped:
                    return
                now = time.monotonic()
                due = self._air[0][0] if self._air else math.inf
                wait = min(due, self.sender.next_at(now)) - now
                if wait > 0:
                    self._looks_at = now + min(wait, 1.0)
                    self._condition.wait(min(wait, 1.0))
                    self._looks_at = -math.inf
                    continue
                for target, peer in self.sender.peers.items():
                    if (ready := peer.outbox.take(now)) is not None:
                        self._at(ready[0] + peer.link.hold, functools.partial(self._publish, target, ready[1]))
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


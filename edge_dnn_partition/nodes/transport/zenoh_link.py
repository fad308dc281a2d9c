# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors over Zenoh: `WholeSender` and `FragmentReceiver` on keys, with a clock, and a thread that hands messages over."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import zenoh

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.msg import HopAck, TensorFragment
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.fragment_codec import decode, decode_ack, encode, encode_ack
from edge_dnn_partition.transport.fragment_receiver import FragmentReceiver
from edge_dnn_partition.transport.fragments import FRAME, Ack, AckState, Address, TensorMessage
from edge_dnn_partition.transport.link import Expect, LinkState, OnMessage, Target
from edge_dnn_partition.transport.sites import Place
from edge_dnn_partition.transport.tensors import pack
from edge_dnn_partition.transport.timing import HopTime, StageTime
from edge_dnn_partition.transport.whole_sender import PING_BYTES, Flight, WholeSender
from edge_dnn_partition.transport.zenoh_session import end_session, open_session

from .guarded_sender import GuardedSender

_MOST_ARRIVED: Final = 256
"""So many messages wait for the node's thread; later ones are not taken, and are sent again."""
_MOST_DEVICES: Final = 64
"""So many devices of other sites are listened to."""
_RETRY_SECONDS: Final = 0.2
_END_SECONDS: Final = 2.0
_LATER_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 1.0
_MOST_PATIENCE_SECONDS: Final = 60.0
"""A session in which nothing has been acknowledged for so long gives way to a new one, where messages are overdue."""


class ZenohLink(GuardedSender[WholeSender]):
    """A `TensorLink` over Zenoh: each message is one put of low priority, each acknowledgement one of high priority.

    It has a session of its own, so that nothing else waits behind tensors in the buffers of its connection. Messages have keys and
    seals as the topics of these names would give them.

    :param place: where the node is.
    :param configuration: of the session.
    :param node: whose thread takes what arrives.
    :param fleet: names the devices, and gives first guesses of the links.
    :param on_sent: called in the node's thread when a frame's message has been acknowledged.
    """

    def __init__(
        self, place: Place, configuration: dict[str, Any], node: FleetNode, fleet: Fleet, *,
        on_sent: Callable[[HopTime], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._place, self._node, self._fleet, self._on_sent = place, node, fleet, on_sent
        self._device = node.topics.device
        super().__init__(WholeSender(fleet, self._device, node.incarnation))
        self._configuration = configuration
        self._session: Any = None
        self._publishers: dict[Target, tuple[Any, Any]] = {}
        """Of tensors and of pings."""
        self._targets: set[Target] = set()
        self._declarations: list[Callable[[Any], None]] = []
        """What each session has; under the condition's lock."""
        self._answers: dict[str, Any] = {}
        """The session's publishers of acknowledgements, by device."""
        self._lost = False
        """Whether the session has lost the router."""
        self._opened_at = self._heard_at = -math.inf
        """When the session was opened, and when something was acknowledged last."""
        self._patience = _PATIENCE_SECONDS
        self._stopped = threading.Event()
        self._arrived: deque[tuple[Callable[[bytes], None], bytes, float]] = deque()
        self._handle = node.guarded(self._take_arrived, always=True)
        self._entities: list[Any] = []
        """What ends when nobody has it."""
        self._subscribe(HopAck, node.topics.acks(), self._on_ack, qos.ACKS)
        self._thread = threading.Thread(target=self._run, name='zenoh_sender', daemon=True)
        self._thread.start()
        node.seals.when_lost(self._on_lost)  # a session without tensors under way would not notice by itself

    # Topics and keys ------------------------------------------------------------------------------------------

    def _leaf(self, topic: str) -> str:
        return topic.removeprefix(f'/{self._node.topics.fleet}/')

    def _publisher(self, session: Any, message_type: type, topic: str, profile: Any, **how: Any) -> Any:
        """Return what seals a message as one of a topic, and puts it."""
        publisher = session.declare_publisher(self._place.key(self._leaf(topic)), **how)
        return self._node.seals.publisher(message_type, _Publisher(topic, publisher), profile)

    def _subscribe(self, message_type: type, topic: str, callback: Callable[[str, bytes], None], profile: Any) -> None:
        """Take what devices of other sites put for this one, in the node's thread; ``callback`` gets the sender's name, too."""
        senders: dict[str, Callable[[bytes], None]] = {}

        def take(sample: Any) -> None:
            key = str(sample.key_expr)
            if self._place.is_own(key):
                return
            sender = key.split('/')[-3]
            if sender not in senders:
                if sender not in self._fleet or len(senders) >= _MOST_DEVICES:
                    return
                checked, _ = self._node.seals.checked(message_type, topic, functools.partial(callback, sender), profile, raw=True)
                senders[sender] = self._node.guarded(checked)
            if len(self._arrived) < _MOST_ARRIVED:
                self._arrived.append((senders[sender], sample.payload.to_bytes(), time.monotonic()))
                self._node.ticks.soon(self._handle)

        def declare(session: Any) -> None:
            self._entities.extend(session.declare_subscriber(key, take) for key in self._place.heard(self._leaf(topic)))

        self._declare(declare)

    def _declare(self, declare: Callable[[Any], None]) -> None:
        with self._condition:
            self._declarations.append(declare)
            self._condition.notify_all()

    def _take_arrived(self) -> None:
        while self._arrived:
            take, raw, self._node.arrived = self._arrived.popleft()
            take(raw)

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
        if target in self._targets:
            return
        self._targets.add(target)
        device, to_source = target
        topic = self._node.topics.results(device) if to_source else self._node.topics.tensors(device)
        with self._condition:
            self.sender.connect(target)

        def look(status: Any) -> None:
            with self._condition:
                self.sender.on_present(target, status.matching, time.monotonic())
                self._condition.notify_all()

        def declare(session: Any) -> None:
            block, priority = zenoh.CongestionControl.BLOCK, zenoh.Priority
            make = functools.partial(self._publisher, session, TensorFragment, topic, qos.TENSORS, congestion_control=block)
            tensors, pings = make(priority=priority.DATA_LOW), make(priority=priority.DATA_HIGH, express=True)
            self._publishers[target] = tensors, pings
            self._entities.append(tensors.declare_matching_listener(look))
            look(tensors.matching_status)

        self._declare(declare)

    def connected(self, target: Target) -> bool:
        """See `TensorLink`."""
        with self._condition:
            way = self.sender.ways.get(target)
            return way is not None and way.present

    def send(
        self, target: Target, address: Address, arrays: Mapping[str, Any], encodings: Mapping[str, str], *,
        stages: tuple[StageTime, ...] = (), hops: tuple[HopTime, ...] = (), encode_seconds: float = 0.0,
        deadline: float = math.inf, priority: int = 0,
    ) -> None:  # fmt: skip
        """See `TensorLink`."""
        begin = time.perf_counter()
        layout, buffer = pack(arrays, {name: code for name, code in encodings.items() if code != 'raw'})
        with self._condition:
            message = TensorMessage(
                FRAME, self._device, self.sender.incarnation, address, next(self.sender.numbers), buffer, layout, stages, hops,
                encode_seconds + time.perf_counter() - begin, max(len(buffer), 1), deadline=deadline, priority=priority,
            )  # fmt: skip
            self.sender.put(target, message, time.monotonic())
            self._condition.notify_all()

    def probe(self, device: str) -> None:
        """See `TensorLink`."""
        if self.connected((device, False)):
            with self._condition:
                if self.sender.probe(device, time.monotonic()):
                    self._condition.notify_all()

    def _on_ack(self, sender: str, raw: bytes) -> None:
        ack = decode_ack(raw)
        if ack.receiver != sender:
            raise WireError(f'{sender!r} acknowledges for {ack.receiver!r}')
        with self._condition:
            self._heard_at, self._patience = self._node.arrived, _PATIENCE_SECONDS
            hop = self.sender.on_ack(ack, self._node.arrived)
            self._condition.notify_all()
        if hop is not None and ack.state == AckState.COMPLETE:
            self._on_sent(hop)

    def states(self) -> dict[str, LinkState]:
        """See `TensorLink`."""
        with self._condition:
            return self.sender.states(time.monotonic())

    def stop(self) -> None:
        """See `TensorLink`."""
        with self._condition:
            self._stopped.set()
            for way in self.sender.ways.values():
                way.clear()
            self._condition.notify_all()
        self._thread.join(_END_SECONDS)

    # Receiving ------------------------------------------------------------------------------------------------

    def listen(
        self, to_source: bool, on_message: OnMessage, *, expect: Expect = lambda _: None, max_bytes: int = 1 << 30
    ) -> FragmentReceiver:
        """See `TensorLink`."""
        topics = self._node.topics
        receiver = FragmentReceiver(self._device, on_message, expect=expect, max_bytes=max_bytes, hold_acks=False)

        def answer(ack: Ack) -> None:
            session, known = self._session, self._answers
            if session is None:
                return
            if ack.sender not in known:
                priority = zenoh.Priority.INTERACTIVE_HIGH
                topic = topics.acks(ack.sender)
                known[ack.sender] = self._publisher(session, HopAck, topic, qos.ACKS, priority=priority, express=True)
            known[ack.sender].publish(encode_ack(ack, time.monotonic()))

        def on_fragment(sender: str, raw: bytes) -> None:
            fragment = decode(raw)
            if fragment.sender != sender or fragment.count != 1 or fragment.segment:
                raise WireError(f'message {fragment.message} of {fragment.sender!r} is not whole, or comes from {sender!r}')
            self.connect((sender, False))
            ack = receiver.on_fragment(fragment, self._node.arrived)
            if ack is not None:
                answer(ack)
                if ack.state == AckState.REFUSED:
                    raise WireError(ack.reason)

        self._subscribe(TensorFragment, topics.results() if to_source else topics.tensors(), on_fragment, qos.TENSORS)
        return receiver

    # The thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (session := self._open()) is not None:
            watch = None
            if self._place.router:
                watch = session.info.declare_transport_events_listener(self._on_transport)
                self._lost |= not session.info.routers_zid()
            over = threading.Event()
            threading.Thread(target=self._serve, args=(session, over), name='zenoh_put', daemon=True).start()
            with self._condition:
                while not (self._stopped.is_set() or self._lost or self._is_dead(time.monotonic())):
                    due = max(self._patient_until(), self.sender.overdue_at()) - time.monotonic()
                    self._condition.wait(None if math.isinf(due) else max(due, 0.0) + _LATER_SECONDS)
                over.set()
                self._session = None
                self._condition.notify_all()
                for target in self.sender.ways:
                    self.sender.on_present(target, False, time.monotonic())
            self._publishers, self._answers, self._entities = {}, {}, []
            if watch is not None:
                watch.undeclare()
            end_session(session, 'zenoh_end')

    def _on_transport(self, event: Any) -> None:
        if event.kind == zenoh.SampleKind.DELETE:
            self._on_lost()

    def _on_lost(self) -> None:
        with self._condition:
            self._lost = True
            self._condition.notify_all()

    def _open(self) -> Any:
        """Return a session as soon as the router can be reached, a new one each time; None if the link is stopped before."""
        while not self._stopped.is_set():
            self._lost = False
            try:
                session = open_session(self._configuration)
            except zenoh.ZError:  # the node's own session says so
                self._stopped.wait(_RETRY_SECONDS)
                continue
            with self._condition:
                self._session, self._opened_at = session, time.monotonic()
            return session
        return None

    def _serve(self, session: Any, over: threading.Event) -> None:
        """Hand messages over until the session is over: a tensor that waits for room in a dead one waits for long."""
        declared = 0
        while True:
            with self._condition:
                if over.is_set():
                    return
                new = self._declarations[declared:]
                declared += len(new)
                now = time.monotonic()
                taken = None if new else self.sender.take(now)
                if taken is not None:
                    self._condition.notify_all()
                if taken is None and not new:
                    self._condition.wait(min(max(self.sender.next_at(now) - now, 0.0), 1.0))
                    continue
            try:
                for declare in new:
                    declare(session)
                if taken is not None:
                    self._put(*taken)
            except Exception:  # noqa: BLE001
                if over.is_set() or self._node.ending.is_set():
                    return
                if not self._lost:
                    self._node.repeats.failure('a message could not be sent')

    def _is_dead(self, now: float) -> bool:
        """Return whether the router seems to be lost, which Zenoh itself notices only after 12 s where a tensor was under way.

        Where a new session has helped nothing, the next one waits for twice as long.
        """
        if not self._place.router or now < max(self._patient_until(), self.sender.overdue_at()):
            return False
        self._patience = min(2 * self._patience, _MOST_PATIENCE_SECONDS)
        return True

    def _patient_until(self) -> float:
        return max(self._opened_at, self._heard_at) + self._patience

    def _put(self, target: Target, flight: Flight) -> None:
        """Hand a message over to Zenoh, which takes as long as it has no room for it."""
        publisher, pings = self._publishers[target]
        ping = len(flight.message.buffer) <= PING_BYTES
        try:
            (pings if ping else publisher).publish(encode(flight.message.fragment(0)))
        finally:
            with self._condition:
                self.sender.queued(flight, time.monotonic())


class _Publisher:
    """A publisher of Zenoh that looks like one of a topic, to `Seals`."""

    def __init__(self, topic: str, publisher: Any) -> None:
        self.topic_name, self._publisher = topic, publisher

    def publish(self, raw: bytes) -> None:
        """Put a message."""
        self._publisher.put(raw)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

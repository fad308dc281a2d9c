# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The two ends of a hop over DDS: a sender with one paced outbox a peer, and an inbox that answers with receipts."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.msg import Emulation, Heartbeat, HopReceipt, TensorPiece
from edge_dnn_partition.planning.fleet import Fleet
from edge_dnn_partition.runtime.assembler import Assembler, Gap, Received
from edge_dnn_partition.runtime.outbox import Outbox
from edge_dnn_partition.runtime.piece_codec import decode, encode
from edge_dnn_partition.runtime.piece_size import probe_piece_size
from edge_dnn_partition.runtime.pieces import FRAME, NOWHERE, PROBE, Address, Bundle, Piece
from edge_dnn_partition.runtime.segments import LEAST_BYTES, SegmentPool, SegmentReader
from edge_dnn_partition.runtime.tensors import WireTensor, buffer_size, lay_out, place, unpack
from edge_dnn_partition.runtime.timing import HopTime, StageTime
from edge_dnn_partition.sensing.link import LinkEstimator
from edge_dnn_partition.testbed.link import Channel, EmulatedLink

from . import qos
from .base import FleetNode

Target = tuple[str, bool]
"""A device, and whether its frame source (True) or its worker is meant."""

PROBE_PIECES: Final = 5
MOST_GUESSED: Final = 5e6
"""Bytes per second at which a link is begun with whose rate is only guessed: then pieces are small and many."""
FEW_LOST: Final = 0.02
"""Where no more of a bundle than this is lost, its rate was right: so much is lost by looking for room (as in BBR
version 2), or on the air."""
_GUESS: Final = (12.5e6, 0.002)


@dataclass
class _Peer:
    outbox: Outbox
    publisher: Any
    segments: SegmentPool | None = None
    shared: dict[int, Bundle] = field(default_factory=dict)
    """Bundles that lie in shared memory and have no receipt yet."""

    def clear(self) -> None:
        """Forget what is on its way."""
        self.outbox.clear()
        self.shared.clear()
        if self.segments is not None:
            self.segments.clear()


class TensorSender:
    """Sends bundles to other devices' inboxes, from a thread of its own; may be called from any thread.

    :param node: publishes for it; its ``incarnation`` marks the bundles.
    :param fleet: gives first guesses of the links, and says which are emulated.
    """

    def __init__(self, node: FleetNode, fleet: Fleet) -> None:
        self._node = node
        self._device = node.topics.device
        self._fleet = fleet
        self._numbers = itertools.count(1)
        self._condition = threading.Condition()
        self._peers: dict[Target, _Peer] = {}
        self._air: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped = False
        self.longest_publish_seconds = 0.0
        """So long has one piece held this process up, at most."""
        self.links = {name: self._estimator(name) for name in fleet.devices if name != self._device}
        self._shapers = self._emulated_links()
        self._delays = {
            link.between[0] if link.between[1] == self._device else link.between[1]: link.delay
            for link in fleet.links
            if link.emulate and self._device in link.between
        }
        self._thread = threading.Thread(target=self._run, name='tensor_sender', daemon=True)
        self._thread.start()

    def connect(self, target: Target) -> None:
        """Make the publisher to an inbox, if it is not there yet. Call it in the thread that spins."""
        if target in self._peers:
            return
        device, to_source = target
        topic = self._node.topics.results(device) if to_source else self._node.topics.tensors(device)
        publisher = self._node.create_publisher(TensorPiece, topic, qos.TENSORS)
        segments = SegmentPool() if device == self._device else None
        with self._condition:
            outbox = Outbox(
                self._shapers.get(device), local=device == self._device, numbers=self._numbers,
                on_silence=functools.partial(self._silent, device),
            )  # fmt: skip
            self._set_pace(device, outbox)
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
    ) -> None:
        """Send tensors; they are kept until the receiver has them. The arrays must not change any more."""
        begin = time.perf_counter()
        peer = self._peer(target)
        pictures = {name: code for name, code in encodings.items() if code != 'raw'}
        layout, flat = lay_out(arrays, pictures)
        buffer, segment = self._place(peer, layout, flat)
        bundle = Bundle(
            FRAME, self._device, self._node.incarnation, address, next(self._numbers), buffer, layout, stages, hops,
            time.perf_counter() - begin, peer.outbox.piece_bytes(len(buffer)), segment,
        )  # fmt: skip
        self._put(target[0], peer, bundle)

    def _peer(self, target: Target) -> _Peer:
        try:
            return self._peers[target]
        except KeyError:
            raise WireError(f'no connection to {target[0]} has been made') from None

    def _place(self, peer: _Peer, layout: tuple[WireTensor, ...], flat: list[Any]) -> tuple[memoryview, str]:
        """Put tensors into shared memory where the receiver can read it; return the buffer, and the memory's name."""
        size = buffer_size(layout)
        if peer.segments is not None and size >= LEAST_BYTES:
            with self._condition:
                segment = peer.segments.take(size)
                shared = None if segment is None else segment.fill(size)
            if segment is not None and shared is not None:
                place(layout, flat, shared)
                return shared, segment.name
        return place(layout, flat), ''

    def probe(self, device: str) -> None:
        """Measure a link that nothing uses; does nothing while something does."""
        peer = self._peer((device, False))
        size = probe_piece_size(peer.outbox.rate)
        buffer = memoryview(bytes(PROBE_PIECES * size))
        layout = (WireTensor('probe', 2, (len(buffer),), 'raw', 0, len(buffer)),)
        bundle = Bundle(
            PROBE, self._device, self._node.incarnation, NOWHERE, next(self._numbers), buffer, layout,
            piece_bytes=size,
        )  # fmt: skip
        self._put(device, peer, bundle)

    def _put(self, device: str, peer: _Peer, bundle: Bundle) -> None:
        with self._condition:
            self._set_pace(device, peer.outbox)
            if bundle.segment:
                peer.shared[bundle.number] = bundle
            now = time.monotonic()
            alone = device == self._device and peer.outbox.idle and bundle.count == 1
            peer.outbox.put(bundle, now)
            ready = peer.outbox.take(now) if alone else None
            self._condition.notify()
        if ready is not None:  # one small piece within this device: not worth waking another thread for
            self._publish(peer.publisher, ready.piece)

    def _publish(self, publisher: Any, piece: Piece) -> None:
        message = encode(piece)
        begin = time.perf_counter()
        publisher.publish(message)
        self.longest_publish_seconds = max(self.longest_publish_seconds, time.perf_counter() - begin)

    def on_receipt(self, receipt: HopReceipt) -> None:
        """Take in what a receiver says of a bundle."""
        if receipt.incarnation != self._node.incarnation:
            return
        now = time.monotonic()
        with self._condition:
            estimator = self.links.get(receipt.receiver)
            measured = receipt.spread_bytes / receipt.spread_seconds if receipt.spread_seconds > 0 else 0.0
            if estimator is not None and receipt.state == HopReceipt.COMPLETE and receipt.spread_bytes > 0:
                # The last piece's own time on the wire is taken off, at the rate of its own bundle.
                last = min(receipt.piece_bytes, receipt.total)
                on_wire = last * receipt.spread_seconds / receipt.spread_bytes
                trip = now - receipt.echo_sent_ns * 1e-9 - receipt.held_seconds - on_wire
                if trip > 0:
                    estimator.round_trip(now, trip)
                estimator.transfer(now, receipt.spread_bytes, receipt.spread_seconds, sender_limited=receipt.paced)
            for target, peer in self._peers.items():
                if target[0] == receipt.receiver:
                    self._set_pace(target[0], peer.outbox)
                    shared = peer.shared.pop(receipt.bundle, None)
                    if receipt.state == HopReceipt.MISSING and shared is not None:
                        self._send_in_pieces(peer, shared, now)
                    elif receipt.state == HopReceipt.MISSING:
                        lost = 1.0 if receipt.kind == PROBE else peer.outbox.resend(receipt.bundle, receipt.missing)
                        if lost > FEW_LOST and estimator is not None and receipt.receiver not in self._shapers:
                            estimator.loss(now, receipt.spread_bytes, receipt.spread_seconds)
                            self._set_pace(target[0], peer.outbox)
                    else:
                        peer.outbox.acknowledge(receipt.bundle, measured)
            self._condition.notify()

    def _send_in_pieces(self, peer: _Peer, bundle: Bundle, now: float) -> None:
        """Send a bundle again, and all later ones, in pieces: its receiver does not see this process's memory."""
        if peer.segments is not None:
            peer.segments.clear()
            peer.segments = None
        peer.outbox.acknowledge(bundle.number)
        peer.outbox.put(replace(bundle, number=next(self._numbers), segment=''), now)

    def forget_frame(self, frame_id: int) -> None:
        """Send nothing more of a frame that is finished or sent anew."""
        with self._condition:
            for peer in self._peers.values():
                peer.outbox.drop_frame(frame_id)

    def forget_device(self, device: str) -> None:
        """Forget what is on its way to a device that has died or started anew."""
        with self._condition:
            for target, peer in self._peers.items():
                if target[0] == device:
                    peer.clear()

    def later(self, device: str, action: Callable[[], None]) -> None:
        """Do something small when the emulated delay to a device has passed; at once on a real link."""
        delay = self._delays.get(device, 0.0)
        if delay <= 0:
            action()
            return
        with self._condition:
            heapq.heappush(self._air, (time.monotonic() + delay, next(self._order), action))
            self._condition.notify()

    def emulate(self, message: Emulation) -> None:
        """Change the emulated links that start here."""
        with self._condition:
            rows = zip(
                message.link_senders, message.link_receivers, message.link_bytes_per_second,
                message.link_latency_seconds, strict=True,
            )  # fmt: skip
            for sender, receiver, rate, latency in rows:
                shaper = self._shapers.get(receiver)
                if sender == self._device and shaper is not None:
                    shaper.bytes_per_second = rate
                    shaper.latency_seconds = self._delays[receiver] = latency
            self._condition.notify()

    def describe_links(self, message: Heartbeat, now: float) -> None:
        """Write what is known of the links that start here into a heartbeat; NaN: not measured."""
        names = list(self.links)
        estimates = [self.links[name].estimate for name in names]
        message.peers = names
        message.bytes_per_second = [e.bytes_per_second if e.measured else math.nan for e in estimates]
        message.latency_seconds = [e.latency_seconds if e.measured else math.nan for e in estimates]
        message.age_seconds = [now - self.links[name].last_at for name in names]

    @property
    def bytes_waiting(self) -> int:
        """Bytes that no receipt has come for."""
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

    def _estimator(self, device: str) -> LinkEstimator:
        for link in self._fleet.links:
            if set(link.between) == {device, self._device}:
                return LinkEstimator((link.rate, link.delay))
        return LinkEstimator(_GUESS)

    def _emulated_links(self) -> dict[str, EmulatedLink]:
        channels: dict[str, Channel] = {}
        shapers = {}
        for link in self._fleet.links:
            if link.emulate and self._device in link.between:
                other = link.between[0] if link.between[1] == self._device else link.between[1]
                channel = channels.setdefault(link.channel, Channel()) if link.channel else Channel()
                shapers[other] = EmulatedLink(link.rate, link.delay, channel=channel)
        return shapers

    def _pace(self, device: str) -> float | None:
        if device == self._device or device in self._shapers:
            return None
        estimate = self.links[device].estimate
        return estimate.bytes_per_second if estimate.measured else min(estimate.bytes_per_second, MOST_GUESSED)

    def _set_pace(self, device: str, outbox: Outbox) -> None:
        outbox.rate = self._pace(device)
        outbox.cautious = outbox.rate is not None and not self.links[device].estimate.measured

    def _silent(self, device: str, now: float) -> float | None:
        """Believe less of a link that answers nothing; return the pace from now on."""
        if self._pace(device) is None:
            return None
        self.links[device].silence(now)
        return self._pace(device)

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
                for peer in self._peers.values():
                    ready = peer.outbox.take(now)
                    if ready is not None:
                        action = functools.partial(self._publish, peer.publisher, ready.piece)
                        heapq.heappush(self._air, (ready.at, next(self._order), action))
                actions = []
                while self._air and self._air[0][0] <= now:
                    actions.append(heapq.heappop(self._air)[2])
            for action in actions:
                try:
                    action()
                except Exception:  # noqa: BLE001, PERF203
                    if self._stopped or self._node.ending.is_set():
                        return
                    self._node.get_logger().error(f'a piece could not be sent:\n{traceback.format_exc()}')


class TensorInbox:
    """Receives pieces for one node, puts bundles together, and answers each with a receipt.

    :param accept: takes a whole bundle's tensors; a `WireError` it raises goes back as a refusal.
    :param quiet_seconds: after so long without a piece the missing ones are asked for.
    """

    QUIET_SECONDS: Final = 0.1
    FORGET_SECONDS: Final = 60.0

    def __init__(
        self,
        node: FleetNode,
        topic: str,
        sender: TensorSender,
        accept: Callable[[Received, HopTime], None],
        *,
        max_bytes: int = 1 << 30,
    ) -> None:
        self._node = node
        self._sender = sender
        self._accept = accept
        self._assembler = Assembler(max_bytes)
        self._segments = SegmentReader()
        self._receipts: dict[str, Any] = {}
        self._incarnations: dict[str, int] = {}
        node.subscribe(TensorPiece, topic, self._piece, qos.TENSORS, raw=True)
        node.every(self.QUIET_SECONDS / 2, self._tick)

    def connect(self, device: str) -> None:
        """Make the publisher of receipts to a device that will send here."""
        if device not in self._receipts:
            self._receipts[device] = self._node.create_publisher(
                HopReceipt, self._node.topics.receipts(device), qos.RECEIPTS
            )

    def _piece(self, message: bytes) -> None:
        now = time.monotonic()
        piece = decode(message)
        if piece.sender not in self._receipts:
            raise WireError(f'a piece of {piece.sender!r}, which is no device of this fleet')
        if self._incarnations.get(piece.sender) != piece.incarnation and piece.kind == FRAME:
            self._incarnations[piece.sender] = piece.incarnation
        key = (piece.sender, piece.incarnation, piece.bundle)
        if self._assembler.is_done(key):
            self._answer(piece.sender, piece.incarnation, piece.address, piece.bundle, piece.kind, HopReceipt.COMPLETE)
            return
        try:
            if piece.segment:
                buffer = self._segments.open(piece.segment, piece.total)
                if buffer is None:  # the sender's memory is not to be seen from here
                    self._answer(
                        piece.sender, piece.incarnation, piece.address, piece.bundle, piece.kind, HopReceipt.MISSING,
                    )  # fmt: skip
                    return
                received = self._assembler.add_shared(piece, buffer, now)
            else:
                received = self._assembler.add(piece, now)
        except WireError as error:
            self._answer(
                piece.sender, piece.incarnation, piece.address, piece.bundle, piece.kind, HopReceipt.REFUSED,
                reason=str(error),
            )  # fmt: skip
            raise
        if received is not None:
            self._whole(received)
        elif piece.index == piece.count - 1 and (gap := self._assembler.gap(key, now)) is not None:
            self._ask(gap)  # the last piece is here and others are not: they are lost

    def _whole(self, received: Received) -> None:
        state, reason = HopReceipt.COMPLETE, ''
        hop = HopTime(
            received.sender, self._node.topics.device, received.address.from_stage, len(received.buffer),
            received.encode_seconds, received.spread_seconds, received.spread_bytes,
        )  # fmt: skip
        refusal = None
        if received.kind == FRAME:
            try:
                self._accept(received, hop)
            except WireError as error:
                state, reason, refusal = HopReceipt.REFUSED, str(error), error
        self._answer(
            received.sender, received.incarnation, received.address, received.number, received.kind, state,
            reason=reason, received=received,
        )  # fmt: skip
        if refusal is not None:
            raise refusal

    def _answer(
        self,
        sender: str,
        incarnation: int,
        address: Address,
        bundle: int,
        kind: int,
        state: int,
        *,
        reason: str = '',
        gap: Gap | None = None,
        received: Received | None = None,
    ) -> None:
        receipt = HopReceipt(
            state=state, kind=kind, sender=sender, incarnation=incarnation, receiver=self._node.topics.device,
            frame_id=address.frame_id, attempt=address.attempt, plan_version=address.plan_version,
            from_stage=address.from_stage, bundle=bundle, reason=reason, missing=gap.missing if gap else [],
            echo_sent_ns=time.monotonic_ns() if received is None else received.echo_sent_ns,
        )  # fmt: skip
        if gap is not None:
            receipt.spread_bytes, receipt.spread_seconds = gap.came_bytes, gap.came_seconds
        if received is not None:
            receipt.total = len(received.buffer)
            receipt.piece_bytes = received.piece_bytes
            receipt.spread_bytes = received.spread_bytes
            receipt.spread_seconds = received.spread_seconds
            receipt.paced = received.paced
            receipt.held_seconds = time.monotonic() - received.arrived
        self._sender.later(sender, lambda: self._receipts[sender].publish(receipt))

    def _ask(self, gap: Gap) -> None:
        sender, incarnation, bundle = gap.key
        self._answer(sender, incarnation, gap.address, bundle, gap.kind, HopReceipt.MISSING, gap=gap)

    def _tick(self) -> None:
        now = time.monotonic()
        for gap in self._assembler.overdue(now, self.QUIET_SECONDS):
            self._ask(gap)
        self._assembler.forget(now, self.FORGET_SECONDS)


def views(received: Received) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a bundle's tensors as views of its buffer, and their encodings."""
    arrays = unpack(received.layout, received.buffer)
    return arrays, {tensor.name: tensor.encoding for tensor in received.layout}

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The receiving end of a hop over DDS: puts messages together and answers each with an acknowledgement."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.msg import HopAck, TensorFragment
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.transport.assembler import Assembler, Gap, Received
from edge_dnn_partition.transport.fragment_codec import decode
from edge_dnn_partition.transport.fragments import FRAME, Address, Fragment
from edge_dnn_partition.transport.partial import Run
from edge_dnn_partition.transport.segments import SegmentReader
from edge_dnn_partition.transport.tensors import image_parts, unpack
from edge_dnn_partition.transport.timing import HopTime

from .sender import TensorSender


class TensorInbox:
    """Receives fragments for one node, puts messages together, and answers each with an acknowledgement.

    :param accept: takes a whole message's tensors; a `WireError` it raises goes back as a refusal.
    :param expect: raises `WireError` for a message's first fragment if nobody waits for what it says that the message has.
    :param max_bytes: of one message, and of what has come of all that are not whole yet.
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
        expect: Callable[[Fragment], None] = lambda _: None,
        max_bytes: int = 1 << 30,
    ) -> None:
        self._node = node
        self._sender = sender
        self._accept = accept
        self._assembler = Assembler(max_bytes, expect)
        self._segments = SegmentReader()
        self._acks: dict[str, Any] = {}
        node.subscribe(TensorFragment, topic, self._fragment, qos.TENSORS, raw=True)
        node.every(self.QUIET_SECONDS / 2, self._tick)

    @property
    def held_bytes(self) -> int:
        """Bytes that have come of messages that are not whole yet."""
        return self._assembler.held_bytes

    def connect(self, device: str) -> None:
        """Make the publisher of acknowledgements to a device that will send here."""
        if device not in self._acks:
            self._acks[device] = self._node.advertise(
                HopAck, self._node.topics.acks(device), qos.ACKS, always=True
            )

    def _fragment(self, message: bytes) -> None:
        now = self._node.arrived
        fragment = decode(message)
        if fragment.sender not in self._acks:
            raise WireError(f'a fragment of {fragment.sender!r}, which is no device of this fleet')
        key = (fragment.sender, fragment.incarnation, fragment.message)
        if self._assembler.is_done(key):
            self._answer(fragment.sender, fragment.incarnation, fragment.address, fragment.message, fragment.kind, HopAck.COMPLETE)
            return
        try:
            if fragment.segment:
                buffer = self._segments.open(fragment.segment, fragment.total, key[1:])
                if buffer is None:  # the sender's memory is not to be seen from here
                    self._answer(
                        fragment.sender, fragment.incarnation, fragment.address, fragment.message, fragment.kind, HopAck.MISSING,
                    )  # fmt: skip
                    return
                received = self._assembler.add_shared(fragment, buffer, now)
            else:
                received = self._assembler.add(fragment, now)
        except WireError as error:
            self._answer(
                fragment.sender, fragment.incarnation, fragment.address, fragment.message, fragment.kind, HopAck.REFUSED,
                reason=str(error),
            )  # fmt: skip
            raise
        if received is not None:
            self._whole(received)
        elif self._assembler.is_done(key):  # it is here already, under another number
            self._answer(fragment.sender, fragment.incarnation, fragment.address, fragment.message, fragment.kind, HopAck.COMPLETE)
        elif (gap := self._assembler.gap(fragment, now)) is not None:
            self._ask(gap)
        elif (run := self._assembler.run(fragment)) is not None:
            self._answer(fragment.sender, fragment.incarnation, fragment.address, fragment.message, fragment.kind, HopAck.RUN,
                run=run)

    def _whole(self, received: Received) -> None:
        state, reason = HopAck.COMPLETE, ''
        hop = HopTime(
            received.sender, self._node.topics.device, received.address.from_stage, len(received.buffer),
            received.encode_seconds, received.spread_seconds, received.spread_bytes,
        )  # fmt: skip
        refusal = None
        if received.kind == FRAME:
            try:
                self._accept(received, hop)
            except WireError as error:
                state, reason, refusal = HopAck.REFUSED, str(error), error
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
        message: int,
        kind: int,
        state: int,
        *,
        reason: str = '',
        gap: Gap | None = None,
        received: Received | None = None,
        run: Run | None = None,
    ) -> None:
        ack = HopAck(
            state=state, kind=kind, sender=sender, incarnation=incarnation, receiver=self._node.topics.device,
            frame_id=address.frame_id, attempt=address.attempt, plan_version=address.plan_version,
            from_stage=address.from_stage, message=message, reason=reason, missing=gap.missing if gap else [],
            echo_sent_ns=time.monotonic_ns() if received is None else received.echo_sent_ns,
        )  # fmt: skip
        if gap is not None:
            ack.spread_bytes, ack.spread_seconds = gap.came_bytes, gap.came_seconds
        if received is not None:
            ack.total = len(received.buffer)
            ack.fragment_bytes = received.fragment_bytes
            ack.spread_bytes = received.spread_bytes
            ack.spread_seconds = received.spread_seconds
            ack.paced, ack.since_sent_ns = received.paced, received.since_sent_ns
            ack.held_seconds = time.monotonic() - received.arrived
        if run is not None:
            ack.total, ack.fragment_bytes, ack.paced = run.total, run.fragment_bytes, run.as_they_left
            ack.spread_bytes, ack.spread_seconds = run.bytes, run.seconds
            ack.since_sent_ns, ack.echo_sent_ns = run.since_sent_ns, run.echo_sent_ns
            ack.held_seconds = time.monotonic() - run.arrived
        self._sender.later(sender, lambda: self._acks[sender].publish(ack))

    def _ask(self, gap: Gap) -> None:
        sender, incarnation, message = gap.key
        self._answer(sender, incarnation, gap.address, message, gap.kind, HopAck.MISSING, gap=gap)

    def _tick(self) -> None:
        now = time.monotonic()
        if evicted := self._assembler.evicted:
            self._assembler.evicted = 0
            self._node.refuse('memory', f'{evicted} incomplete messages evicted for newer ones: too many are under way')
        for gap in self._assembler.overdue(now, self.QUIET_SECONDS):
            self._ask(gap)
        self._assembler.forget(now, self.FORGET_SECONDS)


def views(received: Received) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a message's tensors as views of its buffer, and their encodings: of compressed pixels, what the pixels are."""
    arrays = unpack(received.layout, received.buffer)
    return arrays, {tensor.name: image_parts(tensor.encoding)[0] for tensor in received.layout}

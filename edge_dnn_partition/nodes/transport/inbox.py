# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The receiving end of a hop over DDS: puts bundles together and answers each with a receipt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.msg import HopReceipt, TensorPiece
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.transport.assembler import Assembler, Gap, Received
from edge_dnn_partition.transport.partial import Run
from edge_dnn_partition.transport.piece_codec import decode
from edge_dnn_partition.transport.pieces import FRAME, Address, Piece
from edge_dnn_partition.transport.segments import SegmentReader
from edge_dnn_partition.transport.tensors import picture_parts, unpack
from edge_dnn_partition.transport.timing import HopTime

from .sender import TensorSender


class TensorInbox:
    """Receives pieces for one node, puts bundles together, and answers each with a receipt.

    :param accept: takes a whole bundle's tensors; a `WireError` it raises goes back as a refusal.
    :param expect: raises `WireError` for a bundle's first piece if nobody waits for what it says that the bundle has.
    :param max_bytes: of one bundle, and of what has come of all that are not whole yet.
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
        expect: Callable[[Piece], None] = lambda _: None,
        max_bytes: int = 1 << 30,
    ) -> None:
        self._node = node
        self._sender = sender
        self._accept = accept
        self._assembler = Assembler(max_bytes, expect)
        self._segments = SegmentReader()
        self._receipts: dict[str, Any] = {}
        node.subscribe(TensorPiece, topic, self._piece, qos.TENSORS, raw=True)
        node.every(self.QUIET_SECONDS / 2, self._tick)

    @property
    def held_bytes(self) -> int:
        """Bytes that have come of bundles that are not whole yet."""
        return self._assembler.held_bytes

    def connect(self, device: str) -> None:
        """Make the publisher of receipts to a device that will send here."""
        if device not in self._receipts:
            self._receipts[device] = self._node.advertise(
                HopReceipt, self._node.topics.receipts(device), qos.RECEIPTS, always=True
            )

    def _piece(self, message: bytes) -> None:
        now = self._node.arrived
        piece = decode(message)
        if piece.sender not in self._receipts:
            raise WireError(f'a piece of {piece.sender!r}, which is no device of this fleet')
        key = (piece.sender, piece.incarnation, piece.bundle)
        if self._assembler.is_done(key):
            self._answer(piece.sender, piece.incarnation, piece.address, piece.bundle, piece.kind, HopReceipt.COMPLETE)
            return
        try:
            if piece.segment:
                buffer = self._segments.open(piece.segment, piece.total, key[1:])
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
        elif self._assembler.is_done(key):  # it is here already, under another number
            self._answer(piece.sender, piece.incarnation, piece.address, piece.bundle, piece.kind, HopReceipt.COMPLETE)
        elif (gap := self._assembler.gap(piece, now)) is not None:
            self._ask(gap)
        elif (run := self._assembler.run(piece)) is not None:
            self._answer(piece.sender, piece.incarnation, piece.address, piece.bundle, piece.kind, HopReceipt.RUN, run=run)

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
        run: Run | None = None,
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
            receipt.paced, receipt.since_sent_ns = received.paced, received.since_sent_ns
            receipt.held_seconds = time.monotonic() - received.arrived
        if run is not None:
            receipt.total, receipt.piece_bytes, receipt.paced = run.total, run.piece_bytes, run.as_they_left
            receipt.spread_bytes, receipt.spread_seconds = run.bytes, run.seconds
            receipt.since_sent_ns, receipt.echo_sent_ns = run.since_sent_ns, run.echo_sent_ns
            receipt.held_seconds = time.monotonic() - run.arrived
        self._sender.later(sender, lambda: self._receipts[sender].publish(receipt))

    def _ask(self, gap: Gap) -> None:
        sender, incarnation, bundle = gap.key
        self._answer(sender, incarnation, gap.address, bundle, gap.kind, HopReceipt.MISSING, gap=gap)

    def _tick(self) -> None:
        now = time.monotonic()
        if evicted := self._assembler.evicted:
            self._assembler.evicted = 0
            self._node.refuse('memory', f'{evicted} bundles that were not whole made room for newer ones: far more comes than fits')
        for gap in self._assembler.overdue(now, self.QUIET_SECONDS):
            self._ask(gap)
        self._assembler.forget(now, self.FORGET_SECONDS)


def views(received: Received) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a bundle's tensors as views of its buffer, and their encodings: of compressed pixels, what the pixels are."""
    arrays = unpack(received.layout, received.buffer)
    return arrays, {tensor.name: picture_parts(tensor.encoding)[0] for tensor in received.layout}

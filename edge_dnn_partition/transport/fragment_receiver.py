# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The receiving half of a hop, without clock or network: fragments go in, messages and acknowledgements come out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edge_dnn_partition.errors import WireError

from .assembler import Assembler, Gap, Received
from .fragments import FRAME, Ack, AckState, Fragment
from .link import Expect, OnMessage
from .segments import SegmentReader
from .timing import HopTime

QUIET_SECONDS: Final = 0.1
"""A message of which nothing has come for this long is asked after."""
_FORGET_SECONDS: Final = 60.0


class FragmentReceiver:
    """Time is passed in; not thread safe.

    :param device: this one.
    :param on_message: takes each frame's message that is complete.
    :param expect: raises `WireError` for the first fragment of a message that nobody waits for.
    :param max_bytes: of one message, and of all incomplete messages together.
    """

    def __init__(
        self, device: str, on_message: OnMessage, *, expect: Expect = lambda _: None, max_bytes: int = 1 << 30
    ) -> None:
        self._device, self._on_message = device, on_message
        self.assembler = Assembler(max_bytes, expect)
        self.segments = SegmentReader()

    @property
    def held_bytes(self) -> int:
        """Bytes held of incomplete messages."""
        return self.assembler.held_bytes

    @property
    def incomplete(self) -> bool:
        """Whether fragments of some message are missing, so that `on_tick` has something to do."""
        return self.assembler.incomplete

    def take_evicted(self) -> int:
        """Return how many incomplete messages have been evicted for newer ones since the last call."""
        evicted, self.assembler.evicted = self.assembler.evicted, 0
        return evicted

    def on_fragment(self, fragment: Fragment, now: float) -> Ack | None:
        """Take a fragment; return the acknowledgement to send, if any. One of state REFUSED has a reason."""
        assembler = self.assembler
        key = (fragment.sender, fragment.incarnation, fragment.message)
        if assembler.is_done(key):
            return self._ack(fragment, AckState.COMPLETE)
        try:
            if fragment.segment:
                buffer = self.segments.open(fragment.segment, fragment.total, key[1:])
                if buffer is None:  # the sender's memory cannot be seen from here
                    return self._ack(fragment, AckState.MISSING)
                received = assembler.add_shared(fragment, buffer, now)
            else:
                received = assembler.add(fragment, now)
            if received is not None:
                return self._complete(received)
        except WireError as error:
            return self._ack(fragment, AckState.REFUSED, reason=str(error))
        if assembler.is_done(key):  # it is here already, under another number
            return self._ack(fragment, AckState.COMPLETE)
        if (gap := assembler.gap(fragment, now)) is not None:
            return self._missing(gap)
        if (run := assembler.run(fragment)) is not None:
            return self._ack(
                fragment, AckState.RUN, total=run.total, fragment_bytes=run.fragment_bytes, spread_bytes=run.bytes,
                spread_seconds=run.seconds, paced=run.as_they_left, since_sent_ns=run.since_sent_ns,
                echo_sent_ns=run.echo_sent_ns, arrived=run.arrived,
            )  # fmt: skip
        return None

    def on_tick(self, now: float) -> Iterator[Ack]:
        """Yield requests for what is missing of messages that were quiet; call it every `QUIET_SECONDS` / 2 while `incomplete`."""
        yield from map(self._missing, self.assembler.overdue(now, QUIET_SECONDS))
        self.assembler.forget(now, _FORGET_SECONDS)

    def _complete(self, received: Received) -> Ack:
        state, reason = AckState.COMPLETE, ''
        if received.kind == FRAME:
            hop = HopTime(
                received.sender, self._device, received.address.from_stage, len(received.buffer), received.encode_seconds,
                received.spread_seconds, received.spread_bytes,
            )  # fmt: skip
            try:
                self._on_message(received, hop)
            except WireError as error:
                state, reason = AckState.REFUSED, str(error)
        return Ack(
            state, received.kind, received.sender, received.incarnation, self._device, received.address, received.number,
            reason=reason, total=len(received.buffer), fragment_bytes=received.fragment_bytes,
            spread_bytes=received.spread_bytes, spread_seconds=received.spread_seconds, paced=received.paced,
            since_sent_ns=received.since_sent_ns, echo_sent_ns=received.echo_sent_ns, arrived=received.arrived,
        )  # fmt: skip

    def _ack(self, fragment: Fragment, state: AckState, **more: object) -> Ack:
        return Ack(state, fragment.kind, fragment.sender, fragment.incarnation, self._device, fragment.address, fragment.message,
                   **more)  # type: ignore[arg-type]

    def _missing(self, gap: Gap) -> Ack:
        sender, incarnation, message = gap.key
        return Ack(
            AckState.MISSING, gap.kind, sender, incarnation, self._device, gap.address, message, missing=gap.missing,
            spread_bytes=gap.spread_bytes, spread_seconds=gap.spread_seconds,
        )  # fmt: skip

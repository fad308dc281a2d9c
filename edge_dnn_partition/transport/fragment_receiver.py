# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The receiving half of a hop, without clock or network: fragments go in, messages and acknowledgements come out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from edge_dnn_partition.errors import WireError

from .assembler import Assembler, Gap, Received
from .fragments import FRAME, HOLD_SECONDS, Ack, AckState, Fragment
from .link import Expect, OnMessage
from .segments import SegmentReader
from .timing import HopTime

QUIET_SECONDS: Final = 0.1
"""A message of which nothing has come for this long is asked after."""
_FORGET_SECONDS: Final = 60.0
_MOST_HELD: Final = 4


class FragmentReceiver:
    """Time is passed in; not thread safe.

    :param device: this one.
    :param on_message: takes each frame's message that is complete.
    :param expect: raises `WireError` for the first fragment of a message that nobody waits for.
    :param max_bytes: of one message, and of all incomplete messages together.
    :param hold_acks: whether acknowledgements of messages of one fragment wait for each other.
    """

    def __init__(
        self, device: str, on_message: OnMessage, *, expect: Expect = lambda _: None, max_bytes: int = 1 << 30,
        hold_acks: bool = True,
    ) -> None:  # fmt: skip
        self._device, self._on_message, self._hold_acks = device, on_message, hold_acks
        self.assembler = Assembler(max_bytes, expect)
        self.segments = SegmentReader()
        self._held: dict[tuple[str, int], list[Ack]] = {}
        """Acknowledgements of messages of one fragment, by sender and incarnation."""
        self._last_at: dict[str, float] = {}
        """When the last message of each sender was complete."""

    @property
    def held_bytes(self) -> int:
        """Bytes held of incomplete messages."""
        return self.assembler.held_bytes

    @property
    def incomplete(self) -> bool:
        """Whether fragments of some message are missing, or acknowledgements wait, so that `on_tick` has something to do."""
        return self.assembler.incomplete or bool(self._held)

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
                ack = self._complete(received)
                return self._together(ack, may_wait=self._hold_acks and fragment.count == 1 and not fragment.segment)
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
        """Yield requests for what is missing of messages that were quiet, and acknowledgements that have waited.

        Call it every `QUIET_SECONDS` / 2 while `incomplete`.
        """
        yield from map(self._missing, self.assembler.overdue(now, QUIET_SECONDS))
        self.assembler.forget(now, _FORGET_SECONDS)
        for key in [key for key, (first, *_) in self._held.items() if now - first.arrived > HOLD_SECONDS - QUIET_SECONDS / 2]:
            yield self._all_of(*self._held.pop(key))

    def _together(self, ack: Ack, *, may_wait: bool) -> Ack | None:
        """Return an acknowledgement with those that waited; None if it waits itself.

        :param may_wait: the message was one fragment. It waits where another one came a moment ago, so that others will follow.
            One from this device does not wait: its sender may be in this process.
        """
        if ack.state != AckState.COMPLETE or ack.kind != FRAME or ack.sender == self._device:
            return ack
        last, self._last_at[ack.sender] = self._last_at.get(ack.sender, -math.inf), ack.arrived
        may_wait &= ack.arrived - last < HOLD_SECONDS / 2
        key = (ack.sender, ack.incarnation)
        acks = [*self._held.get(key, ()), ack]
        if may_wait and len(acks) < _MOST_HELD:
            self._held[key] = acks
            return None
        self._held.pop(key, None)
        return self._all_of(*acks)

    @staticmethod
    def _all_of(*acks: Ack) -> Ack:
        *others, last = acks
        return replace(last, also=tuple(ack.message for ack in others)) if others else last

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

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of what carries tensors between devices; DDS (`nodes.transport`) is one implementation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .assembler import Received
from .fragments import Address, Fragment
from .timing import HopTime, StageTime

Target = tuple[str, bool]
"""A device, and whether its frame source (True) or its worker (False) is to receive."""
OnMessage = Callable[[Received, HopTime], None]
"""Takes a message that has arrived; raises `WireError` to refuse it."""
Expect = Callable[[Fragment], None]
"""Raises `WireError` if nobody waits for what a message's head announces."""


@dataclass(frozen=True)
class LinkState:
    """What one direction of a link is like; NaN where nothing has been measured.

    :param bytes_per_second: the estimated rate.
    :param latency_seconds: half the least round trip.
    :param age_seconds: since the last measurement that counted.
    :param uncertainty: half the range of the latest rate samples over the estimate.
    """

    bytes_per_second: float
    latency_seconds: float
    age_seconds: float
    uncertainty: float = math.nan


class Shaper(Protocol):
    """What holds fragments back in place of the pace: an emulated link."""

    def free_at(self, now: float) -> float:
        """When the next fragment may leave."""

    def send(self, now: float, size: int) -> float:
        """Take a fragment; return when it is to be handed over."""


class Shaping(Protocol):
    """What holds fragments back besides the links themselves; on real links nothing does."""

    def shaper(self, receiver: str) -> Shaper | None:
        """Return what holds fragments to a device back in place of the pace."""

    def delay(self, receiver: str) -> float:
        """Return for how many seconds this process delays what goes to a device."""


class TensorLink(Protocol):
    """The links from one device to the others of its fleet. Its methods may be called from any thread, unless they say otherwise.

    A message is kept and repeated until its receiver has acknowledged it, until its deadline, or until its frame is dropped.
    """

    @property
    def devices(self) -> list[str]:
        """The other devices that there are links to."""

    @property
    def bytes_waiting(self) -> int:
        """Bytes that have not been acknowledged."""

    def connect(self, target: Target) -> None:
        """Prepare to send to a target; call it in the node's own thread."""

    def connected(self, target: Target) -> bool:
        """True if the target is there to receive."""

    def send(
        self, target: Target, address: Address, arrays: Mapping[str, Any], encodings: Mapping[str, str], *,
        stages: tuple[StageTime, ...] = (), hops: tuple[HopTime, ...] = (), encode_seconds: float = 0.0,
        deadline: float = math.inf, priority: int = 0,
    ) -> None:  # fmt: skip
        """Send the tensors of one stage and frame; the arrays must not change any more.

        :param encodings: of images, by name; an encoded tensor (`Coded`) names its own.
        :param stages: the frame's timing so far, as ``hops``.
        :param encode_seconds: spent on encoding the arrays.
        :param deadline: by the monotonic clock; the message is dropped then if it has not arrived.
        :param priority: a message leaves before those of lower priority that are queued for the same target.
        :raises WireError: if the target is not connected.
        """

    def listen(self, to_source: bool, on_message: OnMessage, *, expect: Expect = ..., max_bytes: int = ...) -> Listener:
        """Receive what is sent to this device's frame source (``to_source``) or worker; ``on_message`` runs in the node's thread.

        :param max_bytes: of one message, and of all incomplete messages together.
        """

    def forget_frame(self, frame_number: int, *, late: bool = False) -> None:
        """Send nothing more of a frame that has ended or is sent again.

        :param late: it is sent again because a link may hold it up, not because a device has died.
        """

    def forget_device(self, device: str) -> None:
        """Drop what is on its way to a device that has died or restarted."""

    def seconds_left(self, frame_number: int) -> float:
        """Return how long what is left here of a frame still takes to arrive; 0 if nothing is left."""

    def states(self) -> Mapping[str, LinkState]:
        """Return the state of each link, by the device at its other end."""

    def on_states(self, states: Mapping[str, LinkState]) -> None:
        """Take over what another process of this device has measured of the same links."""

    def probe(self, device: str) -> None:
        """Measure an idle link, if a probe is due and its budget allows it."""

    def on_exploration(self, worth: Mapping[str, tuple[float, float]]) -> None:
        """Note which links the scheduler wants measured.

        :param worth: by device, the share of the probing budget (0 to 1), and the bytes per second that are hoped for.
        """

    def stop(self) -> None:
        """Send nothing any more, and free what is held."""


class Listener(Protocol):
    """The receiving end of one target."""

    @property
    def held_bytes(self) -> int:
        """Bytes held of incomplete messages."""

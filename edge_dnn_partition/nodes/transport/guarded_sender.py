# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What every link hands on to its sender under the link's lock, whatever carries the messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Generic, TypeVar

from edge_dnn_partition.transport.fragment_sender import FragmentSender
from edge_dnn_partition.transport.link import LinkState
from edge_dnn_partition.transport.whole_sender import WholeSender

S = TypeVar('S', FragmentSender, WholeSender)


class GuardedSender(Generic[S]):
    """Those methods of a `TensorLink` that only its sender has something to do for."""

    def __init__(self, sender: S) -> None:
        self.sender: S = sender
        """Under the condition's lock."""
        self._condition = threading.Condition()

    def forget_frame(self, frame_number: int, *, late: bool = False) -> None:
        """See `TensorLink`."""
        with self._condition:
            self.sender.forget_frame(frame_number, time.monotonic(), late=late)

    def forget_device(self, device: str) -> None:
        """See `TensorLink`."""
        with self._condition:
            self.sender.forget_device(device)

    def seconds_left(self, frame_number: int) -> float:
        """See `TensorLink`."""
        with self._condition:
            return self.sender.seconds_left(frame_number, time.monotonic())

    def on_states(self, states: Mapping[str, LinkState]) -> None:
        """See `TensorLink`."""
        with self._condition:
            self.sender.on_states(states, time.monotonic())

    def on_exploration(self, worth: Mapping[str, tuple[float, float]]) -> None:
        """See `TensorLink`."""
        with self._condition:
            self.sender.on_exploration(worth, time.monotonic())

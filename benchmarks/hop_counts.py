# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What an end of a hop counts: what came and when, and what is known to be there."""

from __future__ import annotations

import struct
import threading
import time
from typing import Any, Final, Protocol

import numpy as np

STAMP: Final = struct.Struct('<qq')
"""What a message begins with: its number, and when it was sent (ns, steady clock)."""


class Sending(Protocol):
    """The sending end of one path."""

    def send(self, payload: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        """Send one message; may return before it is there."""

    @property
    def there(self) -> Count:
        """How many messages are known to be there."""


class Count:
    """A number that rises, and that a thread can wait for."""

    def __init__(self) -> None:
        self.value = 0
        self._risen = threading.Condition()

    def add(self, more: int = 1) -> None:
        """Let it rise."""
        with self._risen:
            self.value += more
            self._risen.notify_all()

    def wait(self, least: int, what: str, seconds: float) -> None:
        """Wait until it is at least so much.

        :raises TimeoutError: if it is not in time.
        """
        with self._risen:
            if not self._risen.wait_for(lambda: self.value >= least, seconds):
                raise TimeoutError(f'{what} did not come within {seconds:g} s')


class Log:
    """What came, on the receiving side."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget what came."""
        self.arrivals: list[tuple[int, float, float]] = []
        self.controls: list[float] = []

    def add(self, data: Any) -> None:
        """Note a message: its number, when it was sent and when it came."""
        now = time.monotonic_ns()
        number, sent = STAMP.unpack_from(data)
        with self.lock:
            self.arrivals.append((number, sent * 1e-9, now * 1e-9))

    def control(self, sent_ns: int) -> None:
        """Note how long a small message took."""
        self.controls.append((time.monotonic_ns() - sent_ns) * 1e-9)

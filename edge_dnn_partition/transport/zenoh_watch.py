# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the router at the other end of a session still answers."""

from __future__ import annotations

import math
import time
from typing import Any, Final

ASK_SECONDS: Final = 0.5
"""The router is asked so often."""
ANSWER_SECONDS: Final = 2.0
"""One that has not answered for so long is lost, by Zenoh's own measure for who is silent."""


class RouterWatch:
    """Asks the router for what nobody has, which it answers at once.

    Zenoh (1.10.2) often never noticed that a connection was dead whose own address had gone from the machine: the connection
    stayed, what was sent waited in it, and the session was not opened anew.

    :param key: that may be asked for.
    """

    def __init__(self, zenoh: Any, session: Any, key: str) -> None:
        self._zenoh, self._session, self._key = zenoh, session, key
        self._answered_at = time.monotonic()
        self._asked_at = -math.inf

    def lost(self) -> bool:
        """Ask once more; return whether the router has not answered for too long."""
        now = time.monotonic()
        if now - self._asked_at > 2 * ASK_SECONDS:  # this process stood still; the answers have, too
            self._answered_at = now
        if now - self._answered_at > ANSWER_SECONDS:
            return True
        self._asked_at = now
        handler = self._zenoh.handlers.Callback(lambda _: None, self._on_answer)
        self._session.get(
            self._key, handler, timeout=ANSWER_SECONDS * 2, congestion_control=self._zenoh.CongestionControl.DROP,
            priority=self._zenoh.Priority.INTERACTIVE_HIGH, express=True,
        )  # fmt: skip
        return False

    def _on_answer(self) -> None:
        self._answered_at = time.monotonic()

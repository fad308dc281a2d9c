# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of services that come later: EventsExecutor takes no coroutines, and so it is the sending that waits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from rclpy.exceptions import InvalidHandle

from edge_dnn_partition.errors import UserError

if TYPE_CHECKING:
    from .base import FleetNode

_LOOK_SECONDS = 0.02


class DeferredResponse:
    """Returned by a service's callback in place of a response; `give` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._send: Callable[[Any], None] | None = None
        self._response: Any = None
        self.given = False

    def give(self, response: Any) -> None:
        """Send the response; only the first one counts."""
        with self._lock:
            if self.given:
                return
            self.given, self._response = True, response
            send = self._send
        self._finish(send)

    def follow(self, node: FleetNode, work: Future[Any], answer: Callable[[Future[Any]], Any], response: Any) -> None:
        """Answer when work on another thread has ended.

        :param answer: returns the response from the work, or another `Later` that will be given it; may raise `UserError`.
        :param response: is filled with the reason if ``answer`` raises.
        """

        def look() -> None:
            if not work.done():
                return
            timer.cancel()
            node.destroy_timer(timer)
            try:
                found = answer(work)
            except Exception as error:  # noqa: BLE001
                if not isinstance(error, UserError):
                    node.repeats.failure('a service failed')
                response.success, response.message = False, str(error)
                found = response
            if isinstance(found, DeferredResponse):
                found.attach(self.give)
            else:
                self.give(found)

        timer = node.create_timer(_LOOK_SECONDS, look)

    def attach(self, send: Callable[[Any], None]) -> None:
        """Say what sends the response."""
        with self._lock:
            self._send = send
            given = self.given
        self._finish(send if given else None)

    def _finish(self, send: Callable[[Any], None] | None) -> None:
        if send is not None:
            with contextlib.suppress(InvalidHandle):  # the node has been cleaned up meanwhile
                send(self._response)


def allow_later(service: Any) -> None:
    """Let a service's callback return a `Later`."""
    send = service.send_response

    def send_or_wait(response: Any, header: Any) -> None:
        if isinstance(response, DeferredResponse):
            response.attach(lambda whole: send(whole, header))
        else:
            send(response, header)

    service.send_response = send_or_wait

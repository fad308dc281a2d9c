# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A spin on a thread of its own that outlives what its callbacks raise."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.task import Future

from edge_dnn_partition.monitoring.repeated_log import RepeatedLog

try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # rclpy before Jazzy's 7.1
    EventsExecutor = None

_CHOICE = 'EDGE_DNN_PARTITION_EXECUTOR'

_LOOK_SECONDS = 0.1
_STEP_SECONDS = 0.02
"""A wall clock that goes back by less was slewed, or holds a wait up by no more than that."""


def _make(kind: str, context: Any) -> tuple[Executor, Callable[[], None], Callable[[], None]]:
    """Return an executor, what spins it for a fifth of a second, and what ends such a spin early.

    EventsExecutor where there is one: a 1 kB message there and back between two processes took half the
    time and half the CPU time of SingleThreadedExecutor's (medians 0.46-0.48 against 0.94-1.28 ms one way
    on a loaded 2-core machine, 0.6 against 1.4 ms CPU per round). Its `spin()` waits for ever in the PyPI
    wheels, hence `spin_until_future_complete` with a future that completes at the end only (`wake()` alone does not
    end that spin).
    """
    if kind == 'events' and EventsExecutor is not None:
        events = EventsExecutor(context=context)
        never: Future = Future()
        return events, lambda: events.spin_until_future_complete(never, timeout_sec=0.2), lambda: never.set_result(None)
    single = SingleThreadedExecutor(context=context)
    return single, lambda: single.spin_once(timeout_sec=0.2), single.wake


class Spinner:
    """Spins one node on its own thread, logs what callbacks raise, and goes on.

    Another thread ends its waits early when the wall clock was set back: rclpy waits on condition variables of C++, which wait for
    a time of the wall clock where the library was built for a glibc before 2.30, as the wheels are, whichever clock they are asked
    for. All timers would stand still until that time has come.

    :param node: the node.
    :param repeats: takes the exceptions, and is flushed; by default one on the node's logger.
    :param first: called on the thread before the first spin (configuring may take long, and the main
        thread has to stay free for signals); what it raises is passed to ``failed``.
    :param turn: called some five times a second on the thread, once ``first`` is done.
    :param failed: called with the exception of ``first``, or with None when the context was shut down by
        somebody else; the spin ends after it.
    :param kind: ``events`` or ``single``; by default ``$EDGE_DNN_PARTITION_EXECUTOR``, else ``events``.
    """

    def __init__(
        self,
        node: Any,
        *,
        first: Callable[[], None] = lambda: None,
        turn: Callable[[], None] = lambda: None,
        failed: Callable[[BaseException | None], None] = lambda _: None,
        kind: str | None = None,
        repeats: RepeatedLog | None = None,
    ) -> None:
        self._repeats = repeats or RepeatedLog(node.get_logger())
        self._node, self._context = node, node.context
        self._first = first
        self._turn = turn
        self._failed = failed
        self._ending = threading.Event()
        self.executor, self._spin_briefly, self._wake = _make(
            kind or os.environ.get(_CHOICE, 'events'), node.context
        )
        self.executor.add_node(node)
        self._thread = threading.Thread(target=self._run, name='spin', daemon=True)
        self._watch = threading.Thread(target=self._watch_wall_clock, name='wall clock', daemon=True)

    def start(self) -> None:
        """Begin to spin."""
        self._thread.start()
        self._watch.start()

    def ask_to_end(self) -> None:
        """Let the callback at work be the last one."""
        self._ending.set()
        self._wake()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end of the spin; return whether it has ended."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _watch_wall_clock(self) -> None:
        ahead = time.time() - time.monotonic()
        while not self._ending.is_set():
            time.sleep(_LOOK_SECONDS)
            before, ahead = ahead, time.time() - time.monotonic()
            if ahead < before - _STEP_SECONDS:
                for timer in list(self._node.timers):
                    with contextlib.suppress(InvalidHandle):  # it has just gone
                        if not timer.is_canceled():
                            timer.reset()  # EventsExecutor looks at all timers of that clock
                self.executor.wake()

    def _run(self) -> None:
        try:
            self._first()
        except BaseException as error:  # noqa: BLE001
            self._failed(error)
            return
        # What is there now stays: it is not to be gone through again whenever Python looks for garbage, which takes
        # several milliseconds of a thread that publishes.
        gc.freeze()
        while not self._ending.is_set():
            try:
                self._turn()
                self._repeats.flush()
                self._spin_briefly()
            except ExternalShutdownException:  # noqa: PERF203  the spin outlives what a callback raises
                break
            except Exception:  # noqa: BLE001
                if not self._context.ok():
                    break
                self._repeats.failure('a callback failed, going on')
                time.sleep(0.001)  # a callback that always fails must not starve the others
        if not self._ending.is_set():
            self._failed(None)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where long work is done, on threads of this process, and how often it may be done."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

_Result = TypeVar('_Result')

Task = Callable[[], None]


def run_in_background(work: Callable[[], _Result], name: str) -> Future[_Result]:
    """Run work on a daemon thread of its own; the future receives its result or its exception."""
    future: Future[_Result] = Future()
    threading.Thread(target=_resolve, args=(future, work), name=name, daemon=True).start()
    return future


def _resolve(future: Future[_Result], work: Callable[[], _Result]) -> None:
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001
        future.set_exception(error)


class Background:
    """Threads of this process, with its clocks; a simulation overrides all of it."""

    def now(self) -> float:
        """Return seconds of the steady clock."""
        return time.monotonic()

    def processor_seconds(self) -> float:
        """Return the processor time that the calling thread has used."""
        return time.thread_time()

    def run(self, work: Callable[[], _Result], name: str) -> Future[_Result]:
        """Run work on a thread of its own."""
        return run_in_background(work, name)

    def task_queue(self, run: Callable[[Task], None], name: str) -> TaskQueue:
        """Return a queue of tasks that are done in order, on a thread of its own.

        :param run: runs one task; does not raise.
        """
        return TaskQueue(run, name)


class TaskQueue:
    """Runs tasks in order on a daemon thread."""

    def __init__(self, run: Callable[[Task], None], name: str) -> None:
        self._run_task = run
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def put(self, task: Task) -> None:
        """Run a task after those before it."""
        self._tasks.put(task)

    def close(self, seconds: float) -> None:
        """End after the tasks so far, waiting for at most some seconds."""
        self._tasks.put(None)
        self._thread.join(seconds)

    def _loop(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._run_task(task)


@dataclass
class DutyCycleLimiter:
    """Spaces long work so that it takes at most a share of the time. Time is passed in.

    :param share: of the time, that the work may take.
    :param free_seconds: work that takes no longer is not spaced.
    """

    share: float
    free_seconds: float = 0.0
    _due: float = -math.inf

    def due(self, now: float) -> bool:
        """Return whether the next piece of work may begin."""
        return now >= self._due

    def spent(self, began: float, seconds: float) -> None:
        """Record how long the work took that began at a time."""
        self._due = began + seconds / self.share if seconds > self.free_seconds else -math.inf

    def renew(self) -> None:
        """Let the next piece of work begin at once."""
        self._due = -math.inf

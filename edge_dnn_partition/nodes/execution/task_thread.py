# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A thread of a node that does long tasks one after the other, at low priority."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.stages.stage_store import lower_priority

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.core.base import FleetNode

Task = Callable[[], None]


class TaskThread:
    """What `put` queues is done in the thread whose body is `work`; what a task raises is logged.

    :param what: it is called in the log, and a `UserError` counts under it.
    """

    def __init__(self, node: FleetNode, what: str) -> None:
        self._node, self._what = node, what
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def put(self, task: Task) -> None:
        """Queue something that takes long; may be called from any thread."""
        self._tasks.put(task)

    def wake(self) -> None:
        """Let the thread see that it is to end."""
        self._tasks.put(None)

    def work(self, stopping: threading.Event) -> None:
        """Do the tasks until ``stopping`` is set or the node ends."""
        lower_priority()
        while not self._node.ending.is_set() and not stopping.is_set():
            task = self._tasks.get()
            if task is None:
                continue
            try:
                task()
            except UserError as error:
                self._node.refuse(self._what, str(error))
            except Exception:  # noqa: BLE001
                if not self._node.ending.is_set():
                    self._node.repeats.failure(f'{self._what} failed, going on')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's preparation of plans, on a thread of its own, so that frames go on meanwhile."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.execution.stages.preparation import StageStore, lower_priority
from edge_dnn_partition.msg import StageState
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.transport.sender import TensorSender
from edge_dnn_partition.planning.plans.plan import Plan

from .hedge_controller import HedgeController

Task = Callable[[], None]

_LOOK_SECONDS: Final = 0.01


class PreparationQueue:
    """What takes long, one after the other; filled from any thread."""

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def put(self, task: Task) -> None:
        """Do something when it has its turn."""
        self._tasks.put(task)

    def wake(self) -> None:
        """Let the thread see that it is to end."""
        self._tasks.put(None)

    def work(self, stopping: threading.Event) -> None:
        """Do the tasks at low priority, until told to stop; a task that fails is told of and left."""
        lower_priority()
        while not self._node.ending.is_set() and not stopping.is_set():
            task = self._tasks.get()
            if task is None:
                continue
            try:
                task()
            except UserError as error:
                self._node.refuse('prepare', str(error))
            except Exception:  # noqa: BLE001
                if not self._node.ending.is_set():
                    self._node.repeats.failure('a preparation failed, going on')


class PreparationController:
    """Loads the stages that a plan gives this worker, finds whom they send to, and says READY, FAILED or RELEASED.

    :param node: the worker, with its parameter ``connect_timeout``.
    :param hedges: has the books of the plans' frames, which are used under ``lock``.
    :param later: queues a task for the thread that prepares.
    :param beat: gives a sign of life, which says what is prepared: the frame source waits for that.
    """

    def __init__(
        self, node: FleetNode, store: StageStore, sender: TensorSender, hedges: HedgeController, lock: AbstractContextManager[Any],
        later: Callable[[Task], None], beat: Callable[[], None],
    ) -> None:  # fmt: skip
        self._node, self._store, self._sender, self._hedges, self._lock, self._later = node, store, sender, hedges, lock, later
        self._beat = beat
        self._schedulers: dict[int, int] = {}
        """Who made the plans that are prepared, by version."""
        self._states = node.advertise(StageState, node.topics.plan_state, qos.PLAN_STATE)

    def prepare(self, plan: Plan) -> None:
        """Make a plan's stages ready; call it in the thread that spins."""
        for target in self._targets(plan):
            self._sender.connect(target)
        self._later(lambda: self._make_ready(plan))

    def release(self, version: int) -> None:
        """Let a plan's stages go."""
        self._later(lambda: self._release(version))

    def _targets(self, plan: Plan) -> set[tuple[str, bool]]:
        """Return whom this device's stages send to."""
        device = self._node.topics.device
        return {(t.to_device, t.to_sink) for t in plan.transfers if t.from_device == device and t.from_stage >= 0}

    def _make_ready(self, plan: Plan) -> None:
        if plan.version in self._store.versions:
            if self._schedulers.get(plan.version) == plan.scheduler:
                self._say(StageState.READY, plan, 0.0)
                return
            self._release(plan.version)  # another scheduler's plan of the same version
        begin = time.monotonic()
        try:
            self._store.prepare(plan, self._node.topics.device)
            targets = self._targets(plan)
            deadline = begin + self._node.params.number('connect_timeout')
            while missing := [t for t in targets if not self._sender.connected(t)]:
                if self._node.ending.is_set():
                    return
                if time.monotonic() > deadline:
                    raise WireError(f'no {"frame source" if missing[0][1] else "worker"} answers on {missing[0][0]}')
                time.sleep(_LOOK_SECONDS)
        except (UserError, MemoryError) as error:
            self._store.release(plan.version)
            reason = str(error) or type(error).__name__
            self._node.repeats.warning(f'prepare {reason}', f'plan {plan.version} cannot be prepared: {reason}')
            self._say(StageState.FAILED, plan, time.monotonic() - begin, reason)
            return
        self._schedulers[plan.version] = plan.scheduler
        with self._lock:
            self._hedges.frames(plan.version).add_plan(plan)
        self._beat()
        self._say(StageState.READY, plan, time.monotonic() - begin)

    def _release(self, version: int) -> None:
        with self._lock:
            self._hedges.frames(version).remove_plan(version)
        if version in self._store.versions:
            self._store.release(version)
            self._publish(StageState.RELEASED, version, self._schedulers.pop(version, 0), 0.0, '')

    def _say(self, state: int, plan: Plan, seconds: float, reason: str = '') -> None:
        self._publish(state, plan.version, plan.scheduler, seconds, reason)

    def _publish(self, state: int, version: int, scheduler: int, seconds: float, reason: str) -> None:
        self._states.publish(
            StageState(
                state=state, device=self._node.topics.device, incarnation=self._node.incarnation, plan_version=version,
                scheduler=scheduler, seconds=seconds, reason=reason,
            )
        )  # fmt: skip

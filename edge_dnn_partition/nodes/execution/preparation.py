# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's preparation thread: loads and releases the stages of plans, so that frames go on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from edge_dnn_partition import heap
from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, TAIL_VERSION, tail_plan
from edge_dnn_partition.execution.stages.device_frames import DeviceFrames
from edge_dnn_partition.execution.stages.stage_store import StageStore
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.msg import StageState
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.execution.task_thread import TaskThread
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.link import TensorLink

_LOOK_SECONDS: Final = 0.01


class PlanPreparation:
    """Loads the stages that a plan gives this worker, connects to whom they send to, and says READY, FAILED or RELEASED.

    `prepare`, `release` and `prepare_tail` are called in the thread that spins; they queue what takes long.

    :param node: the worker, with its parameter ``connect_timeout``.
    :param states: publisher of StageState.
    :param beat: publishes a heartbeat, which names the prepared plans: the frame source waits for that.
    """

    def __init__(
        self, node: FleetNode, frames: DeviceFrames, store: StageStore, link: TensorLink, states: Any,
        beat: Callable[[], None],
    ) -> None:  # fmt: skip
        self._node, self._frames, self._store, self._link = node, frames, store, link
        self._states, self._beat = states, beat
        self.thread = TaskThread(node, 'prepare')
        """It does what takes long."""
        self._schedulers: dict[int, int] = {}
        """Who made the plans that are prepared, by version."""
        self._tail: Plan | None = None
        """The tail of hedges that is prepared, or is being."""

    # Plans --------------------------------------------------------------------------------------------------------

    def prepare(self, plan: Plan) -> None:
        """Make a plan's stages ready."""
        device = self._node.topics.device
        senders = {(t.from_device, False) for t in plan.transfers if t.to_device == device and not t.to_sink}
        for target in self._targets(plan) | senders - {(device, False)}:
            self._link.connect(target)
        self.thread.put(lambda: self._make_ready(plan))

    def release(self, version: int) -> None:
        """Let a plan's stages go."""
        self.thread.put(lambda: self._release(version))

    def prepare_tail(self, model: Model, plan: Plan | None) -> None:
        """Prepare what hedges run of the plan in force, if that is another tail than before and no hedge runs."""
        hedging = HEDGE_VERSION in self._store.versions and plan is not None and plan.source == self._node.topics.device
        tail = tail_plan(model, plan) if hedging and plan is not None else None
        if tail != self._tail and self._frames.tail_drained:
            self._tail = tail
            self._frames.follow_tail(None)
            self.thread.put(lambda: self._make_tail_ready(tail))

    def _targets(self, plan: Plan) -> set[tuple[str, bool]]:
        """Return whom this device's stages send to."""
        device = self._node.topics.device
        return {(t.to_device, t.to_sink) for t in plan.transfers if t.from_device == device and t.from_stage >= 0}

    def _make_ready(self, plan: Plan) -> None:
        if plan.version in self._store.versions:
            if self._schedulers.get(plan.version) == plan.scheduler:
                self._publish(StageState.READY, plan.version, plan.scheduler)
                return
            self._release(plan.version)  # another scheduler's plan of the same version
        begin = time.monotonic()
        try:
            self._store.prepare(plan, self._node.topics.device)
            targets = self._targets(plan)
            deadline = begin + self._node.params.number('connect_timeout')
            while missing := [t for t in targets if not self._link.connected(t)]:
                if self._node.ending.is_set():
                    return
                if time.monotonic() > deadline:
                    raise WireError(f'no {"frame source" if missing[0][1] else "worker"} answers on {missing[0][0]}')
                time.sleep(_LOOK_SECONDS)
        except (UserError, MemoryError) as error:
            self._store.release(plan.version)
            reason = str(error) or type(error).__name__
            self._node.repeats.warning(f'prepare {reason}', f'plan {plan.version} cannot be prepared: {reason}')
            self._publish(StageState.FAILED, plan.version, plan.scheduler, time.monotonic() - begin, reason)
            return
        self._schedulers[plan.version] = plan.scheduler
        self._frames.add_plan(plan)
        self._beat()
        self._publish(StageState.READY, plan.version, plan.scheduler, time.monotonic() - begin)

    def _release(self, version: int) -> None:
        self._frames.remove_plan(version)
        if version in self._store.versions:
            self._store.release(version)
            heap.give_back()
            self._publish(StageState.RELEASED, version, self._schedulers.pop(version, 0))

    def _make_tail_ready(self, tail: Plan | None) -> None:
        self._store.release(TAIL_VERSION)
        if tail is None or tail != self._tail:
            return
        try:
            self._store.prepare(tail, self._node.topics.device)
        except (UserError, MemoryError) as error:
            self._node.get_logger().warning(f'hedges run the whole model: {error or type(error).__name__}')
            return
        self._frames.follow_tail(tail)

    def _publish(self, state: int, version: int, scheduler: int, seconds: float = 0.0, reason: str = '') -> None:
        self._states.publish(
            StageState(
                state=state, device=self._node.topics.device, incarnation=self._node.incarnation, plan_version=version,
                scheduler=scheduler, seconds=seconds, reason=reason,
            )
        )  # fmt: skip

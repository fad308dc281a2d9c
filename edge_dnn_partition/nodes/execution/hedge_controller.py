# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The source's worker's side of hedges: keeps the whole model warm for them, and the tail of the plan in force."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, TAIL_VERSION, is_hedge
from edge_dnn_partition.execution.frames.hedge_tail import HedgePipeline, tail_plan
from edge_dnn_partition.execution.frames.pipeline import FramePipeline, Job
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus, Prepare, Release
from edge_dnn_partition.execution.stages.preparation import StageStore
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for, status_of
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.transport.inbox import views
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.timing import HopTime


class HedgeController:
    """Holds the hedges of one worker; other plans know nothing of them.

    :param frames: of the plans, on this device; used under ``lock``.
    :param later: does what takes long, on the thread that prepares stages.
    """

    def __init__(
        self, node: FleetNode, model: Model, store: StageStore, frames: FramePipeline, lock: AbstractContextManager[Any],
        later: Callable[[Callable[[], None]], None],
    ) -> None:  # fmt: skip
        self._node, self._model, self._store, self._frames, self._lock, self._later = node, model, store, frames, lock, later
        self._hedges = HedgePipeline(frames)
        self._tail: Plan | None = None
        """The tail that is prepared, or is being."""

    @property
    def under_way(self) -> int:
        """How many hedges are being worked on."""
        return self._hedges.hedges.frames

    @property
    def prepared(self) -> tuple[int, ...]:
        """The plans of hedges that are prepared."""
        return tuple(self._hedges.hedges.parts)

    def frames(self, version: int) -> FramePipeline:
        """Return the books of a plan's frames; a hedge does not supersede the frame's other try."""
        return self._hedges.hedges if is_hedge(version) else self._frames

    def task(self, message: PlanMessage, fleet: Fleet) -> Prepare | Release:
        """Return what a message about the whole model asks for.

        :raises PlanError: if it is about another plan, or that is no good.
        """
        plan = plan_for(message, fleet, self._model)
        if plan.version != HEDGE_VERSION:
            raise PlanError(f'plan {plan.version} is none of hedges')
        return Release(plan.version) if status_of(message) is PlanStatus.DROPPED else Prepare(plan)

    def receive(self, received: Received, hop: HopTime) -> list[Job]:
        """Take a hedge's image in; return the stages that can run now."""
        arrays, encodings = views(received)
        with self._lock:
            return self._hedges.receive(received.address, arrays, encodings, (*received.hops, hop), received.arrived)

    def settle(self, now: float) -> list[Job]:
        """Return the stages of hedges that waited for what a stage has made, or has failed to."""
        with self._lock:
            return self._hedges.settle(now)

    def tidy(self, plan: Plan | None, now: float) -> None:
        """Forget old hedges, and prepare the tail of the plan in force if that is another one."""
        with self._lock:
            self._hedges.hedges.expire(now)
            drained = self._hedges.hedges.drained(TAIL_VERSION)
        hedging = HEDGE_VERSION in self._store.versions and plan is not None and plan.source == self._node.topics.device
        tail = tail_plan(self._model, plan) if hedging and plan is not None else None
        if tail != self._tail and drained:
            self._tail = tail
            with self._lock:
                self._hedges.follow(None)
            self._later(lambda: self._prepare(tail))

    def _prepare(self, tail: Plan | None) -> None:
        self._store.release(TAIL_VERSION)
        if tail is None or tail != self._tail:
            return
        try:
            self._store.prepare(tail, self._node.topics.device)
        except (UserError, MemoryError) as error:
            self._node.get_logger().warning(f'hedges run the whole model: {error or type(error).__name__}')
            return
        with self._lock:
            self._hedges.follow(tail)

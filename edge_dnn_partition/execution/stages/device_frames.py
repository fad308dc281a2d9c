# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frames and hedges that one device works on, shared by the threads of its worker."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from edge_dnn_partition.execution.frames.hedge import TAIL_VERSION, HedgePipeline, is_hedge
from edge_dnn_partition.execution.frames.kept_states import KeptStates
from edge_dnn_partition.execution.frames.pipeline import Array, FramePipeline, Job, Tensor
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, StageTime


class DeviceFrames:
    """A `FramePipeline` for plans and one for hedges behind one lock, which nothing but this class takes. Time is passed in.

    A hedge does not supersede its frame's other attempt.

    :param max_bytes: see `FramePipeline`.
    :param model: whose state is kept from frame to frame, if it carries some.
    """

    def __init__(self, device: str, max_bytes: int, model: Model) -> None:
        self._lock = threading.Lock()
        self._plans = FramePipeline(device, max_bytes=max_bytes, states=KeptStates(model) if model.states else None)
        self._hedges = HedgePipeline(self._plans)

    def _of(self, version: int) -> FramePipeline:
        return self._hedges.hedges if is_hedge(version) else self._plans

    @property
    def versions(self) -> list[int]:
        """The plans whose frames are accepted, hedge plans included, ascending."""
        with self._lock:
            return sorted({*self._plans.parts, *self._hedges.hedges.parts})

    @property
    def under_way(self) -> int:
        """How many frames and hedges are being worked on."""
        return self._plans.frames + self._hedges.hedges.frames

    def add_plan(self, plan: Plan) -> None:
        """Accept frames of a plan, whose stages are prepared."""
        with self._lock:
            self._of(plan.version).add_plan(plan)

    def remove_plan(self, version: int) -> None:
        """Forget a plan and its frames."""
        with self._lock:
            self._of(version).remove_plan(version)

    def follow_tail(self, tail: Plan | None) -> None:
        """Run hedges as this tail from now on, whose stage is prepared; None: as the whole model."""
        with self._lock:
            self._hedges.follow(tail)

    def drained(self, version: int) -> bool:
        """Return whether no frame of a plan is here."""
        with self._lock:
            return self._of(version).drained(version)

    def check(self, address: Address, names: Iterable[str]) -> None:
        """Refuse tensors that this device does not wait for; a hedge's are checked when they are received.

        :raises NotReadyError: if the plan is unknown.
        :raises WireError: if the model is a foreign one, or a tensor none that this device waits for under that plan.
        """
        if not is_hedge(address.plan_version):
            with self._lock:
                self._plans.check(address, names)

    def receive(
        self, address: Address, tensors: Mapping[str, Tensor], encodings: Mapping[str, str], stages: tuple[StageTime, ...],
        hops: tuple[HopTime, ...], now: float,
    ) -> list[Job]:  # fmt: skip
        """Take in tensors of a frame or a hedge; return the stages that can run now.

        :raises NotReadyError: if the plan is unknown, or the frames whose stages wait for their turn leave no room.
        :raises WireError: as `check`.
        """
        with self._lock:
            if is_hedge(address.plan_version):
                return self._hedges.receive(address, tensors, encodings, hops, now)
            return self._plans.receive(address, tensors, encodings, stages, hops, now)

    def current(self, job: Job) -> bool:
        """Return whether a stage is still to run: its frame has not been sent anew or let go."""
        with self._lock:
            return self._of(job.frame.address.plan_version).current(job)

    def finished(
        self, job: Job, outputs: Mapping[str, Array], timing: StageTime, now: float
    ) -> tuple[list[tuple[tuple[str, bool], dict[str, Tensor], dict[str, str]]], list[Job]]:
        """Take in a stage's outputs; return what to send and the stages that can run now, see `FramePipeline.finished`."""
        with self._lock:
            return self._of(job.frame.address.plan_version).finished(job, outputs, timing, now)

    def failed(self, job: Job) -> None:
        """Let a frame go whose stage failed."""
        with self._lock:
            self._of(job.frame.address.plan_version).failed(job)

    def settle(self, now: float) -> list[Job]:
        """Return the stages of hedges that waited for what a stage has made, or has failed to make."""
        with self._lock:
            return self._hedges.settle(now)

    def end(self, frame_number: int) -> None:
        """Let a frame and its hedge go that has ended at the source: no stage of it is begun any more."""
        with self._lock:
            self._plans.end(frame_number)
            self._hedges.end(frame_number)

    def expire(self, now: float) -> None:
        """Let frames and hedges go that have waited for their other tensors for long."""
        with self._lock:
            self._plans.expire(now)
            self._hedges.hedges.expire(now)

    @property
    def tail_drained(self) -> bool:
        """Whether no hedge runs as a tail."""
        return self.drained(TAIL_VERSION)

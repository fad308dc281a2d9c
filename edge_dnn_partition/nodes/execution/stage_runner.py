# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's inference thread: runs stages, sends on what they give, and reads the speed probe when idle."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from edge_dnn_partition.errors import NotReadyError, UserError
from edge_dnn_partition.execution.frames.pipeline import Job
from edge_dnn_partition.execution.profiling.speed_monitor import SpeedMonitor, StageWatch
from edge_dnn_partition.execution.stages.device_frames import DeviceFrames
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.execution.stages.stage_store import StageStore
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.link import TensorLink
from edge_dnn_partition.transport.tensor_codec import encode
from edge_dnn_partition.transport.tensors import Coded
from edge_dnn_partition.transport.timing import StageTime

from .energy import EnergyMonitor


class StageRunner:
    """Runs what `put` is given, one stage after the other.

    :param node: has the parameter ``probe_period``.
    :param hardware: what the stages run on.
    :param report_failure: publishes that a frame's stage failed.
    """

    def __init__(
        self,
        node: FleetNode,
        frames: DeviceFrames,
        store: StageStore,
        link: TensorLink,
        energy: EnergyMonitor,
        hardware: Hardware,
        report_failure: Callable[[Address, int, BaseException], None],
    ) -> None:
        self._node, self._frames, self._store, self._link = node, frames, store, link
        self._energy, self._hardware, self._report_failure = energy, hardware, report_failure
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.speed = SpeedMonitor(hardware)
        self.stage_watch = StageWatch()
        self.turns = 0
        """How often a stage has begun or ended: odd while one runs."""

    def put(self, jobs: Iterable[Job]) -> None:
        """Queue stages that can run; may be called from any thread."""
        for job in jobs:
            self._jobs.put(job)

    def wake(self) -> None:
        """Let `work` see that it is to end."""
        self._jobs.put(None)

    def work(self, stopping: threading.Event) -> None:
        """Run stages until ``stopping`` is set or the node ends: the body of the thread ``inference``."""
        while not self._node.ending.is_set() and not stopping.is_set():
            period = self._node.params.number('probe_period')
            try:
                job = self._jobs.get(timeout=self.speed.pause(period, time.monotonic()))
            except queue.Empty:
                try:
                    self.speed.read(period)
                except UserError as error:
                    self._node.refuse('probe', str(error))
                continue
            if job is None:
                continue
            self.turns += 1
            try:
                with self._hardware.at_work():
                    self._run(job)
                self.speed.ran_at = time.monotonic()
            except Exception as error:  # noqa: BLE001
                if self._node.ending.is_set():
                    return
                self._failed(job, error)
            finally:
                self.turns += 1
            self.put(self._frames.settle(time.monotonic()))

    def _failed(self, job: Job, error: Exception) -> None:
        self._frames.failed(job)
        self._report_failure(job.frame.address, job.stage, error)
        reason = str(error) if isinstance(error, UserError) else traceback.format_exc()
        self._node.refuse('run', f'frame {job.frame.address.frame_number}, stage {job.stage}: {reason}')

    def _run(self, job: Job) -> None:
        address, profile = job.frame.address, self.speed.profile
        if not self._frames.current(job):
            return
        prepared = self._store.stage(address.plan_version, job.stage)
        if prepared is None:
            raise NotReadyError(f'plan {address.plan_version} was released')
        begin, busy = time.monotonic(), time.thread_time()
        values = prepared.decode(job.inputs, job.frame.encodings)
        if prepared.stage.preprocess or any(isinstance(value, Coded) for value in job.inputs.values()):
            self._hardware.worked(time.thread_time() - busy, time.monotonic() - begin)
        decoded = time.monotonic()
        cpu = 0.0
        with self.stage_watch.watching(profile.known_seconds(prepared.stage.layers) if profile is not None else 0.0):
            outputs = prepared.run(values)
            if (engine := prepared.engine) is not None:
                cpu = engine.last_cpu_seconds
                self._hardware.worked(engine.last_busy_seconds, engine.last_seconds, prepared.stage.layers)
        done = time.monotonic()
        cores = (time.thread_time() - busy) / max(done - begin, 1e-9)
        if engine is not None and not engine.measures_cpu_time:
            cores = float(engine.threads)
        energy = self._energy.ran(address, job.stage, prepared.stage, begin, done, cores)
        timing = StageTime(
            self._node.topics.device, job.stage, begin - job.ready_at, decoded - begin, done - decoded, cpu,
            energy.joules, energy.error_joules, energy.kind == 'measured',
        )  # fmt: skip
        sends, jobs = self._frames.finished(job, outputs, timing, done)
        coded: dict[tuple[str, str], Any] = {}
        for target, arrays, encodings in sends:
            tensors, seconds = self._encode(arrays, encodings, coded)
            self._link.send(
                target, replace(address, from_stage=job.stage), tensors, {}, stages=job.frame.stages, hops=job.frame.hops,
                encode_seconds=seconds,
            )  # fmt: skip
        self.put(jobs)

    def _encode(
        self, arrays: Mapping[str, Any], encodings: Mapping[str, str], done: dict[tuple[str, str], Any]
    ) -> tuple[dict[str, Any], float]:
        """Encode tensors as the plan says.

        :param done: what has been encoded of this stage's outputs, for other devices; it is added to.
        :return: the tensors, and the seconds that it took.
        """
        begin, busy = time.monotonic(), time.thread_time()
        missing = [key for key in encodings.items() if key not in done and key[1] != RAW]
        for name, encoding in missing:
            done[name, encoding] = encode(arrays[name], encoding)
        if missing:
            self._hardware.worked(time.thread_time() - busy, time.monotonic() - begin)
        return {name: done.get((name, encodings.get(name, RAW)), value) for name, value in arrays.items()}, (
            time.monotonic() - begin
        )

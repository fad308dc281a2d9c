# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a worker's stages on a thread of its own, and sends on what they give; when idle it reads the speed probe."""

from __future__ import annotations

import math
import queue
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from edge_dnn_partition.errors import NotReadyError, UserError
from edge_dnn_partition.execution.frames.pipeline import Job
from edge_dnn_partition.execution.profiling.speed_probe import Reading, SpeedProbe
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.execution.stages.preparation import StageStore
from edge_dnn_partition.execution.stages.stage_watch import StageWatch
from edge_dnn_partition.msg import Exploration
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.transport.sender import TensorSender
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.transport.probing import TOLD_SECONDS
from edge_dnn_partition.transport.tensor_codec import encode
from edge_dnn_partition.transport.tensors import Coded
from edge_dnn_partition.transport.timing import StageTime

from .energy import EnergyWatch
from .failures import FailureReports
from .hedge_controller import HedgeController

LOOK_SECONDS: Final = 0.2
"""A device that a better plan would need is looked at so often, if the ceiling of probes lets it be."""
STEP: Final = 1.25
"""By what factor one run of the probe must differ from what was read before, to be told from noise by more runs."""


class StageRunner:
    """Runs what `put` is given, one stage after the other.

    :param node: has the parameters ``probe_period`` and ``probing_budget``.
    :param hedges: has the books of every plan's frames; used under ``lock``.
    :param hardware: what the stages run on.
    """

    def __init__(
        self,
        node: FleetNode,
        store: StageStore,
        sender: TensorSender,
        energy: EnergyWatch,
        hardware: Hardware,
        hedges: HedgeController,
        failures: FailureReports,
        lock: AbstractContextManager[Any],
    ) -> None:
        self._node, self._store, self._sender, self._energy = node, store, sender, energy
        self._hardware, self._hedges, self._failures, self._lock = hardware, hedges, failures, lock
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self.profile: Profile | None = None
        """Of this device, once it is known."""
        self.speed_factor = math.nan
        """Time of a small fixed computation over its time while profiling; NaN: unknown."""
        self.stage_watch = StageWatch()
        self._worth = 0.0, -math.inf
        """Of a core, what knowing more of this device's speed is worth, and when that was said."""
        self._probe_seconds = 0.0

    def put(self, jobs: Iterable[Job]) -> None:
        """Queue stages that can run."""
        for job in jobs:
            self._jobs.put(job)

    def wake(self) -> None:
        """Let `work` see that it is to end."""
        self._jobs.put(None)

    def work(self, stopping: threading.Event) -> None:
        """Run stages until ``stopping`` is set or the node ends: the body of a thread."""
        probe: SpeedProbe | None = None
        while not self._node.ending.is_set() and not stopping.is_set():
            try:
                job = self._jobs.get(timeout=self._probe_pause())
            except queue.Empty:
                try:
                    if self.profile is not None:
                        probe = probe or SpeedProbe()
                        self._read_probe(probe)
                except UserError as error:
                    self._node.refuse('probe', str(error))
                continue
            if job is None:
                continue
            try:
                with self._hardware.at_work():
                    self._run(job)
            except Exception as error:  # noqa: BLE001
                if self._node.ending.is_set():
                    return
                self._failed(job, error)
            self.put(self._hedges.settle(time.monotonic()))

    def worth_probing(self, message: Exploration) -> None:
        """Take in whether the scheduler would know more of this device's speed."""
        rows = zip(message.senders, message.receivers, message.shares, strict=True)
        share = max((share for *ends, share in rows if ends == [self._node.topics.device] * 2), default=0.0)
        self._worth = share * self._node.params.number('probing_budget'), time.monotonic()

    def _probe_pause(self) -> float:
        """Return the seconds until the next look at the speed: fewer where a better plan would need a faster device here."""
        period, (share, at) = self._node.params.number('probe_period'), self._worth
        if share <= 0 or time.monotonic() - at > TOLD_SECONDS:
            return period
        return min(period, max(LOOK_SECONDS, self._probe_seconds / share))

    def _failed(self, job: Job, error: Exception) -> None:
        with self._lock:
            self._hedges.frames(job.frame.address.plan_version).failed(job)
        self._failures.publish(job.frame.address, job.stage, error)
        reason = str(error) if isinstance(error, UserError) else traceback.format_exc()
        self._node.refuse('run', f'frame {job.frame.address.frame_id}, stage {job.stage}: {reason}')

    def _run(self, job: Job) -> None:
        with self._lock:
            if not self._hedges.frames(job.frame.address.plan_version).current(job):
                return
        runner = self._store.runner(job.frame.address.plan_version, job.stage)
        if runner is None:
            raise NotReadyError(f'plan {job.frame.address.plan_version} was released')
        begin, busy = time.monotonic(), time.thread_time()
        values = runner.decode(job.inputs, job.frame.encodings)
        if runner.stage.preprocess or any(isinstance(value, Coded) for value in job.inputs.values()):
            self._hardware.worked(time.thread_time() - busy, time.monotonic() - begin)
        decoded = time.monotonic()
        cpu = 0.0
        with self.stage_watch.watching(self.profile.known_seconds(runner.stage.layers) if self.profile is not None else 0.0):
            outputs = runner.run(values)
            if runner.engine is not None:
                cpu = runner.engine.last_cpu_seconds
                self._hardware.worked(runner.engine.last_busy_seconds, runner.engine.last_seconds, runner.stage.layers)
        done = time.monotonic()
        cores = (time.thread_time() - busy) / max(done - begin, 1e-9)
        if runner.engine is not None and not runner.engine.measures_cpu_time:
            cores = float(runner.engine.threads)
        energy = self._energy.ran(job.frame.address, job.stage, runner.stage, begin, done, cores)
        timing = StageTime(
            self._node.topics.device, job.stage, begin - job.ready_at, decoded - begin, done - decoded, cpu,
            energy.joules, energy.error_joules, energy.kind == 'measured',
        )  # fmt: skip
        with self._lock:
            sends, jobs = self._hedges.frames(job.frame.address.plan_version).finished(job, outputs, timing, done)
        address = job.frame.address
        coded: dict[tuple[str, str], Any] = {}
        for target, arrays, encodings in sends:
            where = type(address)(
                address.model_sha256, address.plan_version, address.frame_id, address.attempt, job.stage
            )
            tensors, seconds = self._encode(arrays, encodings, coded)
            self._sender.send(
                target, where, tensors, {}, stages=job.frame.stages, hops=job.frame.hops, encode_seconds=seconds
            )
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

    def _read_probe(self, probe: SpeedProbe) -> None:
        """Read the probe: once where it is read often, and if that shows another speed than before, as thoroughly as usual."""
        profile = self.profile
        if profile is None or not profile.probe_seconds > 0:
            return
        begin = time.thread_time()
        found = self._speed(probe.read(1), profile)
        self._probe_seconds = time.thread_time() - begin
        soon = self._probe_pause() < self._node.params.number('probe_period')
        if not soon or not self.speed_factor / STEP < found < self.speed_factor * STEP:
            found = self._speed(probe.read(), profile)
        self.speed_factor = found

    def _speed(self, reading: Reading, profile: Profile) -> float:
        return self._hardware.probe_seconds(reading.busy_seconds, reading.wall_seconds) / profile.probe_seconds

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker of one device: prepares the stages that a plan gives it, runs them, forwards their tensors."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence

import psutil

from edge_dnn_partition.cache import troubles
from edge_dnn_partition.control.state.sharing import niceness
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.hardware import hardware_of
from edge_dnn_partition.deployment.node_parameters import WORKER
from edge_dnn_partition.errors import NotReadyError, UserError, WireError
from edge_dnn_partition.execution.frames.hedge import is_hedge
from edge_dnn_partition.execution.frames.pipeline import FramePipeline
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus, Prepare, Release, WorkerPlans
from edge_dnn_partition.execution.stages.preparation import StageStore, give_way
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.msg import Exploration, Heartbeat, HopAck
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.plan_memory import PlanMemory
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for, status_of
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode, run_node
from edge_dnn_partition.nodes.execution.energy import EnergyWatch
from edge_dnn_partition.nodes.execution.failures import FailureReports
from edge_dnn_partition.nodes.execution.hedge_controller import HedgeController
from edge_dnn_partition.nodes.execution.preparation_controller import PreparationController, PreparationQueue
from edge_dnn_partition.nodes.execution.profiling_controller import ProfilingController
from edge_dnn_partition.nodes.execution.stage_runner import StageRunner
from edge_dnn_partition.nodes.transport.inbox import TensorInbox, views
from edge_dnn_partition.nodes.transport.sender import TensorSender
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.sources.limits import limits_now, memory_now
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.expected import Expected, largest_message
from edge_dnn_partition.transport.fragments import Fragment
from edge_dnn_partition.transport.timing import HopTime
from edge_dnn_partition.units import format_bytes

_PROBE_TICK_SECONDS = 0.1
"""So often it is looked whether a link is to be probed."""
_ENDING_SECONDS = 0.6
"""So long a worker whose process ends works on at most ..."""
_QUIET_SECONDS = 0.25
"""... and no longer than this after the last frame: the frame source accepts nothing more then, if it ends as well."""


class Worker(FleetNode):
    """Runs one device's part of each plan (see docs/architecture.md)."""

    def __init__(self) -> None:
        super().__init__('worker', WORKER, one_for='device')
        self._lock = threading.RLock()
        self._tasks = PreparationQueue(self)
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._leaving = self._ending = False
        self._busy_at = 0.0
        self._runner: StageRunner | None = None
        self._process = psutil.Process()
        self._cpu_percent = math.nan
        self._energy: EnergyWatch | None = None
        self._store: StageStore | None = None
        self._sender: TensorSender | None = None

    # Life -----------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Read the fleet file, load the model's graph, connect."""
        device = self.topics.device
        self._fleet = self.load_fleet()
        self._config = start_checks.with_parameters(self._fleet.device(device), self.params)
        if words := start_checks.too_many_threads(self._config.threads, limits_now()):
            self.get_logger().warning(words)
        self._model: Model = start_checks.model_of(self._fleet)
        self._hardware = hardware_of(self._fleet, device, self._model, runs_stages=True)
        preprocessing = start_checks.preprocessing_of(self._fleet, self._model)
        self._store = StageStore(
            self._model, preprocessing, providers=self._config.providers, threads=self._config.threads,
            budget_bytes=self._memory_budget(), cancelled=self.ending.is_set,
        )  # fmt: skip
        most_bytes = largest_message(self._config.memory)
        self._expected = Expected(self._model.tensors, image=True, most_bytes=most_bytes)
        self._pipeline = FramePipeline(device, max_bytes=most_bytes)
        if self._fleet.share is not None:
            give_way(niceness(self._fleet.share.priority))
        self._hedges = HedgeController(self, self._model, self._store, self._pipeline, self._lock, self._tasks.put)
        self._plans = WorkerPlans(device=device)
        self._memory = PlanMemory(self)
        self._sender = TensorSender(self, self._fleet, self._hardware)
        self._energy = EnergyWatch(self, self._config, self._hardware, self._fleet)
        self._failures = FailureReports(self)
        self._sender.probing_share, self._sender.probe_period = map(self.params.number, ('probing_budget', 'probe_period'))
        self._runner = StageRunner(
            self, self._store, self._sender, self._energy, self._hardware, self._hedges, self._failures, self._lock,
        )  # fmt: skip
        self._profiling = ProfilingController(
            self, self._model, self._fleet, preprocessing, lambda: self._config, self._hardware, self._tasks.put, self._profiled,
        )  # fmt: skip
        self._inbox = TensorInbox(
            self, self.topics.tensors(), self._sender, self._receive, expect=self._expect, max_bytes=most_bytes
        )
        for name in self._fleet.devices:
            self._inbox.connect(name)
            if name != device:
                self._sender.connect((name, False))
        self._heartbeat = self.advertise(Heartbeat, self.topics.heartbeat, qos.HEARTBEAT)
        self._preparation = PreparationController(
            self, self._store, self._sender, self._hedges, self._lock, self._tasks.put, self._beat
        )
        self.subscribe(HopAck, self.topics.acks(), self._ack, qos.ACKS)
        self.subscribe(Exploration, self.topics.exploration, self._worth_probing, qos.EXPLORATION)
        self.subscribe(PlanMessage, self.topics.plan, self._plan, qos.PLAN)
        self.subscribe(PlanMessage, self.topics.shadow, self._shadow_plan, qos.SHADOW)
        if device == self._fleet.source:
            self.subscribe(PlanMessage, self.topics.hedge_plan(), self._hedge_plan, qos.PLAN)
        self._hardware.connect(self, self._sender.reshape)
        beat = self.every(1 / self.params.number('heartbeat_hz'), self._beat)
        self.params.on_change(lambda _, value: self.set_period(beat, 1 / value), 'heartbeat_hz')
        self.every(_PROBE_TICK_SECONDS, self._probe_links)
        self.params.on_change(lambda _, value: setattr(self._sender, 'probe_period', value), 'probe_period')
        self.params.on_change(lambda _, value: setattr(self._sender, 'probing_share', value), 'probing_budget')
        self.params.on_change(lambda *_: self._resize(), 'memory_budget')
        self.params.on_change(lambda *_: self._resize(), 'threads')
        self.every(1.0, self._tidy)

    def _memory_budget(self) -> float:
        given = self.params.quantity('memory_budget')
        return given if given is not None else self._config.memory or min(1 << 30, memory_now().total_bytes / 4)

    def _resize(self) -> None:
        """Follow new limits; what is prepared goes on."""
        if self._store is not None:
            self._config = start_checks.with_parameters(self._fleet.devices[self.topics.device], self.params)
            self._store.budget_bytes = self._memory_budget()
            self._store.use_threads(self._config.threads)
            if self._energy is not None:
                self._energy.threads = self._config.threads
            self.get_logger().info(
                f'plans are prepared with {self._config.threads} thread(s) from now on; '
                f'{format_bytes(self._store.budget_bytes)} for stages that no plan holds'
            )

    def start(self) -> None:
        """Begin to work, and measure the profile in the background."""
        assert self._runner is not None
        kept = self._memory.begin(self._plans, self._model.sha256, time.monotonic())
        self._leaving = False
        self._stopping = threading.Event()
        for name, body in (('inference', self._runner.work), ('preparation', self._tasks.work)):
            thread = threading.Thread(target=body, args=(self._stopping,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        if kept is not None:
            self._prepare_kept(kept)
        self._tasks.put(self._profiling.measure)
        if self._energy is not None:
            self._energy.start()

    def _prepare_kept(self, message: PlanMessage) -> None:
        """Prepare the plan on disk first of all: the fleet may follow it still, and then frames wait for this worker."""
        assert self._store is not None
        try:
            plan = plan_for(message, self._fleet, self._model)
        except UserError as error:
            self.refuse('plan on disk', str(error))
            return
        self._do(self._plans.task(plan, PlanStatus.PROPOSED, self._store.versions))

    def begin_drain(self, *, ending: bool) -> float:
        """Give no more signs of life, so that the fleet moves away, and work on until it has."""
        self._leaving, self._ending, self._busy_at = True, ending, time.monotonic()
        return _ENDING_SECONDS if ending else self.params.number('drain_seconds')

    def drained(self) -> bool:
        """Return whether no frame is here, and the plan in force is one without this device.

        Where the process ends, perhaps with the whole fleet, nobody makes such a plan: then frames that are on their way
        are waited for.
        """
        plan = self._plans.active
        with self._lock:
            here = self._pipeline.frames + self._hedges.under_way
        assert self._sender is not None
        if here or self._sender.bytes_waiting:
            self._busy_at = time.monotonic()
            return False
        if self._ending:
            return time.monotonic() - self._busy_at >= _QUIET_SECONDS
        return plan is None or self.topics.device not in plan.devices

    def stop(self) -> None:
        """End the threads; frames that are left are repeated by the source elsewhere, or gone on with when active again."""
        self._stopping.set()
        if self._runner is not None:
            self._runner.wake()
        self._tasks.wake()
        if self._energy is not None:
            self._energy.stop()
        for thread in self._threads:
            thread.join(1.0)
        self._threads.clear()

    def teardown(self) -> None:
        """Let the sender go."""
        if self._sender is not None:
            self._sender.stop()

    def stop_work(self) -> None:
        """Stop a run or a pause under way."""
        if self._store is not None:
            self._hardware.interrupt()
            self._store.terminate()
        if self._runner is not None:
            self._runner.wake()
        self._tasks.wake()

    # Plans ----------------------------------------------------------------------------------------------------

    def _plan(self, message: PlanMessage) -> None:
        plan, status = plan_for(message, self._fleet, self._model), status_of(message)
        assert self._store is not None
        if self._plans.hear(plan, status):
            self._memory.keep(message)
        self._do(self._plans.task(plan, status, self._store.versions))

    def _hedge_plan(self, message: PlanMessage) -> None:
        self._do(self._hedges.task(message, self._fleet))

    def _do(self, task: Prepare | Release | None) -> None:
        match task:
            case Release(version):
                self._preparation.release(version)
            case Prepare(plan):
                self._preparation.prepare(plan)

    def _shadow_plan(self, message: PlanMessage) -> None:
        """Prepare a plan for shadow frames, or let it go; a request to run one is the frame source's."""
        if message.status != PlanMessage.ACTIVE:
            self._plan(message)

    def _tidy(self) -> None:
        """Release plans that new frames no longer use and that are drained; the last one before stays."""
        if self._store is None:
            return
        now = time.monotonic()
        self._cpu_percent = self._process.cpu_percent()
        if (kept := self._memory.resume(self._plans, self._model.sha256, now)) is not None:
            self._plan(kept)
        with self._lock:
            self._pipeline.expire(now)
            drained = self._plans.idle(self._store.versions, self._pipeline.drained, now)
        for version in drained:
            self._preparation.release(version)
        self._hedges.tidy(self._plans.active, now)

    # Frames ---------------------------------------------------------------------------------------------------

    def _expect(self, fragment: Fragment) -> None:
        address = fragment.address
        try:
            if not is_hedge(address.plan_version):
                with self._lock:
                    self._pipeline.check(address, (tensor.name for tensor in fragment.layout))
        except NotReadyError as error:
            self._failures.publish(address, -1, error)
            raise
        try:
            self._expected.check(fragment)
        except WireError as error:
            self._failures.publish(address, -1, error)
            raise

    def _receive(self, received: Received, hop: HopTime) -> None:
        assert self._runner is not None
        if is_hedge(received.address.plan_version):
            self._runner.put(self._hedges.receive(received, hop))
            return
        try:
            arrays, encodings = views(received)
        except WireError as error:
            self._failures.publish(received.address, -1, error)
            raise
        try:
            with self._lock:
                jobs = self._pipeline.receive(
                    received.address, arrays, encodings, received.stages, (*received.hops, hop), received.arrived
                )
        except NotReadyError as error:
            self._failures.publish(received.address, -1, error)
            raise
        assert self._energy is not None
        self._runner.put(jobs)
        self._energy.received(hop, received.arrived)

    def _ack(self, ack: HopAck) -> None:
        assert self._sender is not None and self._energy is not None
        self._sender.on_ack(ack)
        self._energy.sent(ack)

    def _profiled(self, profile: Profile) -> None:
        if self._runner is not None and self._energy is not None:
            self._runner.profile = profile
            self._energy.profiled(profile)

    # Measuring ------------------------------------------------------------------------------------------------

    def _probe_links(self) -> None:
        if self._sender is not None:
            for name in self._sender.devices:
                if self._sender.connected((name, False)):
                    self._sender.probe(name)

    def _worth_probing(self, message: Exploration) -> None:
        assert self._sender is not None and self._runner is not None
        self._sender.worth_probing(message)
        self._runner.worth_probing(message)

    def _prepared(self) -> list[int]:
        """Return the plans whose frames are taken here."""
        with self._lock:
            return sorted({*self._pipeline.parts, *self._hedges.prepared})

    def _beat(self) -> None:
        assert self._store is not None and self._sender is not None
        if self._leaving:
            return
        now = time.monotonic()
        message = Heartbeat(
            device=self.topics.device, node='worker', incarnation=self.incarnation, model_sha256=self._model.sha256,
            plan_versions=self._prepared(), active_version=self._plans.active_version,
            active_scheduler=self._plans.active_scheduler, last_version=self._plans.last_version,
            frames=self._pipeline.frames + self._hedges.under_way,
            resident_bytes=self._process.memory_info().rss, process_cpu_percent=self._cpu_percent,
            speed_factor=self._runner.speed_factor if self._runner is not None else math.nan,
            stage_factor=self._runner.stage_watch.factor(now) if self._runner is not None else 0.0,
            refused=sum(self.refused.values()), last_refusal=self.last_refusal, troubles=troubles(),
        )  # fmt: skip
        message.stamp = self.get_clock().now().to_msg()
        self._sender.describe_links(message, now)
        self._heartbeat.publish(message)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    return run_node(Worker, args)

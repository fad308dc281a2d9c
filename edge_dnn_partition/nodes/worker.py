# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker of one device: prepares the stages that a plan gives it, runs them, forwards their tensors."""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from typing import Final

from std_srvs.srv import Trigger

from edge_dnn_partition.control.state.sharing import niceness
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.hardware import hardware_of
from edge_dnn_partition.deployment.node_parameters import WORKER
from edge_dnn_partition.errors import NotReadyError, PlanError, UserError, WireError
from edge_dnn_partition.execution.frames.failure import kind_of, reason_of
from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, is_hedge
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus, Prepare, Release, WorkerPlans
from edge_dnn_partition.execution.frames.result_codec import Report, decode_report
from edge_dnn_partition.execution.stages.device_frames import DeviceFrames
from edge_dnn_partition.execution.stages.stage_store import StageStore, give_way
from edge_dnn_partition.msg import DeviceEnergy, Exploration, FrameFailure, FrameReport, StageState
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.msg import Profile as ProfileMessage
from edge_dnn_partition.nodes.conversions.plan_messages import PlanMemory, plan_for, status_of
from edge_dnn_partition.nodes.conversions.wire import worth_in
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.execution.device_profiler import DeviceProfiler
from edge_dnn_partition.nodes.execution.energy import EnergyMonitor
from edge_dnn_partition.nodes.execution.preparation import PlanPreparation
from edge_dnn_partition.nodes.execution.stage_runner import StageRunner
from edge_dnn_partition.nodes.execution.vital_signs import VitalSigns
from edge_dnn_partition.nodes.transport.model_follower import ModelFollower
from edge_dnn_partition.nodes.transport.site_links import site_links
from edge_dnn_partition.nodes.transport.weight_fetcher import WeightFetcher
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.sources.limits import limits_now, memory_now
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.expected import Expected, largest_message
from edge_dnn_partition.transport.fragments import Address, Fragment
from edge_dnn_partition.transport.neighbours import neighbours
from edge_dnn_partition.transport.probing import UNWORTHY
from edge_dnn_partition.transport.timing import HopTime
from edge_dnn_partition.units import format_bytes

_PROBE_TICK_SECONDS = 0.1
"""How often the worker checks whether a link is to be probed, unless it is at rest."""
_REST_SECONDS = 2.0
"""A worker is at rest after so long without a frame, if nothing here is worth probing."""
_NO_FRAME_SECONDS = 1.5
"""After so long without a frame none is taken to be under way."""
_ENDING_SECONDS = 0.6
"""How long a worker whose process ends works on at most ..."""
_QUIET_SECONDS = 0.25
"""... and no longer than this after the last frame: the frame source accepts nothing more then, if it ends as well."""


class Worker(FleetNode):
    """Runs one device's part of each plan.

    A frame comes to `_receive` in the thread that spins, runs in the thread ``inference`` (`StageRunner`), and leaves through
    the link's. Plans are loaded in the thread ``preparation`` (`PlanPreparation`), and the model is profiled in
    ``profiling`` (`DeviceProfiler`), see docs/concurrency.md.
    """

    def __init__(self) -> None:
        super().__init__('worker', WORKER, one_for='device')
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._closing = ExitStack()
        self._leaving = self._ending = self._is_set_up = False
        self._busy_at = self._stirred_at = self._framed_at = 0.0

    # Life -----------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Read the fleet file, load the model's graph, connect."""
        device = self.topics.device
        limits = limits_now()
        self._fleet = start_checks.with_own_device(self.load_fleet(), device, limits)
        self._config = start_checks.with_parameters(self._fleet.devices[device], self.params)
        if words := start_checks.too_many_threads(self._config.threads, limits):
            self.get_logger().warning(words)
        self._model = start_checks.model_of(self._fleet)
        if self._model.remark:
            self.get_logger().warning(f"the model's operators are used as they are: {self._model.remark}")
        preprocessing = start_checks.preprocessing_of(self._fleet, self._model)
        self._hardware = hardware_of(self._fleet, device, self._model, runs_stages=True)
        if self._fleet.share is not None:
            give_way(niceness(self._fleet.share.priority))

        self._failures = self.advertise(FrameFailure, self.topics.frame_failure, qos.FAILURES)
        states = self.advertise(StageState, self.topics.plan_state, qos.PLAN_STATE)
        profiles = self.advertise(ProfileMessage, self.topics.profile, qos.PROFILE)
        energy = self.advertise(DeviceEnergy, self.topics.energy, qos.TELEMETRY, overridable=True)

        most_bytes = largest_message(self._config.memory)
        self._expected = Expected(self._model.tensors, image=True, most_bytes=most_bytes, kept=self._model.states.keys())
        self._frames = DeviceFrames(device, most_bytes, self._model)
        self._plans, self._memory = WorkerPlans(device=device), PlanMemory(self, self._fleet.constraints)
        self._store = StageStore(
            self._model, preprocessing, providers=self._config.providers, threads=self._config.threads,
            budget_bytes=self._memory_budget(), cancelled=self.ending.is_set,
            fetch=None if self._model.weights is None else WeightFetcher(self).fetch,
        )  # fmt: skip
        self._energy = EnergyMonitor(self, energy, self._config, self._hardware, self._fleet)
        self._link = site_links(self, self._fleet, self._hardware, on_sent=self._energy.sent)
        self._closing.callback(self._link.stop)
        self._preparation = PlanPreparation(self, self._frames, self._store, self._link, states, self._beat)
        self._runner = StageRunner(
            self, self._frames, self._store, self._link, self._energy, self._hardware, self._report_failure
        )
        self._vital_signs = VitalSigns(self, self._fleet, self._model.sha256, self._frames, self._plans, self._runner, self._link)
        self._profiler = DeviceProfiler(
            self, profiles, self._model, self._fleet, preprocessing, lambda: self._config, self._hardware, self._on_profile,
            lambda: self._runner.turns,
        )  # fmt: skip

        self._link.listen(False, self._receive, expect=self._expect, max_bytes=most_bytes)
        for name in neighbours(self._fleet, device):
            self._link.connect((name, False))
        ModelFollower(self, self._fleet, self._model.sha256, self._quiet)
        self.subscribe(PlanMessage, self.topics.plan, self._on_plan, qos.PLAN)
        self.subscribe(PlanMessage, self.topics.shadow, self._on_shadow_plan, qos.SHADOW)
        self.subscribe(Exploration, self.topics.exploration, self._on_exploration, qos.EXPLORATION)
        if device == self._fleet.source:
            self.subscribe(PlanMessage, self.topics.hedge_plan(), self._on_hedge_plan, qos.PLAN)
            if 'frame_source' in self.neighbours:
                self.open_inbox(self.topics.frame_report, self._on_report)
            else:
                self.subscribe(FrameReport, self.topics.frame_report, self._on_report_message, qos.result_reader(), raw=True)
        self.serve(Trigger, self.topics.profile_again(device), self._profiler.serve)
        self._hardware.connect(self, self._link.reshape)

        self._beating = self.every(self._beat_seconds, self._beat)
        self._probing = self.every(_PROBE_TICK_SECONDS, self._probe_links)
        self.every(1.0, self._energy.publish)
        self.every(1.0, self._tidy)
        for name in ('probe_period', 'probing_budget'):
            self.params.on_change(lambda *_: self._set_probing(), name)
        for name in ('memory_budget', 'threads'):
            self.params.on_change(lambda *_: self._resize(), name)
        self._set_probing()
        self._is_set_up = True

    def _memory_budget(self) -> float:
        given = self.params.quantity('memory_budget')
        return given if given is not None else self._config.memory or min(1 << 30, memory_now().total_bytes / 4)

    def _set_probing(self) -> None:
        self._link.set_probing(*map(self.params.number, ('probing_budget', 'probe_period')))

    def _resize(self) -> None:
        """Follow new limits; what is prepared goes on."""
        self._config = start_checks.with_parameters(self._fleet.devices[self.topics.device], self.params)
        self._store.budget_bytes = self._memory_budget()
        self._store.use_threads(self._config.threads)
        self._energy.threads = self._config.threads
        self.get_logger().info(
            f'plans are prepared with {self._config.threads} thread(s) from now on; '
            f'{format_bytes(self._store.budget_bytes)} for stages that no plan holds'
        )

    def start(self) -> None:
        """Begin to work, and measure the profile in the background."""
        kept = self._memory.begin(self._plans, self._model.sha256, time.monotonic())
        self._leaving = False
        self._stopping = threading.Event()
        bodies = (
            ('inference', self._runner.work), ('preparation', self._preparation.thread.work),
            ('profiling', self._profiler.thread.work),
        )  # fmt: skip
        for name, body in bodies:
            thread = threading.Thread(target=body, args=(self._stopping,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        if kept is not None:
            self._prepare_kept(kept)
        self._profiler.thread.put(self._profiler.measure)
        self._energy.start()

    def _prepare_kept(self, message: PlanMessage) -> None:
        """Prepare the plan on disk first of all: the fleet may follow it still, and then frames wait for this worker."""
        try:
            plan = plan_for(message, self._fleet, self._model)
        except UserError as error:
            self.refuse('plan on disk', str(error))
            return
        self._do(self._plans.task(plan, PlanStatus.PROPOSED, self._store.versions))

    def begin_drain(self, *, ending: bool) -> float:
        """Publish no more heartbeats, so that the fleet moves away, and work on until it has."""
        self._leaving, self._ending, self._busy_at = True, ending, time.monotonic()
        return _ENDING_SECONDS if ending else self.params.number('drain_seconds')

    def drained(self) -> bool:
        """Return whether no frame is here, and the plan in force is one without this device.

        Where the process ends, perhaps with the whole fleet, nobody makes such a plan: then frames that are on their way
        are waited for.
        """
        plan = self._plans.active
        if self._frames.under_way or self._link.bytes_waiting:
            self._busy_at = time.monotonic()
            return False
        if self._ending:
            return time.monotonic() - self._busy_at >= _QUIET_SECONDS
        return plan is None or self.topics.device not in plan.devices

    def stop(self) -> None:
        """End the threads; frames that are left are repeated by the source elsewhere, or gone on with when active again."""
        self._stopping.set()
        self._runner.wake()
        self._preparation.thread.wake()
        self._profiler.thread.wake()
        self._energy.stop()
        for thread in self._threads:
            thread.join(1.0)
        self._threads.clear()

    def teardown(self) -> None:
        """Let the sender go."""
        self._closing.close()

    def stop_work(self) -> None:
        """Stop a run or a pause under way."""
        if self._is_set_up:
            self._hardware.interrupt()
            self._store.terminate()
            self._runner.wake()
            self._preparation.thread.wake()
            self._profiler.thread.wake()

    # Plans ----------------------------------------------------------------------------------------------------

    def _on_plan(self, message: PlanMessage) -> None:
        plan, status = plan_for(message, self._fleet, self._model), status_of(message)
        if self._plans.on_plan(plan, status):
            self._memory.keep(message)
        self._do(self._plans.task(plan, status, self._store.versions))

    def _on_hedge_plan(self, message: PlanMessage) -> None:
        plan = plan_for(message, self._fleet, self._model)
        if plan.version != HEDGE_VERSION:
            raise PlanError(f'plan {plan.version} is not a hedge plan')
        self._do(Release(plan.version) if status_of(message) is PlanStatus.DROPPED else Prepare(plan))

    def _on_shadow_plan(self, message: PlanMessage) -> None:
        """Prepare a plan for shadow frames, or let it go; a request to run one is the frame source's."""
        if message.status != PlanMessage.ACTIVE:
            self._on_plan(message)

    def _do(self, task: Prepare | Release | None) -> None:
        match task:
            case Release(version):
                self._preparation.release(version)
            case Prepare(plan):
                self._preparation.prepare(plan)

    def _tidy(self) -> None:
        """Release plans that new frames no longer use and that are drained; the last one before stays."""
        now = time.monotonic()
        self._vital_signs.measure()
        if (kept := self._memory.resume(self._plans, self._model.sha256, now)) is not None:
            self._on_plan(kept)
        self._frames.expire(now)
        for version in self._plans.idle(self._store.versions, self._frames.drained, now):
            self._preparation.release(version)
        self._preparation.prepare_tail(self._model, self._plans.active)

    # Frames ---------------------------------------------------------------------------------------------------

    def _expect(self, fragment: Fragment) -> None:
        """Refuse a message from its first fragment on, if this device does not wait for it."""
        address = fragment.address
        try:
            self._frames.check(address, (tensor.name for tensor in fragment.layout))
        except NotReadyError as error:
            self._report_failure(address, -1, error)
            raise
        try:
            self._expected.check(fragment)
        except WireError as error:
            self._report_failure(address, -1, error)
            raise

    def _receive(self, received: Received, hop: HopTime) -> None:
        """Take in a whole message's tensors; stages that can run now go to the thread ``inference``."""
        address, hedge = received.address, is_hedge(received.address.plan_version)
        self._framed_at = received.arrived
        self._stir()
        try:
            arrays, encodings = received.views()
        except WireError as error:
            if not hedge:
                self._report_failure(address, -1, error)
            raise
        try:
            jobs = self._frames.receive(address, arrays, encodings, received.stages, (*received.hops, hop), received.arrived)
        except NotReadyError as error:
            if not hedge:
                self._report_failure(address, -1, error)
            raise
        self._runner.put(jobs)
        if not hedge:
            self._energy.received(hop, received.arrived)

    def _on_report_message(self, raw: bytes) -> None:
        self._on_report(decode_report(raw))

    def _on_report(self, report: Report) -> None:
        """Take in that a frame has ended: what the source's device still has of it would only hold up others."""
        self._energy.on_report(report)
        if not report.shadow:
            self._frames.end(report.frame_number)

    def _report_failure(self, address: Address, stage: int, error: BaseException) -> None:
        """Publish that a frame failed; may be called from any thread.

        :param stage: index in its plan; -1: its input was refused.
        """
        self._failures.publish(FrameFailure(
            kind=kind_of(error), device=self.topics.device, incarnation=self.incarnation, frame_number=address.frame_number,
            plan_version=address.plan_version, attempt=address.attempt, stage=stage, reason=reason_of(error),
        ))  # fmt: skip

    # Measuring ------------------------------------------------------------------------------------------------

    def _on_profile(self, profile: Profile) -> None:
        self._runner.speed.profile = profile
        self._energy.profiled(profile)

    def _on_exploration(self, message: Exploration) -> None:
        worth = worth_in(message, self.topics.device)
        for name in worth:
            if name in self._fleet:
                self._link.connect((name, False))
        self._link.on_exploration(worth)
        rows = list(zip(message.senders, message.receivers, message.shares, strict=True))
        share = max((share for *ends, share in rows if ends == [self.topics.device] * 2), default=0.0)
        if share > 0 or any(ends[0] == self.topics.device and worth > UNWORTHY for *ends, worth in rows):
            self._stir()
        self._runner.speed.worth_probing(share * self.params.number('probing_budget'), time.monotonic())

    @property
    def _beat_seconds(self) -> float:
        """Between heartbeats now."""
        slowest = self.params.number('rest_heartbeat_hz') if self._at_rest else math.inf
        return 1 / min(slowest, self.params.number('heartbeat_hz'))

    @property
    def _at_rest(self) -> bool:
        return time.monotonic() - self._stirred_at > _REST_SECONDS

    def _stir(self) -> None:
        """Follow what happens here closely; may be called from any thread."""
        rested, self._stirred_at = self._at_rest, time.monotonic()
        if rested:
            self._beating.set_period(self._beat_seconds)
            self._probing.set_period(_PROBE_TICK_SECONDS)

    def _quiet(self) -> bool:
        """Return whether no frame is here, nor was one lately."""
        return not self._frames.under_way and time.monotonic() - self._framed_at > _NO_FRAME_SECONDS

    def _probe_links(self) -> None:
        for name in self._link.devices:
            self._link.probe(name)

    def _beat(self) -> None:
        """Publish a heartbeat; called by the timer and, when a plan is prepared, by the thread ``preparation``."""
        if self._leaving:
            return
        if self._frames.under_way:
            self._stir()
        self._beating.set_period(self._beat_seconds)
        self._probing.set_period(self._beat_seconds if self._at_rest else _PROBE_TICK_SECONDS)
        self._vital_signs.publish()


NODE: Final = Worker

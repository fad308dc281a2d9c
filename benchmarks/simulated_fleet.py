# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Workers and a frame source in simulated time, around the product's classes.

The product's are `FramePipeline`, `FrameDispatcher` and what `simulated_transport`
names. Simulated are what a stage and an encoding take (the profile's seconds, times a little seeded noise), what preparing a plan
takes, and what the nodes of the same names add with ROS. Hedging is off and no frame grows too old, as by default.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from edge_dnn_partition.errors import NotReadyError
from edge_dnn_partition.execution.frames.actions import Ended, Forget, ForgetDevice, Send
from edge_dnn_partition.execution.frames.dispatcher import FrameDispatcher
from edge_dnn_partition.execution.frames.failure import Failure, FailureKind
from edge_dnn_partition.execution.frames.ledger import DELIVERED, Frame, FrameLedger
from edge_dnn_partition.execution.frames.pipeline import FramePipeline, FrameState, Job, deliveries
from edge_dnn_partition.execution.frames.plan_registry import LINGER_SECONDS, PlanStatus
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, StageTime

from .simulated_transport import HANDLE_SECONDS, HEARTBEAT_BYTES, SAY_AGAIN_SECONDS, Endpoint, Loop, Target, Wires, names_of

PREPARE_SECONDS: Final = 0.05
"""Modelled: what a worker takes to prepare a plan."""
_NOISE: Final = 0.02
_BEAT_SECONDS: Final = 0.1
_PROBE_TICK_SECONDS: Final = 0.1
_PUMP_SECONDS: Final = 0.02


@dataclass(frozen=True)
class _Sized:
    """A tensor of which only the size matters."""

    nbytes: int


class Simulation:
    """What all nodes of a simulated fleet share.

    :param source: the device of camera, frame source and scheduler.
    """

    def __init__(self, loop: Loop, pipeline: Pipeline, wires: Wires, image_bytes: int, seed: int) -> None:
        self.loop, self.pipeline, self.wires, self.image_bytes = loop, pipeline, wires, image_bytes
        self.fleet, self.model = pipeline.fleet, pipeline.model
        self.source = self.fleet.source
        self.endpoints: dict[Target, Endpoint] = {}
        self._noise = np.random.default_rng(seed)
        self._sizes = {
            name: {(c.tensor, c.encoding): c for c in profile.codings} for name, profile in pipeline.profiles.items()
        }

    def noise(self) -> float:
        """Return what something takes over its usual time."""
        return math.exp(_NOISE * float(self._noise.standard_normal()))

    def endpoint(self, target: Target, accept: Callable[[Received, HopTime], None], probing_share: float) -> Endpoint:
        """Return a new node's transport."""
        made = Endpoint(self.loop, self.fleet, target[0], 1 + len(self.endpoints), self.wires, accept, self.endpoints)
        made.sender.probing_share = probing_share
        self.endpoints[target] = made
        return made

    def tell(self, sender: str, receiver: str, size: int, action: Callable[[], None], *, reliable: bool = True) -> None:
        """Let something happen on another device once a message is there; what is reliable is sent again if it is lost."""
        there = self.loop.now + HANDLE_SECONDS if sender == receiver else self.wires[sender, receiver].send(self.loop.now, size)
        if there is not None:
            self.loop.at(there, action)
        elif reliable:
            self.loop.at(self.loop.now + SAY_AGAIN_SECONDS, lambda: self.tell(sender, receiver, size, action))

    def raw_bytes(self, tensor: str) -> float:
        """Return a tensor's bytes."""
        return self.image_bytes if tensor == IMAGE else self.model.tensors[tensor].bytes

    def coded(self, device: str, tensor: str, encoding: str) -> tuple[float, float, float]:
        """Return a tensor's bytes in an encoding, and the seconds to encode and to decode it on a device."""
        if encoding == RAW:
            return self.raw_bytes(tensor), 0.0, 0.0
        coding = self._sizes[device][tensor, encoding]
        return coding.size, coding.encode_seconds, coding.decode_seconds


class Worker:
    """A worker of one device.

    :param on_ready: hears that a plan is prepared, where the scheduler is.
    :param on_beat: hears of a heartbeat, where the source is.
    """

    def __init__(
        self, simulation: Simulation, device: str, *, probing_share: float, probe_period: float,
        on_ready: Callable[[str, Plan], None], on_beat: Callable[[Any], None],
    ) -> None:  # fmt: skip
        self._simulation, self._device, self._on_ready, self._on_beat = simulation, device, on_ready, on_beat
        self.endpoint = simulation.endpoint((device, False), self._accept, probing_share)
        self._pipeline = FramePipeline(device)
        self._jobs: deque[Job] = deque()
        self._busy = False
        self._active_version = self._last_version = 0
        self.on_failure: Callable[[Failure], None] = lambda _: None
        # Nodes do not start at the same moment.
        offset = 0.01 * self.endpoint.incarnation
        simulation.loop.every(_BEAT_SECONDS, self._beat, first=offset)
        if probing_share > 0:
            self.endpoint.sender.probe_period = probe_period
            simulation.loop.every(_PROBE_TICK_SECONDS, self._probe, first=0.3 + offset)

    def _probe(self) -> None:
        for name in self.endpoint.sender.links:
            self.endpoint.probe(name)

    def _beat(self) -> None:
        simulation = self._simulation
        message = SimpleNamespace(
            device=self._device, node='worker', incarnation=self.endpoint.incarnation, model_sha256=simulation.model.sha256,
            plan_versions=sorted(self._pipeline.parts), process_cpu_percent=math.nan, speed_factor=1.0, stage_factor=0.0,
            resident_bytes=0, last_version=self._last_version, active_version=self._active_version, active_scheduler=1,
        )  # fmt: skip
        self.endpoint.write_links(message)
        simulation.tell(self._device, simulation.source, HEARTBEAT_BYTES, lambda: self._on_beat(message), reliable=False)

    def told(self, plan: Plan, status: PlanStatus) -> None:
        """Take in what the scheduler says of a plan."""
        loop, self._last_version = self._simulation.loop, max(self._last_version, plan.version)
        if status is PlanStatus.PROPOSED and self._device in plan.devices:
            loop.at(loop.now + PREPARE_SECONDS, lambda: self._prepared(plan))
        elif status is PlanStatus.ACTIVE:
            self._active_version = plan.version
            old = [version for version in self._pipeline.parts if version < plan.version]
            loop.at(loop.now + LINGER_SECONDS, lambda: self._release(old))

    def _prepared(self, plan: Plan) -> None:
        self._pipeline.add_plan(plan)
        self._simulation.tell(self._device, self._simulation.source, HEARTBEAT_BYTES, lambda: self._on_ready(self._device, plan))
        self._beat()

    def _release(self, versions: list[int]) -> None:
        for version in versions:
            if version < self._active_version and self._pipeline.drained(version):
                self._pipeline.remove_plan(version)

    def _accept(self, received: Received, hop: HopTime) -> None:
        address = received.address
        tensors: dict[str, Any] = {name: _Sized(int(self._simulation.raw_bytes(name))) for name in names_of(received.layout)}
        hops = received.hops if hop.sender == hop.receiver else (*received.hops, hop)
        try:
            jobs = self._pipeline.receive(address, tensors, {}, received.stages, hops, self._simulation.loop.now)
        except NotReadyError as error:
            failure = Failure(FailureKind.NOT_READY, self._device, self.endpoint.incarnation, address.frame_number,
                              address.plan_version, address.attempt, -1, str(error))  # fmt: skip
            self._simulation.tell(self._device, self._simulation.source, HEARTBEAT_BYTES, lambda: self.on_failure(failure))
            return
        self._put(jobs)

    def _put(self, jobs: list[Job]) -> None:
        self._jobs.extend(jobs)
        while not self._busy and self._jobs:
            job = self._jobs.popleft()
            if self._pipeline.current(job):
                self._busy = True
                self._run(job)

    def _run(self, job: Job) -> None:
        """Let a stage take its time."""
        simulation, plan = self._simulation, job.frame.part.plan
        stage, profile = plan.stages[job.stage], simulation.pipeline.profiles[self._device]
        encodings = {t.tensor: t.encoding for t in plan.transfers if t.to_device == self._device and t.from_device != self._device}
        decode = sum(simulation.coded(self._device, name, encodings.get(name, RAW))[2] for name in stage.inputs if name != IMAGE)
        if stage.preprocess:
            decode += (profile.preprocess_seconds or 0.0) * simulation.noise()
        run = profile.known_seconds(stage.layers) * simulation.noise()
        begun = simulation.loop.now
        timing = StageTime(self._device, job.stage, begun - job.ready_at, decode, run, run)
        simulation.loop.at(begun + decode + run, lambda: self._ran(job, timing))

    def _ran(self, job: Job, timing: StageTime) -> None:
        simulation, frame = self._simulation, job.frame
        sends: list[Any] = []
        jobs: list[Job] = []
        if self._pipeline.current(job):
            outputs: Any = {name: _Sized(0) for name in frame.part.plan.stages[job.stage].outputs}
            sends, jobs = self._pipeline.finished(job, outputs, timing, simulation.loop.now)
        at = simulation.loop.now
        for target, _, encodings in sends:
            coded = {name: simulation.coded(self._device, name, encoding) for name, encoding in encodings.items()}
            seconds = sum(encode for _, encode, _ in coded.values())
            at += seconds
            sizes = {name: size for name, (size, _, _) in coded.items()}
            simulation.loop.at(at, lambda t=target, s=sizes, e=seconds: self._send(frame, job.stage, t, s, e))  # type: ignore[misc]
        simulation.loop.at(at, lambda: self._free(jobs))

    def _send(self, frame: FrameState, stage: int, target: Target, sizes: Mapping[str, float], seconds: float) -> None:
        where = frame.address
        address = Address(where.model_sha256, where.plan_version, where.frame_number, where.attempt, stage)
        self.endpoint.send(target, address, sizes, frame.stages, frame.hops, seconds)

    def _free(self, jobs: list[Job]) -> None:
        self._busy = False
        self._put(jobs)


class Source:
    """The frame source and its camera.

    :param on_report: hears of each frame that is delivered, and how many were under way when it was accepted.
    """

    def __init__(self, simulation: Simulation, fps: float, on_report: Callable[[Frame, int], None]) -> None:
        self._simulation, self._on_report = simulation, on_report
        self.endpoint = simulation.endpoint((simulation.source, True), self._accept, 0.0)
        self.dispatcher = FrameDispatcher(simulation.model, simulation.source, FrameLedger(), self)
        self.plans, self.ledger = self.dispatcher.plans, self.dispatcher.ledger
        self.frames: list[tuple[float, float]] = []
        """When each frame was accepted that has ended, and what it took until then; in the order of acceptance."""
        self._inputs = FrameInputs.of_image(CameraImage(np.empty(0, np.uint8), 'jpeg'))
        self._period = 1 / fps
        self._stopped = False
        simulation.loop.every(_PUMP_SECONDS, self._tick)
        simulation.loop.every(_BEAT_SECONDS, self._beat)
        self.on_beat: Callable[[Any], None] = lambda _: None
        self.before_image: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Let images come from now on."""
        self._simulation.loop.every(self._period, self._offer, first=0.0)

    def stop(self) -> None:
        """Take no image any more."""
        self._stopped = True

    def _offer(self) -> None:
        if self._stopped:
            return
        self.before_image()
        self.dispatcher.offer(self._inputs, self._simulation.loop.now)
        self._carry_out()

    def hear(self, plan: Plan, status: PlanStatus) -> None:
        """Take in what the scheduler says of a plan."""
        if self.dispatcher.on_plan(plan, status):
            self._tick()

    def alive(self, message: Any) -> None:
        """Take in a worker's heartbeat."""
        if message.device == self._simulation.source:
            self.endpoint.on_beat(message)
        now = self._simulation.loop.now
        if self.dispatcher.on_heartbeat(message.device, message.incarnation, message.plan_versions, now):
            self._tick()

    def failed(self, failure: Failure) -> None:
        """Take in that a worker cannot process a frame."""
        self.dispatcher.on_failure(failure, self._simulation.loop.now)
        self._tick()

    def _beat(self) -> None:
        message = SimpleNamespace(
            device=self._simulation.source, node='frame_source', incarnation=self.endpoint.incarnation,
            model_sha256=self._simulation.model.sha256, last_version=self.plans.last_version,
            active_version=self.plans.active_version, active_scheduler=self.plans.active_scheduler,
        )  # fmt: skip
        self.endpoint.write_links(message)
        self.on_beat(message)

    def reaches(self, plan: Plan) -> bool:  # noqa: ARG002
        """Return that all devices can be sent to."""
        return True

    def seconds_left(self, frame_number: int) -> float:
        """Return how long what is left here of a frame will be on its way."""
        return self.endpoint.seconds_left(frame_number)

    def _accept(self, received: Received, hop: HopTime) -> None:
        outputs = {name: np.zeros(1) for name in names_of(received.layout)}
        hops = received.hops if hop.sender == hop.receiver else (*received.hops, hop)
        self.dispatcher.on_outputs(received.address, outputs, received.stages, hops, self._simulation.loop.now)
        self._carry_out()

    def _tick(self) -> None:
        self.dispatcher.tick(self._simulation.loop.now)
        self._carry_out()

    def _carry_out(self) -> None:
        for action in self.dispatcher.take():
            match action:
                case Send(_, plan, number, attempt):
                    address = Address(plan.model_sha256, plan.version, number, attempt, SOURCE_STAGE)
                    for device, encodings in deliveries(plan).items():
                        self.endpoint.send((device, False), address, dict.fromkeys(encodings, self._simulation.image_bytes))
                case Forget(frame_number, late):
                    self.endpoint.forget_frame(frame_number, late=late)
                case ForgetDevice(device):
                    self.endpoint.forget_device(device)
                case Ended(frame, in_flight):
                    self.frames.append((frame.accepted_at, frame.latency_seconds))
                    if frame.status == DELIVERED:
                        self._on_report(frame, in_flight)



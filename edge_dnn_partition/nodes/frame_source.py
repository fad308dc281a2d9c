# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source: takes inputs, sends each frame through the fleet, keeps it until its result is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.hardware import hardware_of
from edge_dnn_partition.deployment.node_parameters import FRAME_SOURCE, check_hedge
from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.admission import Admission
from edge_dnn_partition.execution.frames.failure import Failure, FailureKind
from edge_dnn_partition.execution.frames.ledger import DELIVERED, Frame, FrameLedger
from edge_dnn_partition.execution.frames.pipeline import deliveries
from edge_dnn_partition.execution.frames.repetition import Repetition
from edge_dnn_partition.execution.frames.shadow_run import FIRST_NUMBER
from edge_dnn_partition.execution.frames.source_plans import Patience, SourcePlans
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.msg import FrameFailure, FrameReport, Heartbeat, Result
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.plan_memory import PlanMemory
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for, status_of
from edge_dnn_partition.nodes.conversions.result_messages import failure_of, report_message, result_message
from edge_dnn_partition.nodes.conversions.wire import links_in
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode, run_node
from edge_dnn_partition.nodes.frames.camera import CameraFeed
from edge_dnn_partition.nodes.frames.frame_accounts import FrameAccounts
from edge_dnn_partition.nodes.frames.hedging import Hedging
from edge_dnn_partition.nodes.frames.infer_service import InferService
from edge_dnn_partition.nodes.frames.input_sender import InputSender
from edge_dnn_partition.nodes.frames.result_publisher import ResultPublisher
from edge_dnn_partition.nodes.frames.shadow_frames import ShadowFrames
from edge_dnn_partition.nodes.frames.source_heartbeat import SourceHeartbeat
from edge_dnn_partition.nodes.transport.dds_link import DdsLink
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.expected import Expected, largest_message
from edge_dnn_partition.transport.tensor_codec import decode
from edge_dnn_partition.transport.tensors import Coded
from edge_dnn_partition.transport.timing import HopTime, Radio

_PUMP_SECONDS = 0.02


class FrameSource(FleetNode):
    """Numbers frames, bounds how many are under way, repeats what is lost, delivers results in order."""

    def __init__(self) -> None:
        super().__init__('frame_source', FRAME_SOURCE, check=check_hedge, one_for='fleet')
        self._lock = threading.RLock()
        self._plans = SourcePlans()
        self._accepted_with: dict[int, int] = {}
        self._results_given = 0
        self._last_inputs: FrameInputs | None = None
        self._admission = Admission()
        self._link: DdsLink | None = None
        self._accounts: FrameAccounts | None = None
        self._outcome: ResultPublisher | None = None
        self._infer: InferService | None = None
        self._camera_shows = False
        self._draining = False

    # Life -----------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Read the fleet file, connect."""
        self._fleet = self.load_fleet()
        device = self.topics.device
        start_checks.check_ends(self._fleet, device)
        self._model = start_checks.model_of(self._fleet)
        self._outputs = set(self._model.outputs)
        self._ledger = FrameLedger(waiting=self.params.whole('waiting'), first_id=time.time_ns() // 1_000_000)
        self._memory = PlanMemory(self)
        self._plans = SourcePlans()
        self._results_given = 0
        self._radio = Radio.of_fleet(self._fleet)
        hardware = hardware_of(self._fleet, device, self._model, runs_stages=False)
        self._link = DdsLink(self, self._fleet, hardware)
        self._inputs = InputSender(self, self._link, hardware)
        self._shadows = ShadowFrames(self._outputs, self._inputs, self._link, self._reachable)
        self._repetition = Repetition(self._plans, self._ledger, self._link, self._send, lambda text: self.refuse('frame', text))
        most_bytes = largest_message(self._fleet.devices[device].memory)
        results = Expected({name: self._model.tensors[name] for name in self._outputs}, image=False, most_bytes=most_bytes)
        self._link.listen(True, self._receive, expect=results.check, max_bytes=most_bytes)
        for name in self._fleet.devices:
            self._link.connect((name, False))
        self._hedging = Hedging(self, self._model, device)
        self._outcome = ResultPublisher(self, self._fleet, self._model.outputs)
        self._infer = InferService(self, self._ledger, self._lock, self._outcome, self._asked, self._obstacle)
        size = sum(self._model.tensors[name].bytes for name in self._outputs)
        self._results = self.advertise(Result, self.topics.result, qos.result_writer(size), overridable=True)
        self._reports = self.advertise(FrameReport, self.topics.frame_report, qos.RESULT, overridable=True)
        self._signs = SourceHeartbeat(
            self, self._model.sha256, self._lock, self._plans, self._ledger, self._link, self._inputs,
            hedger=self._hedging.hedger, shadows=self._shadows.run,
        )  # fmt: skip
        self.subscribe(FrameFailure, self.topics.frame_failure, self._failed, qos.FAILURES)
        self.subscribe(PlanMessage, self.topics.plan, self._plan, qos.PLAN)
        self.subscribe(PlanMessage, self.topics.shadow, self._shadow_plan, qos.SHADOW)
        self.subscribe(Heartbeat, self.topics.heartbeat, self._alive, qos.heartbeat_reader())
        hardware.connect(self, self._link.reshape)
        self._camera = CameraFeed(self, self._fleet.camera, self._offer)
        self.every(_PUMP_SECONDS, self._tick)

    def start(self) -> None:
        """Begin to take images, if they do not come over a topic."""
        self._draining = False
        if self._infer is not None:
            self._infer.resume()
        now = time.monotonic()
        self._memory.begin(self._plans, self._model.sha256, now)
        if self._accounts is None:
            self._accounts = FrameAccounts(self, self._ledger)
        self._accounts.begin(now)
        self._hedging.announce()
        self._camera.start()

    def begin_drain(self, *, ending: bool) -> float:  # noqa: ARG002
        """Accept nothing more, and wait for the results of what is under way."""
        with self._lock:
            self._draining = True
            if self._infer is not None:
                self._infer.pause('the frame source is being stopped; ask again when it is active')
        return self.params.number('drain_seconds')

    def drained(self) -> bool:
        """Return whether every accepted frame has its result."""
        with self._lock:
            return not self._ledger.in_flight

    def stop(self) -> None:
        """Take no more images; frames under way are kept, and go on when the node is active again."""
        self._camera.stop()
        self._signs.publish_status()

    def give_up(self) -> None:
        """Account for what is under way; nothing is dropped in silence."""
        with self._lock:
            self._ledger.give_up(time.monotonic())
            self._deliver()
            lost = self._ledger.counts.lost
        if lost:
            self.get_logger().warning(f'{lost} accepted frames have no result')
        self._signs.publish_status()
        self.flush(self._results, self._reports, self._signs.books)

    def teardown(self) -> None:
        """Let the sender, the journal and the postprocessing go."""
        if self._outcome is not None:
            self._outcome.stop()
            self._outcome = None
        if self._infer is not None:
            self._infer.close('the frame source was stopped')
            self._infer = None
        if self._link is not None:
            self._inputs.stop()
            self._link.stop()
        if self._accounts is not None:
            self._accounts.close()
            self._accounts = None

    # Images -------------------------------------------------------------------------------------------------

    def _offer(self, inputs: FrameInputs) -> None:
        with self._lock:
            self._camera_shows = True
            self._inputs.saw(inputs)
            self._ledger.offer(inputs)
            self._pump(time.monotonic())

    def _asked(self, inputs: FrameInputs) -> None:
        """Inputs that somebody asks for wait; what images are like is the camera's to say, if there is one."""
        if not self._camera_shows:
            self._inputs.saw(inputs)
        self._pump(time.monotonic())

    def _obstacle(self) -> str:
        """Return why inputs wait."""
        plan = self._plans.active
        if plan is None:
            return 'no plan is in force; is the scheduler running?'
        if not self._reachable(plan):
            return f'plan {plan.version}, {plan.label()}, is not connected or not prepared yet'
        return f'busy: {self._ledger.in_flight} frames in flight, bound {self._room(plan)}'

    def _room(self, plan: Plan) -> int:
        """Return how many frames may be under way."""
        return self.params.whole('max_in_flight') or plan.max_in_flight

    # Frames ---------------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Accept waiting inputs while there is room; not faster than the plan's slowest part can take them."""
        plan = self._plans.active
        if plan is None or self._draining or not self._admission.may_accept(now) or not self._reachable(plan):
            return
        if any(self._plans.suspect(frame.frame_id) for frame in self._ledger.unfinished):
            return  # a frame that may kill workers runs alone
        if self._shadows.run.under_way(now) or (not self._ledger.in_flight and self._shadows.begin(self._last_inputs, now)):
            return
        room = self._room(plan)
        frame = self._ledger.accept(now, plan.version, room)
        if frame is None:
            return
        if self._accounts is not None:
            self._accounts.accepted(frame)
        self._accepted_with[frame.frame_id] = self._ledger.in_flight
        self._admission.accepted(plan, room, now)
        self._send(frame, plan)
        self._hedge(frame, now)

    def _send(self, frame: Frame, plan: Plan) -> None:
        self._plans.sent(frame.frame_id, plan)
        self._inputs.send(frame.inputs, plan, frame.frame_id, frame.attempt)

    def _receive(self, received: Received, hop: HopTime) -> None:
        if received.address.frame_id >= FIRST_NUMBER:
            with self._lock:
                report = self._shadows.receive(received, hop)
                if report is not None:
                    self._reports.publish(report)
                    self._pump(time.monotonic())
            return
        arrays, _ = received.views()
        frame_id, version = received.address.frame_id, received.address.plan_version
        with self._lock:
            self._hedging.came(frame_id, version, received.arrived)
            try:
                outputs = {
                    name: decode(value) if isinstance(value, Coded) else value
                    for name, value in arrays.items()
                    if name in self._outputs
                }
            except WireError as error:
                address = received.address
                self._repetition.failed(Failure(
                    FailureKind.DATA, self.topics.device, self.incarnation, frame_id, version, address.attempt, -1, str(error),
                ), received.arrived)  # fmt: skip
                self._deliver()
                raise
            whole = self._ledger.result(
                frame_id, received.address.attempt, version, outputs,
                received.stages, (*received.hops, hop), len(self._outputs), received.arrived,
            )  # fmt: skip
            if whole is not None:
                self._admission.delivered(whole.plan_version, whole.stages, whole.hops)
                self._plans.took(whole.plan_version, whole.latency_seconds)
                self._hedging.finished(frame_id, whole.plan_version, whole.latency_seconds)
                if self._link is not None:
                    self._link.forget_frame(frame_id)
                self._deliver()
                self._pump(time.monotonic())

    def _deliver(self) -> None:
        for frame in self._ledger.release():
            self._plans.done(frame.frame_id)
            in_flight = self._accepted_with.pop(frame.frame_id, 1)
            if frame.status == DELIVERED:
                self._last_inputs = frame.inputs
                if self._outcome is not None and frame.call is None:
                    self._outcome.delivered(frame)
            result = result_message(frame, self._model.outputs, self._radio)
            self._results_given += 1
            result.incarnation, result.sequence = self.incarnation, self._results_given
            if self._accounts is not None:  # who is killed between the two notes sends the result again, and says so
                result.redelivered = self._accounts.telling(frame.frame_id)
            self._results.publish(result)
            if self._accounts is not None:
                self._accounts.finished(frame.frame_id)
            if self._infer is not None and frame.call is not None:
                self._infer.finished(frame, result)
            self._reports.publish(report_message(result, in_flight))

    def _tick(self) -> None:
        """Repeat what is overdue or was on a device that has died; accept what waits."""
        now = time.monotonic()
        with self._lock:
            heard = self._heard(now)
            self._settle(now, heard=heard)
            names = ('repeat_factor', 'repeat_least', 'heartbeat_timeout', 'overtake')
            patience = Patience(*map(self.params.number, names))
            for frame in self._ledger.unfinished:
                if not self._repetition.again(frame, now, patience, heard=heard):
                    self._hedge(frame, now)
            self._deliver()
            self._pump(now)
            if self._infer is not None:
                self._infer.tick(now)

    def _hedge(self, frame: Frame, now: float) -> None:
        """Send a frame to this device as well if it is time for that."""
        plan = self._plans.plan_of(frame)
        if plan is not None and self._hedging.due(frame, plan, now):
            self._ledger.hedged(frame.frame_id)
            self._inputs.send(frame.inputs, self._hedging.plan, frame.frame_id, frame.attempt)

    def _heard(self, now: float) -> bool:
        return self._accounts is not None and self._accounts.may_settle(now, self._results.get_subscription_count())

    def _settle(self, now: float, *, heard: bool) -> None:
        """End frames that no result can come for in time, and take up the plan on disk if nobody says one."""
        if self._accounts is not None and heard:
            self._accounts.settle(now)
        if self.params.number('max_age') > 0:
            for frame in self._ledger.expire(now, self.params.number('max_age')):
                self._hedging.expired()
                if self._link is not None:
                    self._link.forget_frame(frame.frame_id)
        self._deliver()
        if (kept := self._memory.resume(self._plans, self._model.sha256, now)) is not None:
            self._plan(kept)

    def _reachable(self, plan: Plan) -> bool:
        """True if the devices that get inputs can be sent to and all take the plan's frames; none is accepted before."""
        link = self._link
        return link is not None and all(link.connected((to, False)) for to in deliveries(plan)) and self._plans.prepared(plan)

    # Plans and signs of life ----------------------------------------------------------------------------------

    def _plan(self, message: PlanMessage) -> None:
        plan = plan_for(message, self._fleet, self._model)
        with self._lock:
            if not self._plans.hear(plan, status_of(message)):
                return
            self._memory.keep(message)
            self._admission.renew()
            self._plans.tidy({frame.plan_version for frame in self._ledger.unfinished})
            if self.active:
                self._tick()
                self._signs.publish_status()

    def _shadow_plan(self, message: PlanMessage) -> None:
        """Take a request for a shadow frame; workers alone prepare plans for it."""
        if message.status != PlanMessage.ACTIVE:
            return
        plan = plan_for(message, self._fleet, self._model)
        with self._lock:
            self._shadows.run.ask(plan, time.monotonic())

    def _alive(self, message: Heartbeat) -> None:
        if message.node != 'worker' or message.device not in self._fleet.devices:
            return
        self._hedging.alive(message)
        if self._link is not None and message.device == self.topics.device:
            self._link.on_states(links_in(message))
        with self._lock:
            anew, changed = self._plans.heartbeat(
                message.device, message.incarnation, message.plan_versions, time.monotonic()
            )
            if anew and self._link is not None:
                self._link.forget_device(message.device)
            if changed:
                self._tick()

    def _failed(self, message: FrameFailure) -> None:
        """A worker cannot process a frame: send it elsewhere, or end it."""
        with self._lock:
            now = time.monotonic()
            if message.frame_id >= FIRST_NUMBER:
                self._shadows.run.failed(message.frame_id)
            else:
                self._repetition.failed(failure_of(message), now)
            self._tick()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return run_node(FrameSource, args)

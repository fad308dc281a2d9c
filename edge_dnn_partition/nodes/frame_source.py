# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source: takes inputs, sends each frame through the fleet, keeps it until its result is back.

What becomes of a frame is decided by a `FrameDispatcher`, under one lock. The actions that it returns, of which sending and
publishing are some, are carried out without that lock, one after the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from rclpy.serialization import deserialize_message

from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.hardware import hardware_of
from edge_dnn_partition.deployment.node_parameters import FRAME_SOURCE, check_hedge
from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.actions import Accepted, Action, Ended, Forget, ForgetDevice, Refuse, Send, ShadowEnded
from edge_dnn_partition.execution.frames.dispatcher import FrameDispatcher
from edge_dnn_partition.execution.frames.journal import Journal
from edge_dnn_partition.execution.frames.ledger import DELIVERED, Frame, FrameLedger
from edge_dnn_partition.execution.frames.pipeline import deliveries
from edge_dnn_partition.execution.frames.repetition import Patience
from edge_dnn_partition.execution.frames.result_codec import Report, encode_report, encode_result, report_of, shadow_report
from edge_dnn_partition.execution.frames.settings import Settings
from edge_dnn_partition.execution.frames.shadow_run import FIRST_NUMBER
from edge_dnn_partition.execution.frames.state_tracker import StateTracker
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.inputs.given import GivenInputs
from edge_dnn_partition.monitoring.waiting import WaitingLog
from edge_dnn_partition.msg import FrameFailure, FrameReport, Heartbeat, Result
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.camera_messages import content_of
from edge_dnn_partition.nodes.conversions.plan_messages import PlanMemory, plan_for, plan_message, status_of
from edge_dnn_partition.nodes.conversions.wire import failure_of, links_in
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.frames.earlier_frames import open_journal
from edge_dnn_partition.nodes.frames.infer_service import InferService
from edge_dnn_partition.nodes.frames.input_feed import InputFeed
from edge_dnn_partition.nodes.frames.input_sender import InputSender
from edge_dnn_partition.nodes.frames.result_publisher import ResultPublisher
from edge_dnn_partition.nodes.frames.state_publisher import StatePublisher
from edge_dnn_partition.nodes.transport.model_follower import ModelFollower
from edge_dnn_partition.nodes.transport.site_links import site_links
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.assembler import Received
from edge_dnn_partition.transport.expected import Expected, largest_message
from edge_dnn_partition.transport.tensor_codec import decode
from edge_dnn_partition.transport.tensors import Coded
from edge_dnn_partition.transport.timing import HopTime, Radio

_TICK_SECONDS = 0.02
_REST_TICK_SECONDS = 0.25
"""Between ticks where no inputs wait and no frame is under way."""
_FIRST_SECONDS = 1.0
"""How often it is looked at what the first result waits for."""


class FrameSource(FleetNode):
    """Numbers frames, bounds how many are under way, repeats what is lost, delivers results in order."""

    def __init__(self) -> None:
        super().__init__('frame_source', FRAME_SOURCE, check=check_hedge, one_for='fleet')
        self._lock = threading.Lock()
        """Guards the dispatcher; nothing is sent or published under it."""
        self._carrying_out = threading.Lock()
        """Keeps the dispatcher's actions in their order."""
        self._closing = ExitStack()
        self._settings = self._read_settings()
        """Asked for several times for each frame."""
        self.params.on_change(self._on_parameter)

    # Life -----------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Read the fleet file, connect."""
        fleet = self._fleet = self.load_fleet()
        device = self.topics.device
        start_checks.check_ends(fleet, device)
        model = self._model = start_checks.model_of(fleet)
        self._outputs = frozenset(model.outputs)
        self._radio = Radio.of_fleet(fleet)
        self._memory = PlanMemory(self, fleet.constraints)
        self._journal: Journal | None = None
        self._results_published = 0
        self._camera_shows = False
        ledger = FrameLedger(waiting=self.params.whole('waiting'), first_id=time.time_ns() // 1_000_000)
        preprocessing = start_checks.preprocessing_of(fleet, model)
        states = self._states_of(fleet, model)
        self._dispatcher = FrameDispatcher(model, device, ledger, self, lambda: self._settings, preprocessing.inputs, states)
        hardware = hardware_of(fleet, device, model, runs_stages=False)
        self._link = site_links(self, fleet, hardware)
        self._inputs = InputSender(self, self._link, hardware, preprocessing.constants)
        self._closing.callback(self._link.stop)
        self._closing.callback(self._inputs.stop)

        most_bytes = largest_message(fleet.devices[device].memory)
        tensors = {name: model.tensors[name] for name in self._outputs}
        results = Expected(tensors, image=False, most_bytes=most_bytes, kept=frozenset(model.states.values()))
        self._link.listen(True, self._on_outputs, expect=results.check, max_bytes=most_bytes)
        self._link.connect((device, False))
        ModelFollower(self, fleet, model.sha256)
        self.subscribe(FrameFailure, self.topics.frame_failure, self._on_failure, qos.FAILURES)
        self.subscribe(PlanMessage, self.topics.plan, self._on_plan, qos.PLAN)
        self.subscribe(PlanMessage, self.topics.shadow, self._on_shadow_plan, qos.SHADOW)
        self.subscribe(Heartbeat, self.topics.stage_heartbeat, self._on_heartbeat, qos.heartbeat_reader())
        hardware.connect(self, self._link.reshape)
        self._feed = InputFeed(self, fleet, model, self._on_inputs)

        size = sum(model.tensors[name].bytes for name in self._outputs - set(model.states.values()))
        self._results = self.advertise(Result, self.topics.result, qos.result_writer(size), overridable=True)
        self._reports = self.advertise(FrameReport, self.topics.frame_report, qos.RESULT, overridable=True)
        self._hedge_plans = self.advertise(PlanMessage, self.topics.hedge_plan(), qos.PLAN)
        self._meaning = ResultPublisher(self, fleet, model.outputs, preprocessing.first)

        self._given = GivenInputs(model, preprocessing.inputs)
        self._infer = InferService(self, self, self._meaning, self._given)
        self._closing.callback(self._infer.close, 'the frame source was stopped')
        self._closing.callback(self._meaning.stop)

        self._state = StatePublisher(self, self._looking, self._link, self._inputs, model.sha256)
        self._ticking = self.every(_REST_TICK_SECONDS, self._tick)
        self._waiting, self._first = WaitingLog(self.get_logger().info), self.every(_FIRST_SECONDS, self._await_first)
        self.params.on_change(lambda *_: self._publish_hedge_plan(), 'hedge')

    def _states_of(self, fleet: Fleet, model: Model) -> StateTracker | None:
        if not model.states:
            return None
        start_checks.check_stateful(hedge=self.params.flag('hedge'))
        return StateTracker(model, start_checks.initial_states(fleet, model), lambda: self.params.whole('state_interval'))

    def start(self) -> None:
        """Begin to take images, if they do not come over a topic."""
        now = time.monotonic()
        self._memory.begin(self._dispatcher.plans, self._model.sha256, now)
        if self._journal is None:  # not before: while it is inactive, another frame source may write to that file
            self._journal = self._open_journal(now)
            self._closing.callback(self._journal.close)
        with self._lock:
            self._dispatcher.begin(now)
        self._infer.resume()
        self._publish_hedge_plan()
        self._feed.start()

    def begin_drain(self, *, ending: bool) -> float:  # noqa: ARG002
        """Accept nothing more, and wait for the results of what is under way."""
        with self._lock:
            self._dispatcher.accepts = False
        self._infer.pause('the frame source is being stopped; ask again when it is active')
        return self.params.number('drain_seconds')

    def drained(self) -> bool:
        """Return whether every accepted frame has its result."""
        with self._carrying_out, self._lock:
            return self._dispatcher.idle

    def stop(self) -> None:
        """Take no more images; frames under way are kept, and go on when the node is active again."""
        self._feed.stop()
        self._state.publish()

    def give_up(self) -> None:
        """Account for what is under way; nothing is dropped in silence."""
        with self._deciding() as dispatcher:
            dispatcher.give_up(time.monotonic())
            lost = dispatcher.ledger.counts.lost
        if lost:
            self.get_logger().warning(f'{lost} accepted frames have no result')
        self._state.publish()
        self.flush(self._results, self._reports, self._state.statuses)

    def teardown(self) -> None:
        """Let go of threads, the journal and open calls."""
        self._closing.close()

    # Frames of an earlier run ---------------------------------------------------------------------------------

    def _open_journal(self, now: float) -> Journal:
        """Return the journal, after the dispatcher has taken up the frames in it that have no result."""
        journal, kept = open_journal(self, self._given)
        with self._lock:
            self._dispatcher.ledger.number_above(journal.last)
            for frame_number, inputs in kept.items():
                self._dispatcher.restore(frame_number, inputs, journal.runs[frame_number], now)
        return journal

    # Inputs ---------------------------------------------------------------------------------------------------

    def _on_inputs(self, inputs: FrameInputs) -> None:
        self._camera_shows = True
        self._inputs.saw(inputs)
        with self._deciding() as dispatcher:
            dispatcher.offer(inputs, time.monotonic())

    def ask(self, inputs: FrameInputs, call: object) -> bool:
        """Take inputs whose result a call of `infer` waits for; False if the node is being stopped."""
        if not self._camera_shows:  # the status describes the camera's images, if there is a camera
            self._inputs.saw(inputs)
        with self._deciding() as dispatcher:
            return dispatcher.ask(inputs, call, time.monotonic())

    def withdraw(self, call: object) -> bool:
        """Take a call's inputs back; False if they are no longer waiting."""
        with self._lock:
            return self._dispatcher.ledger.withdraw(call)

    def obstacle(self) -> str:
        """Return why inputs wait."""
        with self._lock:
            return self._dispatcher.obstacle()

    # Messages ------------------------------------------------------------------------------------------------

    def _on_plan(self, message: PlanMessage) -> None:
        plan = self._plan_in(message)
        with self._lock:
            in_force = self._dispatcher.on_plan(plan, status_of(message))
        if in_force:
            self._memory.keep(message)
            if self.active:
                self._tick()
                self._state.publish()

    def _plan_in(self, message: PlanMessage) -> Plan:
        """Return a message's plan, to whose devices there are links from now on."""
        plan = plan_for(message, self._fleet, self._model)
        for name in plan.devices:
            self._link.connect((name, False))
        return plan

    def _on_shadow_plan(self, message: PlanMessage) -> None:
        """Take a request for a shadow frame; workers alone prepare plans for it."""
        plan = self._plan_in(message)
        if message.status == PlanMessage.ACTIVE:
            with self._deciding() as dispatcher:
                dispatcher.shadows.ask(plan, time.monotonic())

    def _on_heartbeat(self, message: Heartbeat) -> None:
        if message.node != 'worker' or message.device not in self._fleet:
            return
        if message.device == self.topics.device:
            self._link.on_states(links_in(message))
        with self._deciding() as dispatcher:
            changed = dispatcher.on_heartbeat(message.device, message.incarnation, message.plan_versions, time.monotonic())
        if changed:
            self._tick()

    def _on_failure(self, message: FrameFailure) -> None:
        """A worker cannot process a frame: send it elsewhere, or end it."""
        failure = failure_of(message)
        with self._deciding() as dispatcher:
            dispatcher.on_failure(failure, time.monotonic())
        self._tick()

    def _on_outputs(self, received: Received, hop: HopTime) -> None:
        """Take outputs in, all of a frame's or some; they may be of a shadow frame."""
        address, now = received.address, received.arrived
        arrays = {name: value for name, value in received.views()[0].items() if name in self._outputs}
        try:
            if address.frame_number < FIRST_NUMBER:  # a shadow frame's are thrown away
                arrays = {name: decode(value) if isinstance(value, Coded) else value for name, value in arrays.items()}
        except WireError as error:
            with self._deciding() as dispatcher:
                dispatcher.on_broken(address, str(error), self.incarnation, now)
            raise
        with self._deciding() as dispatcher:
            dispatcher.on_outputs(address, arrays, received.stages, (*received.hops, hop), now)

    # Decisions and actions ------------------------------------------------------------------------------------

    @contextmanager
    def _looking(self) -> Iterator[FrameDispatcher]:
        """Give the dispatcher to somebody who only reads it."""
        with self._lock:
            yield self._dispatcher

    @contextmanager
    def _deciding(self) -> Iterator[FrameDispatcher]:
        """Give the dispatcher an event; its actions are carried out afterwards, in order, whichever thread they come from."""
        with self._lock:
            yield self._dispatcher
        with self._carrying_out:
            with self._lock:
                actions = self._dispatcher.take()
                if not self._dispatcher.at_rest:
                    self._ticking.set_period(_TICK_SECONDS)
                    self._state.stir()
            for action in actions:
                self._carry_out(action)

    def _tick(self) -> None:
        """Repeat what is overdue or was on a device that has died; accept what waits."""
        now = time.monotonic()
        with self._lock:
            kept = self._memory.resume(self._dispatcher.plans, self._model.sha256, now)
        if kept is not None:
            self._on_plan(kept)
        listeners = self._results.get_subscription_count()
        with self._deciding() as dispatcher:
            dispatcher.tick(now, listeners)
        with self._lock:
            if self._dispatcher.at_rest:
                self._ticking.set_period(_REST_TICK_SECONDS)
        self._infer.tick(now)

    def _on_parameter(self, *_: object) -> None:
        self._settings = self._read_settings()

    def _read_settings(self) -> Settings:
        number = self.params.number
        patience = Patience(*map(number, ('repeat_factor', 'repeat_least', 'heartbeat_timeout', 'overtake')))
        return Settings(
            self.params.whole('max_in_flight'), number('max_age'), self.params.flag('hedge'), number('hedge_share'), patience
        )

    def reaches(self, plan: Plan) -> bool:
        """Return whether the devices that get a plan's inputs can be sent to."""
        return all(self._link.connected((device, False)) for device in deliveries(plan))

    def seconds_left(self, frame_number: int) -> float:
        """Return how long what is left here of a frame will be on its way."""
        return self._link.seconds_left(frame_number)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Accepted(frame):
                assert self._journal is not None
                self._journal.accepted(frame.frame_number, lambda: content_of(frame.inputs))
            case Send():
                self._inputs.send(action.inputs, action.plan, action.address)
            case Forget(frame_number, late):
                self._link.forget_frame(frame_number, late=late)
            case ForgetDevice(device):
                self._link.forget_device(device)
            case Ended(frame, in_flight):
                self._publish_result(frame, in_flight)
            case ShadowEnded(shadow):
                self._publish_report(shadow_report(shadow))
            case Refuse(reason):
                self.refuse('frame', reason)

    def _await_first(self) -> None:
        """Say what the first result waits for, until it is there."""
        with self._lock:
            ledger, plan, obstacle = self._dispatcher.ledger, self._dispatcher.plans.active, self._dispatcher.obstacle()
            delivered, has_inputs = ledger.counts.delivered, self._camera_shows or ledger.in_flight > 0
        if delivered:
            self._first.stop()
            self.get_logger().info('results arrive' + (f' under plan {plan.version}: {plan.label()}' if plan is not None else ''))
        elif plan is None or has_inputs:
            self._waiting.waiting(f'no result yet: {obstacle}', time.monotonic())
        elif self._feed.topics:
            self._waiting.waiting(f'no result yet: nothing has come over {", ".join(self._feed.topics)}', time.monotonic())

    # Publishing -----------------------------------------------------------------------------------------------

    def _publish_result(self, frame: Frame, in_flight: int) -> None:
        assert self._journal is not None
        if frame.status == DELIVERED and frame.call is None:
            self._meaning.delivered(frame)
        report = report_of(frame, self._radio, in_flight)
        self._results_published += 1
        # If the process is killed between the journal's two notes, the next one publishes the result again, marked as such.
        redelivered = self._journal.may_be_published(frame.frame_number)
        self._journal.publishing(frame.frame_number)
        if frame.call is not None or self._results.get_subscription_count():
            result = encode_result(
                frame, report, self._model.outputs, incarnation=self.incarnation, sequence=self._results_published,
                redelivered=redelivered,
            )  # fmt: skip
            self._results.publish(result)
        self._journal.finished(frame.frame_number)
        if frame.call is not None:
            self._infer.finished(frame, deserialize_message(result, Result))
        self._publish_report(report)

    def _publish_report(self, report: Report) -> None:
        if (worker := self.inboxes.get(self.topics.frame_report)) is not None:
            worker(report)
        if self._reports.get_subscription_count():
            self._reports.publish(encode_report(report))

    def _publish_hedge_plan(self) -> None:
        """Let the worker of this device prepare the whole model for hedges, or let it go."""
        status = PlanMessage.PROPOSED if self.params.flag('hedge') and not self._model.states else PlanMessage.DROPPED
        self._hedge_plans.publish(plan_message(self._dispatcher.hedge_plan, status))


NODE: Final = FrameSource

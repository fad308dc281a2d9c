# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler: collects what the fleet measures, decides on a plan, and moves the fleet to it without a gap."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge_dnn_partition.control.decision.decide import FIRST_PLAN, feasible
from edge_dnn_partition.control.decision.policy import Choice, Conditions
from edge_dnn_partition.control.scheduling.fleet_estimator import FleetEstimator
from edge_dnn_partition.control.scheduling.switch import Activate, Drop, PlanSwitch
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.node_parameters import SCHEDULER
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.admission import frames_at_a_time
from edge_dnn_partition.execution.frames.plan_registry import PATIENCE_SECONDS
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.monitoring.stream_watch import StreamWatch
from edge_dnn_partition.msg import (
    FleetState,
    FrameFailure,
    FrameReport,
    Heartbeat,
    SourceStatus,
    StageState,
    Telemetry,
)
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.msg import Profile as ProfileMessage
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode, run_node
from edge_dnn_partition.nodes.scheduling.derating_controller import DeratingController
from edge_dnn_partition.nodes.scheduling.diagnostics import DiagnosticsPublisher
from edge_dnn_partition.nodes.scheduling.encoding_controller import EncodingController
from edge_dnn_partition.nodes.scheduling.explanations import ExplanationPublisher
from edge_dnn_partition.nodes.scheduling.exploration_controller import ExplorationController
from edge_dnn_partition.nodes.scheduling.fleet_state import fleet_state
from edge_dnn_partition.nodes.scheduling.plots import PlotPublisher
from edge_dnn_partition.nodes.scheduling.policy_controller import PolicyController
from edge_dnn_partition.nodes.scheduling.services import SchedulerServices
from edge_dnn_partition.nodes.scheduling.shadow_controller import ShadowController
from edge_dnn_partition.nodes.scheduling.share_controller import ShareController
from edge_dnn_partition.nodes.scheduling.switch_controller import SwitchController
from edge_dnn_partition.nodes.scheduling.urgency_monitor import UrgencyMonitor
from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Constraints
from edge_dnn_partition.planning.objectives import Latency
from edge_dnn_partition.planning.plans.compose import Placement, assignment_of, pinned_costs
from edge_dnn_partition.planning.plans.plan import PlacedStage, Plan, placement_of_words


class Scheduler(FleetNode):
    """One for a fleet; its namespace is ``/<fleet>`` (see docs/architecture.md)."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._controller: PolicyController = None  # type: ignore[assignment]  # made by setup, before a callback comes
        self._service_controller: SchedulerServices | None = None
        super().__init__('scheduler', SCHEDULER, check=self._check, per_device=False, one_for='fleet')

    # Life -----------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Read the fleet file, take up the count of versions, connect."""
        self._fleet = self.load_fleet()
        self._model = start_checks.model_of(self._fleet)
        self._check(self.params)
        number = self.params.number
        self._fleet_estimator = FleetEstimator(
            self._model, self._fleet, heartbeat_timeout=number('heartbeat_timeout'), input_bytes=number('input_bytes')
        )
        self._view = self._fleet_estimator.view
        self._exploration = ExplorationController(self, self._view)
        self._urgency = UrgencyMonitor(self._view, lambda: self._switch.active, self._decide, lambda: self._exploration.worth)
        self._watch = StreamWatch()
        self._moves = SwitchController(
            self, self._fleet, self._model, lambda: self._fleet_estimator.pipeline.boundaries, self._in_force, self._move_ended
        )
        self._switch = self._moves.switch
        self._controller = PolicyController(self, self._fleet, self._model.sha256)
        self._derating = DeratingController(self, self._fleet_estimator)
        self._encodings = EncodingController(self, self._fleet_estimator.images)
        self._decision, self._planning_seconds = 'waiting for the workers', 0.0
        shadows = self.advertise(PlanMessage, self.topics.shadow, qos.SHADOW)
        self._shadows = ShadowController(self._controller, shadows.publish, self._shadow_plan, self.incarnation)
        self._explanations = ExplanationPublisher(self)
        self._service_controller = SchedulerServices(self, self._model, self._controller, self._view)
        self.subscribe(SourceStatus, self.topics.source_status, self._books, qos.STATE)
        self._share = ShareController(
            self, self._fleet, self._fleet_estimator, plan=lambda: self._switch.active,
            moving=lambda: self._switch.proposal is not None, fps=lambda now: self._watch.figures(now).fps,
        )  # fmt: skip
        PlotPublisher(self, self._view, self._watch, self._explanations)
        DiagnosticsPublisher(
            self, self._view, self._watch, lambda: (self._switch.active, self._decision), self._derating.reason
        )
        self._states = self.advertise(FleetState, self.topics.state, qos.STATE, overridable=True)
        self.subscribe(Heartbeat, self.topics.heartbeat, self._heartbeat, qos.heartbeat_reader())
        self.subscribe(Telemetry, self.topics.telemetry, self._telemetry, qos.TELEMETRY)
        self.subscribe(ProfileMessage, self.topics.profile, self._profile, qos.PROFILE)
        self.subscribe(StageState, self.topics.plan_state, self._stage_state, qos.PLAN_STATE)
        self.subscribe(FrameReport, self.topics.frame_report, self._report, qos.RESULT)
        self.subscribe(FrameFailure, self.topics.frame_failure, self._failed, qos.FAILURES)
        timer = self.every(self.params.number('decision_period'), self._decide)
        self.params.on_change(lambda _, value: self.set_period(timer, value), 'decision_period')
        self.params.on_change(lambda _, value: setattr(self._view, 'heartbeat_timeout', value), 'heartbeat_timeout')
        self.every(0.5, self._publish_state)

    def start(self) -> None:
        """Give the workers time to be heard of, before anything is decided without them."""
        self._began = time.monotonic()
        self._moves.begin()

    def stop(self) -> None:
        """Leave the fleet to the plan in force."""
        self._moves.give_up('the scheduler was deactivated', time.monotonic())
        self._shadows.close()

    def teardown(self) -> None:
        """Keep what was learned."""
        if self._controller is not None:
            self._controller.renew()
            self._controller = None  # type: ignore[assignment]  # as before setup
        if self._service_controller is not None:
            self._service_controller.close()
            self._service_controller = None

    def _check(self, values: Mapping[str, Any]) -> None:
        """Refuse what the scheduler cannot plan for."""
        if self._model is not None:
            start_checks.check_scheduling(self._fleet, self._model, values)

    def _placement(self, text: str) -> tuple[PlacedStage, ...]:
        assert self._model is not None
        return placement_of_words(text, len(self._model.layers), tuple(self._fleet.devices))

    # What the fleet says --------------------------------------------------------------------------------------

    def _heartbeat(self, message: Heartbeat) -> None:
        now = time.monotonic()
        self._fleet_estimator.links(message, now)
        self._moves.heartbeat(message, now)
        self._watch.heartbeat(message)
        if message.node == 'worker' and self._fleet_estimator.worker(message, now):
            self._started_anew(message.device, now)
        self._urgency.heard(message.device, now)

    def _started_anew(self, device: str, now: float) -> None:
        """A worker that was restarted prepares the plan in force again, from the transient-local topic."""
        self.get_logger().info(f'{device} has started anew')
        self._fleet_estimator.derating.started_anew(device)
        self._moves.lost(device, now)
        self._shadows.lost(device)

    def _telemetry(self, message: Telemetry) -> None:
        self._fleet_estimator.telemetry(message)
        self._watch.telemetry(message, time.monotonic())

    def _books(self, message: SourceStatus) -> None:
        self._fleet_estimator.source(message)
        self._watch.on_status(message)

    def _profile(self, message: ProfileMessage) -> None:
        if self._fleet_estimator.profile(message):
            self._controller.renew()

    def _stage_state(self, message: StageState) -> None:
        now = time.monotonic()
        view = self._view.devices.get(message.device)
        if view is None or view.incarnation not in (0, message.incarnation):
            return
        self._shadows.stage_state(message, now)
        self._moves.stage_state(message, now)

    def _report(self, message: FrameReport) -> None:
        now = time.monotonic()
        if message.shadow:
            self._shadows.report(message, now)
            return
        self._shadows.frame_done()
        self._watch.report(message, now)
        active = self._switch.active
        if active is not None and self._fleet_estimator.report(message, active, now):
            self._controller.learn(message, active, now)
            self._urgency.heard(active.devices[0], now)

    def _failed(self, message: FrameFailure) -> None:
        """A frame failed on a device, and may succeed elsewhere: plan without that device for a while."""
        active = self._switch.active
        current = active is not None and message.plan_version == active.version
        if message.kind == FrameFailure.DEVICE and (current or message.attempt):
            now = time.monotonic()
            if self._fleet_estimator.derating.failed(message.device, message.frame_id, message.reason, now):
                self._decide()

    # Deciding -------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        now = time.monotonic()
        self._urgency.decided(now)
        self._moves.tick(self._view.alive(now), now)
        ready = self._view.ready(now)
        if not ready or self._switch.proposal is not None or self._view.awaits_source(now, self._began):
            return
        settles_until = self._began + self.params.number('settle_seconds')
        if len(ready) < len(self._fleet.devices) and now < settles_until:
            return
        try:
            problem = self._problem(ready, now)
        except PlanError as error:
            self._decision = str(error)
            raise
        if not self._moves.resume(ready, now, settles_until + PATIENCE_SECONDS):
            return
        self._shadows.maintain(ready, now)
        boundaries = self._fleet_estimator.pipeline.boundaries
        self._explanations.look(self._switch.active, problem, boundaries, self._controller.goal,
            self._decision + self._absent(now), now)
        if self.params.text('policy') == 'fixed' and self._keep_to_fixed(problem, ready, now):
            self._controller.forget_question()
            return
        self._exploration.consider(problem, self._under, self._controller.assignment, self._controller.goal, now)
        deviation = self._view.deviation(self._switch.active.devices if self._switch.active else ready, now)
        conditions = Conditions(now, problem, self._fleet_estimator.temperature(ready), deviation, under=self._under)
        choice = self._controller.choose(conditions, boundaries)
        if choice is None:
            return
        self._decision, self._planning_seconds = choice.reason, self._controller.thought_for_seconds
        if choice.assignment is None or choice.costs is None:
            self._encode_anew(problem, now, deviation)
            return
        if self._moves.failed_lately(choice.assignment, now):
            self._decision = 'the better plan could not be prepared lately'
        elif self._controller.goes_on(problem) and (waits_for := self._share.wait(now)):
            self._decision = waits_for
        elif set(choice.assignment) <= set(ready):
            self.move(choice.assignment, choice.costs, self._why(choice), deviation)

    def _encode_anew(self, problem: Problem, now: float, deviation: float) -> None:
        """Propose the plan in force with other encodings, if these have become better."""
        plan, assignment = self._switch.active, self._controller.assignment
        if plan is None or assignment is None or not feasible(problem, assignment):
            return
        best = self._encodings.anew(self._fleet_estimator.pipeline, problem, plan, self._view.factors(now))
        why = self._encodings.needs_others(plan, assignment, self._under(assignment), best, self._controller.goal, now)
        if why and not self._moves.failed_lately(assignment, now):
            self._decision = why
            self.move(assignment, evaluate(best(), assignment), why, deviation)

    def _new_plan(self, assignment: tuple[str, ...]) -> Plan:
        return self._fleet_estimator.pipeline.plan(assignment, self._switch.next_version())

    def _shadow_plan(self, assignment: tuple[str, ...]) -> Plan:
        """Return the plan of an assignment, for shadow frames: its version is never in force."""
        now = time.monotonic()
        plan = self._new_plan(assignment)
        self._problem(self._view.ready(now), now)
        costs = evaluate(self._under(assignment), assignment)
        self._moves.reserve()
        plan = self._encodings.encode(plan)
        return replace(plan, latency_seconds=costs.latency_seconds, objective=Latency.name, reason='for shadow frames')

    def _problem(self, ready: Sequence[str], now: float) -> Problem:
        self._controller.know_watts(self._fleet_estimator.without_watts(ready))
        problem = self._fleet_estimator.problem(ready, now, self._encodings.permitted, self._controller.goal,
            self._derating.settings)
        self._encodings.take(problem, self._fleet_estimator.pipeline.profiles)
        factors, active = self._view.factors(now), self._switch.active
        self._under = self._encodings.under(self._fleet_estimator.pipeline, problem, factors, active, self._controller.assignment)
        return problem

    def _keep_to_fixed(self, problem: Problem, ready: Sequence[str], now: float) -> bool:
        """Propose the fixed plan if it is not the one in force.

        :return: False if a device of it (or of the plan in force, where none is named) is gone or not ready: then
            the planner stands in, so that the stream goes on.
        """
        text = self.params.text('fixed_plan')
        active = self._switch.active
        placement = self._placement(text) if text else active.placement if active else ()
        if not placement or not {device for device, _, _ in placement} <= set(ready):
            return False
        if active is not None and active.placement == placement:
            self._decision = 'the policy is fixed'
            self._encode_anew(problem, now, 0.1)
            return True
        assignment = assignment_of(placement, self._fleet_estimator.pipeline.boundaries)
        if self._moves.failed_lately(assignment or placement, now):
            self._decision = 'the policy is fixed, and its plan could not be prepared lately'
            return True
        try:
            costs = self.costs_of(placement, problem)
        except PlanError as error:
            self.refuse('fixed_plan', f'fixed_plan cannot be followed, the planner stands in: {error}')
            return False
        plan = self._fleet_estimator.pipeline.composed(placement, self._switch.next_version())
        self._propose(plan, assignment, costs, 'asked for by fixed_plan', now, 0.1)
        return True

    # What its services ask ------------------------------------------------------------------------------------

    @property
    def switch(self) -> PlanSwitch:
        """The plan in force, and the one that is proposed."""
        return self._switch

    def problem_now(self) -> Problem:
        """Return the planning problem under the present estimates.

        :raises PlanError: if there is none, since no device is ready, or the source is not yet.
        """
        now = time.monotonic()
        ready = self._view.ready(now)
        if not ready or self._view.awaits_source(now, self._began):
            who = f'the source {self._fleet.source} is not' if ready else 'no device is'
            raise PlanError(f'{who} ready: its worker is gone, or not profiled yet')
        return self._problem(ready, now)

    def costs_of(self, placement: Placement, problem: Problem) -> Costs | None:
        """Return what a plan that people ask for is predicted to cost; see `pinned_costs`.

        :raises PlanError: if it cannot be followed now.
        """
        constrained = self._fleet.constraints != Constraints()
        boundaries = self._fleet_estimator.pipeline.boundaries
        assignment = assignment_of(placement, boundaries)
        if assignment is not None and set(assignment) <= set(problem.names):
            problem = self._under(assignment)
        return pinned_costs(placement, problem, boundaries, constrained=constrained)

    def forget_failures(self) -> None:
        """Let plans be proposed that could not be prepared lately."""
        self._moves.forget_failures()

    def move(self, assignment: tuple[str, ...], costs: Costs, reason: str, deviation: float = 0.0) -> None:
        """Propose a plan, given as the device of each of the problem's nodes."""
        self._propose(self._new_plan(assignment), assignment, costs, reason, time.monotonic(), deviation)

    # ----------------------------------------------------------------------------------------------------------

    def _why(self, choice: Choice) -> str:
        """Say in words why a plan was chosen."""
        assignment = self._controller.assignment
        text = choice.reason
        if text == FIRST_PLAN and self._switch.active is not None:
            text = "the policy's first choice"
        if assignment is not None:
            text += self._controller.gain_in_words(choice)
        return text + self._controller.words + self._derating.words + self._share.words + self._absent(time.monotonic())

    def _absent(self, now: float) -> str:
        """Say in words whose workers are gone; nothing if none is."""
        alive, source = self._view.alive(now), self._fleet.source
        gone = [f'{name} (the source: it only sends its images)' if name == source else name for name in self._fleet.devices
                if name not in alive]  # fmt: skip
        return f'; without {", ".join(gone)}, whose worker{"s are" if len(gone) > 1 else " is"} gone' if gone else ''

    # Moving ---------------------------------------------------------------------------------------------------

    def _propose(
        self, plan: Plan, assignment: tuple[str, ...] | None, costs: Costs | None, reason: str, now: float, deviation: float
    ) -> None:  # fmt: skip
        if costs is not None:
            room = frames_at_a_time(len(plan.stages), costs, pipelined=self._controller.goal.pipelined)
            plan = replace(
                plan, max_in_flight=room, latency_seconds=costs.latency_seconds,
                latency_deviation=deviation * costs.latency_seconds, energy_joules=costs.energy_joules,
                bottleneck_seconds=costs.bottleneck_seconds,
            )  # fmt: skip
        plan = replace(self._encodings.encode(plan), objective=self._controller.objective, reason=reason)
        self._moves.propose(plan, assignment, now)
        self._share.moved(now)

    def _in_force(self, plan: Plan | None, assignment: tuple[str, ...] | None, now: float, *, taken_up: bool = False) -> None:
        self._controller.in_force(assignment, now)
        if plan is not None and taken_up:
            self._explanations.taken_up(plan.version)
        elif plan is not None:
            self._share.moved(now)

    def _move_ended(self, outcome: Activate | Drop) -> None:
        if self._service_controller is not None:
            self._service_controller.plan_outcome(outcome)

    def _publish_state(self) -> None:
        message = fleet_state(self._view, self._derating, time.monotonic())
        message.decision, message.planning_seconds = self._decision + self._absent(time.monotonic()), self._planning_seconds
        message.stamp = self.get_clock().now().to_msg()
        message.plan_version = self._switch.active.version if self._switch.active else 0
        self._states.publish(message)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return run_node(Scheduler, args)

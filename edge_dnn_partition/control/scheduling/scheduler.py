# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Decides on plans and moves the fleet to them: `event -> estimators -> state`, `decide`, `propose -> active`.

The scheduler node feeds it messages and publishes what it decides; simulations do so without ROS.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from edge_dnn_partition.control.decision.policy import FIRST_PLAN, Assignment, Choice, Conditions, Policy, feasible
from edge_dnn_partition.control.decision.steps import Urgency
from edge_dnn_partition.control.state.fleet_estimator import FleetEstimator
from edge_dnn_partition.control.state.membership import Membership
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.admission import frames_at_a_time
from edge_dnn_partition.execution.frames.plan_registry import PATIENCE_SECONDS
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Constraints, Fleet
from edge_dnn_partition.planning.objectives import Latency
from edge_dnn_partition.planning.plans.compose import Placement, assignment_of, pinned_costs
from edge_dnn_partition.planning.plans.plan import Plan, placement_of_words
from edge_dnn_partition.units import format_bytes

from .background import Background
from .encoding_choice import EncodingChoice
from .exploration import Explorer, Hope, Pair
from .policy_runner import PolicyRunner
from .settings import SchedulerSettings
from .shadow_frames import ShadowFrames
from .switch import Mover, PlanSwitch
from .switch import Outlet as MoveOutlet

_REST_SECONDS: Final = 2.0
"""Where no frame has ended for so long, nothing waits for a better plan ..."""
_REST_PERIOD_SECONDS: Final = 1.0
"""... and decisions in turn are so far apart, unless other devices are ready than at the last one."""
_FIXED_DEVIATION: Final = 0.1
"""Relative standard deviation that the prediction of a pinned plan is given."""


class Outlet(MoveOutlet, Protocol):
    """Where what a scheduler decides goes."""

    def publish_exploration(self, shares: Mapping[Pair, float], hopes: Mapping[Pair, Hope]) -> None:
        """Tell the workers what to probe.

        :param shares: of the probing budget, by link (or device, named twice).
        """

    def on_problem(self, problem: Problem, now: float) -> None:
        """Learn the problem that is about to be decided on."""


@dataclass(frozen=True)
class Move:
    """A plan to move to.

    :param assignment: the device of each of the problem's nodes; None if the problem cannot cut there.
    :param costs: its predictions; None: unknown.
    :param deviation: relative standard deviation of the predictions.
    """

    plan: Plan
    assignment: Assignment | None
    costs: Costs | None
    reason: str
    deviation: float


class FleetScheduler:
    """Knows no ROS; time is passed in. Not thread safe.

    :param incarnation: random, which its plans carry.
    :param files: see `PolicyRunner`.
    :param policy: used instead of one that the settings name, without shadow frames: for simulations.
    """

    def __init__(
        self, model: Model, fleet: Fleet, settings: SchedulerSettings, outlet: Outlet, *, incarnation: int,
        files: Path | None = None, background: Background | None = None, policy: Policy | None = None,
    ) -> None:  # fmt: skip
        self.model, self.settings, self._outlet = model, settings, outlet
        self.members = Membership(fleet)
        self._background = background or Background()
        self.estimator = FleetEstimator(
            model, fleet, heartbeat_timeout=settings.heartbeat_timeout, input_bytes=settings.input_bytes
        )
        self.view = self.estimator.view
        self.encodings = EncodingChoice(self.estimator.images, settings)
        self.runner = PolicyRunner(
            fleet, model.sha256, settings, files=files, warn=outlet.warn, refuse=outlet.refuse, background=self._background,
            policy=policy,
        )  # fmt: skip
        self.mover = Mover(outlet, incarnation, settings.prepare_timeout, self.runner.on_plan)
        self.explorer = Explorer(self.view, outlet.publish_exploration, self._background)
        self.shadows: ShadowFrames | None = None
        if policy is None and not model.states:
            self.shadows = ShadowFrames(self.runner, outlet, self._shadow_plan, incarnation)
        self._urgency = Urgency()
        self._began = self._frame_at = self._decided_at = -math.inf
        self._ready: tuple[str, ...] = ()
        """At the last decision."""
        self.decision = 'waiting for the workers'
        """The last decision in words."""
        self.planning_seconds = 0.0
        """What it took."""

    @property
    def fleet(self) -> Fleet:
        """With the devices that have joined."""
        return self.members.fleet

    @property
    def switch(self) -> PlanSwitch:
        """The plan in force, and the one that is proposed."""
        return self.mover.switch

    def start(self, now: float, *, last_version: int = 0, earlier: Plan | None = None) -> None:
        """Begin to wait for the fleet, and go on from an earlier scheduler's last version and plan."""
        self._began = now
        for device in earlier.devices if earlier is not None else ():  # it may have joined an earlier scheduler's fleet
            self._on_sign(device, now)
        self.mover.start(last_version, earlier)

    def stop(self, now: float) -> None:
        """Leave the fleet to the plan in force."""
        self.mover.give_up('the scheduler was deactivated', now)
        if self.shadows is not None:
            self.shadows.close()

    def configure(self, settings: SchedulerSettings) -> None:
        """Follow other settings from now on."""
        self.settings = self.encodings.settings = settings
        self._decided_at = -math.inf
        self.view.heartbeat_timeout = settings.heartbeat_timeout
        self.runner.configure(settings)

    # Events -> state ------------------------------------------------------------------------------------------

    def on_description(self, message: Any, now: float) -> None:
        """Record what a device's monitor says of it (DeviceDescription), or that it leaves.

        :raises PlanError: if the fleet does not welcome it, or it describes itself by what is no entry of a fleet file.
        """
        device, present = message.device, self.fleet
        if not self.members.on_description(device, message.incarnation, message.entry, leaving=message.leaving, now=now):
            return
        if message.leaving:
            self._outlet.info(f'{device} leaves')
            self.view.on_leave(device)
            self.mover.on_loss(device, now)
            self.decide(now)
        else:
            what = f'{message.machine}, {message.cores} cores, {format_bytes(message.memory_bytes)}'
            self._follow(f'{device} has joined: {what}' if device not in present.devices else '')

    def _on_sign(self, device: str, now: float, *, late: bool = False) -> None:
        if self.members.joins(device, now, late=late):
            self._follow(f'{device} has joined')

    def _follow(self, words: str = '') -> None:
        """Plan with the devices that the fleet has now."""
        self.estimator.follow(self.fleet)
        self._decided_at = -math.inf
        if words:
            self._outlet.info(words)

    def on_heartbeat(self, message: Any, now: float) -> bool:
        """Record a node's heartbeat (Heartbeat); return whether a worker has restarted.

        :raises PlanError: if it is not of this fleet, or its worker has another model.
        """
        self._on_sign(message.device, now, late=True)
        if message.device in self.fleet and message.device not in self.fleet.devices:
            return False  # it has left
        self.estimator.on_links(message, now)
        self.mover.on_heartbeat(message, now)
        restarted = message.node == 'worker' and self.estimator.on_worker(message, now)
        if restarted:
            self.estimator.derating.on_restart(message.device)
            self.mover.on_loss(message.device, now)
            if self.shadows is not None:
                self.shadows.on_loss(message.device)
        self._decide_if_urgent(message.device, now)
        return restarted

    def on_profile(self, message: Any, now: float) -> None:
        """Record how fast a device runs the model (Profile); a new policy is made.

        :raises PlanError: if the profile does not fit the model or the other devices'.
        """
        self._on_sign(message.device, now)
        if self.estimator.on_profile(message):
            self.runner.renew()
            self._decided_at = -math.inf

    def on_stage(self, message: Any, now: float) -> None:
        """Record what a worker says of its stages of a plan (StageState)."""
        view = self.view.devices.get(message.device)
        if view is None or view.incarnation not in (0, message.incarnation):
            return
        if self.shadows is not None:
            self.shadows.on_stage(message, now)
        self.mover.on_stage(message, now)

    def on_report(self, message: Any, now: float) -> None:
        """Record how a frame went (FrameReport)."""
        self._frame_at = now
        if self.shadows is not None:
            if message.shadow:
                self.shadows.on_report(message, now)
                return
            self.shadows.on_frame()
        active = self.switch.active
        if active is not None and self.estimator.on_report(message, active, now):
            self.runner.on_frame(message, active, now)
            self._decide_if_urgent(active.devices[0], now)

    def on_frame_failure(self, message: Any, now: float) -> None:
        """Plan without a device for a while where a frame failed that may succeed elsewhere (FrameFailure of kind DEVICE)."""
        active, derating = self.switch.active, self.estimator.derating
        current = active is not None and message.plan_version == active.version
        if (current or message.attempt) and derating.on_failure(message.device, message.frame_number, message.reason, now):
            self.decide(now)

    def _decide_if_urgent(self, device: str, now: float) -> None:
        """Decide out of turn if what the plan in force uses, or what is probed, has changed by much."""
        plan, probed = self.switch.active, self.explorer.worth
        if plan is None or not (device in self.view.used_by(plan.devices) or any(device == sender for sender, _ in probed)):
            return
        if self._urgency.is_due(now, lambda: self._estimates(now)):
            self.decide(now)
            done = self._background.now()
            self._urgency.on_duration(done, done - now)

    def _estimates(self, now: float) -> Mapping[Hashable, float]:
        plan = self.switch.active
        return {} if plan is None else self.view.estimates_of(now, plan.devices, self.explorer.worth)

    # Deciding: keep, move or probe ------------------------------------------------------------------------------

    def decide_in_turn(self, now: float) -> None:
        """Decide, unless the fleet is at rest and has been decided on lately; called every ``decision_period``."""
        rests = self.switch.active is not None and self.switch.proposal is None and now - self._frame_at > _REST_SECONDS
        if not rests or now - self._decided_at > _REST_PERIOD_SECONDS or self.view.ready(now) != self._ready:
            self.decide(now)

    def decide(self, now: float) -> None:
        """Keep the plan in force or move to another; have links probed that a better plan would need.

        What comes first: a proposal under way; the plan of an earlier scheduler; a pinned plan; the policy's choice, unless it
        failed lately or another fleet is moving; the plan in force with other encodings.
        """
        self._urgency.on_decision(now, self._estimates(now))
        self.mover.tick(self.view.alive(now), now)
        if self.members.tidy(self._needed, now):
            self._follow()
        ready = self._ready = self.view.ready(now)
        self._decided_at = now
        if self.switch.proposal is not None or self._waits_for_fleet(ready, now):
            return
        try:
            problem = self._new_problem(ready, now)
        except PlanError as error:
            self.decision = str(error)
            raise
        settled = self._began + self.settings.settle_seconds
        if not self.mover.resume(ready, self.estimator.pipeline.boundaries, now, settled + PATIENCE_SECONDS):
            return
        if self.shadows is not None:
            self.shadows.maintain(ready, now)
        self._outlet.on_problem(problem, now)
        pinned = self._pinned_placement(ready)
        move = self._pinned_move(pinned, problem, now) if pinned else self._policy_move(problem, ready, now)
        if move is not None:
            self.propose(move, now)

    @property
    def _needed(self) -> set[str]:
        """The devices of the plan in force, and of the one that is proposed."""
        return {device for plan in (self.switch.active, self.switch.proposal) if plan is not None for device in plan.devices}

    def _waits_for_fleet(self, ready: Sequence[str], now: float) -> bool:
        """Return whether it is too early to decide: nobody, or not the source, or at the start not everybody is ready."""
        settles = len(ready) < len(self.fleet.devices) and now < self._began + self.settings.settle_seconds
        waits = not ready or self.view.awaits_source(now, self._began) or settles
        if waits and self.switch.active is None:
            self.decision = self.waits_for(now)
        return waits

    def _new_problem(self, ready: Sequence[str], now: float) -> Problem:
        """Return the planning problem under the present estimates, and let what follows use it."""
        self.runner.on_watts(self.estimator.without_watts(ready))
        settings, goal = self.settings, self.runner.goal
        problem = self.estimator.problem(ready, now, settings.permitted, goal, settings.derating_now)
        pipeline = self.estimator.pipeline
        self.encodings.on_problem(problem, pipeline)
        self._problem_for = self.encodings.problem_for(
            pipeline, problem, self.view.factors(now), self.switch.active, self.runner.assignment
        )
        return problem

    def _policy_move(self, problem: Problem, ready: Sequence[str], now: float) -> Move | None:
        """Return the move that the policy chooses and nothing speaks against; else one to other encodings, if they pay."""
        self._explore(problem, now)
        active = self.switch.active
        deviation = self.view.deviation(active.devices if active else ready, now)
        conditions = Conditions(now, problem, self.estimator.temperature(ready), deviation, encoded=self._problem_for)
        choice = self.runner.choose(conditions, self.estimator.pipeline.boundaries)
        if choice is None:
            return None
        self.decision, self.planning_seconds = choice.reason, self.runner.thought_for_seconds
        if choice.assignment is None or choice.costs is None:
            return self._encoding_move(problem, now, deviation)
        if self.mover.failed_lately(choice.assignment, now):
            self.decision = 'the better plan could not be prepared lately'
            return None
        sharing = self.estimator.sharing
        if sharing is not None and self.runner.can_go_on(problem) and (waits_for := sharing.wait(now)):
            self.decision = waits_for
            return None
        if not set(choice.assignment) <= set(ready):
            return None
        return Move(self._new_plan(choice.assignment), choice.assignment, choice.costs, self._why(choice, now), deviation)

    def _explore(self, problem: Problem, now: float) -> None:
        self.explorer.consider(
            problem, self._problem_for, self.runner.assignment, self.runner.goal, self.settings.decide.least_gain, now
        )

    def _encoding_move(self, problem: Problem, now: float, deviation: float) -> Move | None:
        """Return a move to the plan in force with other encodings, if these have become better."""
        plan, assignment = self.switch.active, self.runner.assignment
        if plan is None or assignment is None or not feasible(problem, assignment):
            return None
        pipeline, factors = self.estimator.pipeline, self.view.factors(now)

        def candidate() -> Problem:
            return self.encodings.problem_if_made_now(pipeline, problem, plan, factors)

        why = self.encodings.why_others(plan, assignment, self._problem_for(assignment), candidate, self.runner.goal, now)
        if not why or self.mover.failed_lately(assignment, now):
            return None
        self.decision = why
        return Move(self._new_plan(assignment), assignment, evaluate(candidate(), assignment), why, deviation)

    # A pinned plan ----------------------------------------------------------------------------------------------

    def _pinned_placement(self, ready: Sequence[str]) -> Placement:
        """Return the plan to keep to; empty if none is pinned, or a device of it is not ready: then the planner stands in."""
        if not self.settings.is_fixed:
            return ()
        text, active = self.settings.fixed_plan, self.switch.active
        placement = self.placement_of(text) if text else active.placement if active else ()
        return placement if {device for device, _, _ in placement} <= set(ready) else ()

    def placement_of(self, text: str) -> Placement:
        """Return a plan from its label.

        :raises PlanError: if it is none of this model and fleet.
        """
        return placement_of_words(text, len(self.model.layers), tuple(self.fleet.devices) if self.fleet.anybody is None else None)

    def _pinned_move(self, placement: Placement, problem: Problem, now: float) -> Move | None:
        active = self.switch.active
        if active is not None and active.placement == placement:
            self.runner.forget_question()
            self.decision = 'the policy is fixed'
            return self._encoding_move(problem, now, _FIXED_DEVIATION)
        assignment = assignment_of(placement, self.estimator.pipeline.boundaries)
        if self.mover.failed_lately(assignment or placement, now):
            self.runner.forget_question()
            self.decision = 'the policy is fixed, and its plan could not be prepared lately'
            return None
        try:
            costs = self.costs_of(placement, problem)
        except PlanError as error:
            self._outlet.refuse('fixed_plan', f'fixed_plan cannot run, the planner stands in: {error}')
            return self._policy_move(problem, self.view.ready(now), now)
        self.runner.forget_question()
        plan = self.estimator.pipeline.composed(placement, self.switch.next_version())
        return Move(plan, assignment, costs, 'asked for by fixed_plan', _FIXED_DEVIATION)

    # Proposing --------------------------------------------------------------------------------------------------

    def propose(self, move: Move, now: float) -> None:
        """Ask the workers to prepare a plan, with its predictions."""
        plan, costs, goal = move.plan, move.costs, self.runner.goal
        if costs is not None:
            plan = replace(
                plan, max_in_flight=1 if self.model.states else frames_at_a_time(len(plan.stages), costs, pipelined=goal.pipelined),
                latency_seconds=costs.latency_seconds, latency_deviation=move.deviation * costs.latency_seconds,
                energy_joules=costs.energy_joules, bottleneck_seconds=costs.bottleneck_seconds,
            )  # fmt: skip
        plan = replace(self.encodings.encode(plan), objective=goal.name, reason=move.reason)
        self.mover.propose(plan, move.assignment, now)

    def _new_plan(self, assignment: Assignment) -> Plan:
        return self.estimator.pipeline.plan(assignment, self.switch.next_version())

    def _shadow_plan(self, assignment: Assignment, now: float) -> Plan:
        """Return the plan of an assignment, for shadow frames: its version is never in force."""
        plan = self._new_plan(assignment)
        self._new_problem(self.view.ready(now), now)
        costs = evaluate(self._problem_for(assignment), assignment)
        self.switch.reserve()
        plan = self.encodings.encode(plan)
        return replace(plan, latency_seconds=costs.latency_seconds, objective=Latency.name, reason='for shadow frames')

    # What people ask --------------------------------------------------------------------------------------------

    def problem_now(self, now: float) -> Problem:
        """Return the planning problem under the present estimates.

        :raises PlanError: if no device is ready, or the source is not yet.
        """
        ready = self.view.ready(now)
        if not ready or self.view.awaits_source(now, self._began):
            who = f'the source {self.fleet.source} is not' if ready else 'no device is'
            raise PlanError(f'{who} ready: its worker is gone, or not profiled yet')
        return self._new_problem(ready, now)

    def costs_of(self, placement: Placement, problem: Problem) -> Costs | None:
        """Return what a plan that people ask for is predicted to cost; see `pinned_costs`.

        :raises PlanError: if it cannot run now.
        """
        boundaries = self.estimator.pipeline.boundaries
        assignment = assignment_of(placement, boundaries)
        if assignment is not None and set(assignment) <= set(problem.names):
            problem = self._problem_for(assignment)
        return pinned_costs(placement, problem, boundaries, constrained=self.fleet.constraints != Constraints())

    def move_to(self, assignment: Assignment, costs: Costs, reason: str, now: float) -> None:
        """Propose a plan that people ask for."""
        self.propose(Move(self._new_plan(assignment), assignment, costs, reason, 0.0), now)

    # In words ---------------------------------------------------------------------------------------------------

    def _why(self, choice: Choice, now: float) -> str:
        """Say why a plan was chosen, and what it had to do without."""
        first = choice.reason == FIRST_PLAN and self.switch.active is not None
        gain = '' if self.runner.assignment is None else self.runner.gain_in_words(choice)
        spared = ''.join(f'; {reason}' for reason in self.estimator.derating.reasons.values())
        sharing = '' if self.estimator.sharing is None else self.estimator.sharing.words(now)
        shared = f'; the hosts are shared with {sharing}' if sharing else ''
        text = "the policy's first choice" if first else choice.reason
        return text + gain + self.runner.words + spared + shared + self._gone_words(now)

    def decision_words(self, now: float) -> str:
        """Say what was decided last, and whose workers are gone."""
        return self.decision + self._gone_words(now)

    def waits_for(self, now: float) -> str:
        """Say what the first plan waits for."""
        proposal = self.switch.proposal
        if proposal is not None:
            return f'plan {proposal.version} is being prepared by {", ".join(self.switch.unprepared)}'
        silent, unprofiled = self.view.missing(now)
        missing = [f'{what} of {", ".join(names)}' for what, names in (('worker', silent), ('profile', unprofiled)) if names]
        return f'waiting for the {" and the ".join(missing)}' if missing else self.decision

    def _gone_words(self, now: float) -> str:
        silent, _ = self.view.missing(now)
        gone = [f'{name} (the source: it only sends its images)' if name == self.fleet.source else name for name in silent]
        return f'; without {", ".join(gone)}, whose worker{"s are" if len(gone) > 1 else " is"} gone' if gone else ''

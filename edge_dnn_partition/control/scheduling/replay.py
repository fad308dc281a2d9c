# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a scheduler would decide now on what was recorded of a fleet: the same image and policy, with the record's times.

Its plans are its own: it goes on from what it would have moved to, while the frames that it learns from ran under the plans
that were in force then. A move takes no time here, and a change of encodings alone is not looked for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge_dnn_partition.control.decision.calibration import Calibration, CalibrationSettings
from edge_dnn_partition.control.decision.decide import Settings, feasible
from edge_dnn_partition.control.decision.explain import explain
from edge_dnn_partition.control.decision.policies import LEARNING, policy_of
from edge_dnn_partition.control.decision.policy import Assignment, Conditions, Frame
from edge_dnn_partition.control.decision.recorded import RecordedPolicy
from edge_dnn_partition.control.state.derating import DeratingSettings
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.frame_parts import device_seconds
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.compose import assignment_of, placement_of
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.planning.plans.plan import Plan, label_of

from .fleet_estimator import FleetEstimator
from .readings import plan_of
from .urgency import Urgency

_OK: Final = 0
"""The status of a frame that has its result, as in FrameReport."""


@dataclass(frozen=True)
class ReplaySettings:
    """As the scheduler's parameters of the same names."""

    policy: str = 'auto'
    decide: Settings = field(default_factory=Settings)
    decision_period: float = 0.25
    heartbeat_timeout: float = 1.0
    settle_seconds: float = 1.5
    input_bytes: float = 150_000.0
    permitted: Permitted = field(default_factory=Permitted)
    derating: DeratingSettings = field(default_factory=DeratingSettings)


@dataclass(frozen=True)
class Step:
    """A plan that came into force, then or now.

    :param seconds: since the record's beginning.
    :param plan: as plans are shown.
    :param value: predicted at that time with today's estimates, by the objective; NaN: it could not run.
    :param text: the plan explained; now only.
    :param version: then only.
    """

    seconds: float
    plan: str
    reason: str
    value: float
    text: str = ''
    version: int = 0


@dataclass
class Outcome:
    """What was decided then, and what would be now.

    :param unit: of the values.
    :param decisions: how often was decided.
    :param same: how often the plan was the same as then.
    :param losses: by how much the plan then was worse than the one now, each time both could run, as a share.
    :param refused: why records were not taken in, each reason once.
    """

    unit: str
    seconds: float = 0.0
    then: list[Step] = field(default_factory=list)
    now: list[Step] = field(default_factory=list)
    decisions: int = 0
    same: int = 0
    losses: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def mean_loss(self) -> float:
        """The mean of the losses; NaN if there is none."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return it as ``replay --json`` prints it."""

        def plain(step: Step) -> dict[str, Any]:
            found = dataclasses.asdict(step)
            return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in found.items()}

        return {
            'seconds': self.seconds, 'unit': self.unit, 'decisions': self.decisions, 'same_plan': self.same,
            'mean_loss_of_then': None if math.isnan(self.mean_loss) else self.mean_loss,
            'then': [plain(step) for step in self.then], 'now': [plain(step) for step in self.now], 'refused': self.refused,
        }  # fmt: skip


class Replay:
    """Takes records in the order of their times; `outcome` is what came of them."""

    def __init__(self, model: Model, fleet: Fleet, settings: ReplaySettings) -> None:
        self._settings, self._goal, self._fleet = settings, settings.decide.goal, fleet
        self._fleet_estimator = FleetEstimator(
            model, fleet, heartbeat_timeout=settings.heartbeat_timeout, input_bytes=settings.input_bytes
        )
        self._policy: RecordedPolicy | None = None
        self._urgency = Urgency()
        self._record = Calibration(CalibrationSettings(prior=settings.decide.least_gain))
        self._began = math.nan
        self._due = math.nan
        self._then: Plan | None = None
        self._untold: Plan | None = None
        self._own: Assignment | None = None
        self.outcome = Outcome(self._goal.objective.unit)

    def take(self, kind: str, message: Any, now: float) -> None:
        """Take a record in.

        :param kind: ``heartbeat``, ``telemetry``, ``profile``, ``energy``, ``source_status``, ``frame_report`` or ``plan``: the
            topic's last part.
        :param now: seconds, when it was recorded.
        """
        if math.isnan(self._began):
            self._began, self._due = now, now + self._settings.decision_period
        while self._due <= now:
            self._decide(self._due)
            self._due += self._settings.decision_period
        self.outcome.seconds = now - self._began
        try:
            getattr(self, f'_{kind}')(message, now)
        except PlanError as error:
            self._refuse(str(error))
        if kind in ('heartbeat', 'frame_report') and self._urgency.is_due(now, lambda: self._signs(now)):
            self._decide(now)

    def _refuse(self, reason: str) -> None:
        if reason not in self.outcome.refused:
            self.outcome.refused.append(reason)

    def _heartbeat(self, message: Any, now: float) -> None:
        self._fleet_estimator.links(message, now)
        if message.node == 'worker':
            self._fleet_estimator.worker(message, now)

    def _telemetry(self, message: Any, now: float) -> None:  # noqa: ARG002
        self._fleet_estimator.telemetry(message)

    def _energy(self, message: Any, now: float) -> None:  # noqa: ARG002
        self._fleet_estimator.energy(message)

    def _source_status(self, message: Any, now: float) -> None:  # noqa: ARG002
        self._fleet_estimator.source(message)

    def _profile(self, message: Any, now: float) -> None:  # noqa: ARG002
        if self._fleet_estimator.profile(message):
            self._policy = None

    def _plan(self, message: Any, now: float) -> None:  # noqa: ARG002
        if message.status == PlanStatus.ACTIVE and message.model_sha256 == self._fleet_estimator.model.sha256:
            self._then = self._untold = plan_of(message)

    def _frame_report(self, message: Any, now: float) -> None:
        if message.shadow or not self._fleet_estimator.report(message, self._then, now):
            return
        alone = message.attempt == 0 and message.in_flight == 1 and message.status == _OK
        assignment = self._assignment_then()
        if alone and assignment is not None and self._policy is not None:
            assert self._then is not None
            parts = device_seconds(message, self._then)
            self._policy.learn(Frame(now, assignment, message.latency_seconds, device_seconds=parts))

    def _assignment_then(self) -> Assignment | None:
        return None if self._then is None else assignment_of(self._then.placement, self._fleet_estimator.pipeline.boundaries)

    def _signs(self, now: float) -> Mapping[Hashable, float]:
        return self._fleet_estimator.view.signs(now, set(self._own or ()))

    def _decide(self, now: float) -> None:
        self._urgency.decided(now, self._signs(now))
        view, settings = self._fleet_estimator.view, self._settings
        ready = view.ready(now)
        waits = len(ready) < len(self._fleet.devices) and now - self._began < settings.settle_seconds
        if not ready or waits or view.awaits_source(now, self._began):
            return
        try:
            problem = self._fleet_estimator.problem(ready, now, settings.permitted, self._goal, settings.derating)
            self._choose(problem, ready, now)
        except PlanError as error:
            self._refuse(str(error))

    def _choose(self, problem: Problem, ready: tuple[str, ...], now: float) -> None:
        boundaries = self._fleet_estimator.pipeline.boundaries
        policy = self._policy or self._new_policy(now)
        then = self._assignment_then()
        if self._own is None and then is not None and feasible(problem, then):
            self._own = then
            policy.moved(now, then)
        deviation = self._fleet_estimator.view.deviation(tuple(dict.fromkeys(self._own)) if self._own else ready, now)
        choice = policy.choose(Conditions(now, problem, self._fleet_estimator.temperature(ready), deviation))
        moves = choice.assignment is not None and set(choice.assignment) <= set(ready)
        if moves and choice.assignment is not None:
            self._own = choice.assignment
            policy.moved(now, self._own)
            found = explain(problem, self._own, boundaries, self._goal, reason=choice.reason, moved=True)
            label = label_of(placement_of(self._own, boundaries))
            self.outcome.now.append(Step(now - self._began, label, choice.reason, found.value, found.text))
        policy.maintain(Conditions(now, problem, self._fleet_estimator.temperature(ready), deviation))
        mine, his = self._value(problem, self._own), self._value(problem, then)
        if (plan := self._untold) is not None:
            self._untold = None
            self.outcome.then.append(
                Step(now - self._began, plan.label(), plan.reason, his, version=plan.version)
            )
        self.outcome.decisions += 1
        self.outcome.same += then is not None and then == self._own
        if math.isfinite(mine) and math.isfinite(his) and mine > 0:
            self.outcome.losses.append(his / mine - 1)

    def _value(self, problem: Problem, assignment: Assignment | None) -> float:
        """Return what a plan is predicted to cost by the objective; NaN if it cannot run."""
        if assignment is None or not feasible(problem, assignment):
            return math.nan
        reference = evaluate(problem, [problem.source] * problem.nodes)
        costs = evaluate(problem, assignment)
        return self._goal.value(costs, reference if reference.feasible else costs)

    def _new_policy(self, now: float) -> RecordedPolicy:
        name = self._settings.policy
        if name in LEARNING and not self._goal.objective.is_latency:
            name = 'exact'  # as the scheduler does: what frames tell is their latency
        policy = policy_of(name, self._settings.decide, exploration=0.0)
        self._policy = RecordedPolicy(policy, self._record, self._goal.objective)
        if self._own is not None:
            self._policy.moved(now, self._own)
        return self._policy

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a scheduler would decide now on the recorded messages of a fleet: the same estimators and policy, at the recorded times.

It goes on from the plans that it would have moved to, while the frames that it learns from ran under the plans in force then.
A move takes no time here, and encodings are not changed on their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge_dnn_partition.control.decision.calibration import Calibration, CalibrationSettings
from edge_dnn_partition.control.decision.explain import explain
from edge_dnn_partition.control.decision.policies import LEARNING, policy_of
from edge_dnn_partition.control.decision.policy import Assignment, Conditions, Frame, feasible
from edge_dnn_partition.control.decision.recorded import RecordedPolicy
from edge_dnn_partition.control.decision.steps import Urgency
from edge_dnn_partition.control.state.fleet_estimator import FleetEstimator, plan_of
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.admission import device_seconds
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.compose import assignment_of, placement_of
from edge_dnn_partition.planning.plans.plan import Plan, label_of

from .settings import SchedulerSettings

_OK: Final = 0
"""The status of a frame that has its result, as in FrameReport."""


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
class ReplayResult:
    """What was decided then, and what would be now.

    :param unit: of the values.
    :param decisions: how often was decided.
    :param same: how often the plan was the same as then.
    :param losses: by how much the plan then was worse than the one now, each time both could run, as a share.
    :param refused: why records were refused, each reason once.
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
    """Replays records in the order of their times; `result` is what was and would be decided."""

    def __init__(self, model: Model, fleet: Fleet, settings: SchedulerSettings) -> None:
        self._settings, self._goal, self._fleet = settings, settings.decide.goal, fleet
        self._estimator = FleetEstimator(
            model, fleet, heartbeat_timeout=settings.heartbeat_timeout, input_bytes=settings.input_bytes
        )
        self._policy: RecordedPolicy | None = None
        self._urgency = Urgency()
        self._record = Calibration(CalibrationSettings(prior=settings.decide.least_gain))
        self._began = math.nan
        self._due = math.nan
        self._then: Plan | None = None
        self._unlisted: Plan | None = None
        self._current: Assignment | None = None
        self.result = ReplayResult(self._goal.objective.unit)

    def on_record(self, kind: str, message: Any, now: float) -> None:
        """Replay one record.

        :param kind: ``heartbeat``, ``telemetry``, ``profile``, ``energy``, ``source_status``, ``frame_report`` or ``plan``: the
            topic's last part.
        :param now: seconds, when it was recorded.
        """
        if math.isnan(self._began):
            self._began, self._due = now, now + self._settings.decision_period
        while self._due <= now:
            self._decide(self._due)
            self._due += self._settings.decision_period
        self.result.seconds = now - self._began
        try:
            getattr(self, f'_on_{kind}')(message, now)
        except PlanError as error:
            self._refuse(str(error))
        if kind in ('heartbeat', 'frame_report') and self._urgency.is_due(now, lambda: self._estimates(now)):
            self._decide(now)

    def _refuse(self, reason: str) -> None:
        if reason not in self.result.refused:
            self.result.refused.append(reason)

    def _on_heartbeat(self, message: Any, now: float) -> None:
        self._estimator.on_links(message, now)
        if message.node == 'worker':
            self._estimator.on_worker(message, now)

    def _on_telemetry(self, message: Any, now: float) -> None:  # noqa: ARG002
        self._estimator.on_telemetry(message)

    def _on_energy(self, message: Any, now: float) -> None:  # noqa: ARG002
        self._estimator.on_energy(message)

    def _on_source_status(self, message: Any, now: float) -> None:  # noqa: ARG002
        self._estimator.on_source_status(message)

    def _on_profile(self, message: Any, now: float) -> None:  # noqa: ARG002
        if self._estimator.on_profile(message):
            self._policy = None

    def _on_plan(self, message: Any, now: float) -> None:  # noqa: ARG002
        if message.status == PlanStatus.ACTIVE and message.model_sha256 == self._estimator.model.sha256:
            self._then = self._unlisted = plan_of(message)

    def _on_frame_report(self, message: Any, now: float) -> None:
        if message.shadow or not self._estimator.on_report(message, self._then, now):
            return
        alone = message.attempt == 0 and message.in_flight == 1 and message.status == _OK
        assignment = self._assignment_then()
        if alone and assignment is not None and self._policy is not None:
            assert self._then is not None
            parts = device_seconds(message, self._then)
            self._policy.learn(Frame(now, assignment, message.latency_seconds, device_seconds=parts))

    def _assignment_then(self) -> Assignment | None:
        return None if self._then is None else assignment_of(self._then.placement, self._estimator.pipeline.boundaries)

    def _estimates(self, now: float) -> Mapping[Hashable, float]:
        return self._estimator.view.estimates_of(now, set(self._current or ()))

    def _decide(self, now: float) -> None:
        self._urgency.on_decision(now, self._estimates(now))
        view, settings = self._estimator.view, self._settings
        ready = view.ready(now)
        waits = len(ready) < len(self._fleet.devices) and now - self._began < settings.settle_seconds
        if not ready or waits or view.awaits_source(now, self._began):
            return
        try:
            problem = self._estimator.problem(ready, now, settings.permitted, self._goal, settings.derating_now)
            self._choose(problem, ready, now)
        except PlanError as error:
            self._refuse(str(error))

    def _choose(self, problem: Problem, ready: tuple[str, ...], now: float) -> None:
        boundaries = self._estimator.pipeline.boundaries
        policy = self._policy or self._new_policy(now)
        then = self._assignment_then()
        if self._current is None and then is not None and feasible(problem, then):
            self._current = then
            policy.moved(now, then)
        deviation = self._estimator.view.deviation(tuple(dict.fromkeys(self._current)) if self._current else ready, now)
        choice = policy.choose(Conditions(now, problem, self._estimator.temperature(ready), deviation))
        moves = choice.assignment is not None and set(choice.assignment) <= set(ready)
        if moves and choice.assignment is not None:
            self._current = choice.assignment
            policy.moved(now, self._current)
            found = explain(problem, self._current, boundaries, self._goal, reason=choice.reason, moved=True)
            label = label_of(placement_of(self._current, boundaries))
            self.result.now.append(Step(now - self._began, label, choice.reason, found.value, found.text))
        policy.maintain(Conditions(now, problem, self._estimator.temperature(ready), deviation))
        value_now, value_then = self._value(problem, self._current), self._value(problem, then)
        if (plan := self._unlisted) is not None:
            self._unlisted = None
            self.result.then.append(
                Step(now - self._began, plan.label(), plan.reason, value_then, version=plan.version)
            )
        self.result.decisions += 1
        self.result.same += then is not None and then == self._current
        if math.isfinite(value_now) and math.isfinite(value_then) and value_now > 0:
            self.result.losses.append(value_then / value_now - 1)

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
            name = 'exact'  # as the scheduler does: it learns latencies
        policy = policy_of(name, self._settings.decide, exploration=0.0)
        self._policy = RecordedPolicy(policy, self._record, self._goal.objective)
        if self._current is not None:
            self._policy.moved(now, self._current)
        return self._policy

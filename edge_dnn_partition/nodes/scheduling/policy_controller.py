# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where the scheduler's policy sits: made as its parameters say, asked without being waited for, told what happened."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import cache_dir
from edge_dnn_partition.control.decision import calibration
from edge_dnn_partition.control.decision.auto import TakeoverSettings
from edge_dnn_partition.control.decision.calibration import Calibration, CalibrationSettings
from edge_dnn_partition.control.decision.decide import feasible
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.learned import key_of
from edge_dnn_partition.control.decision.policies import LEARNING, policy_of
from edge_dnn_partition.control.decision.policy import Choice, Conditions, Frame
from edge_dnn_partition.control.decision.recorded import RecordedPolicy
from edge_dnn_partition.control.scheduling.decider import Decider
from edge_dnn_partition.control.scheduling.duty_cycle_limiter import DutyCycleLimiter
from edge_dnn_partition.deployment.node_parameters import POLICY
from edge_dnn_partition.deployment.start_checks import goal_of
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.frame_parts import device_seconds
from edge_dnn_partition.msg import Calibration as CalibrationMessage
from edge_dnn_partition.msg import FrameReport, Result
from edge_dnn_partition.nodes.conversions.wire import hop_time
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.cost_model.evaluate import frame_joules
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.timing import Radio

_THINK_SECONDS: Final = 0.05
"""So long a decision is waited for; one that takes longer is taken up at the next turn..."""
_MOST_SHARE: Final = 0.1
"""... and no other is asked for until it was no larger share of the time, unless the plan in force cannot go on: what the
scheduler thinks with is taken from the device that it runs on."""


class PolicyController:
    """Holds the policy of one scheduler; used in the thread that spins.

    :param node: the scheduler; a change of a parameter in `POLICY` makes the policy begin anew with what was learned.
    :param fleet: of these devices, for this model.
    :raises PlanError: if the objective, the weights and the deadline do not fit each other.
    """

    def __init__(self, node: FleetNode, fleet: Fleet, model_sha256: str) -> None:
        self._node, self._fleet, self._model_sha256 = node, fleet, model_sha256
        self._decider: Decider | None = None
        self._thinking: Future[Choice] | None = None
        self._duty_cycle_limiter = DutyCycleLimiter(_MOST_SHARE, _THINK_SECONDS)
        self.assignment: tuple[str, ...] | None = None
        """The plan in force, by the device of each of the problem's nodes; None if it is cut elsewhere, or there is none."""
        self._in_force_at = -math.inf
        self.thought_for_seconds = 0.0
        """What the last decision took."""
        self._without_watts: tuple[str, ...] = ()
        goal_of(node.params, fleet)
        self._radio = Radio.of_fleet(fleet)
        self._problem: Problem | None = None
        self._calibrations = node.advertise(CalibrationMessage, node.topics.calibration, qos.CALIBRATION, overridable=True)
        self._record = self._recall()
        for name in ('least_gain', 'objective'):
            node.params.on_change(lambda *_: setattr(self, '_record', self._recall()), name)
        for parameter in POLICY:
            node.params.on_change(lambda *_: self.renew(), parameter.name)

    @property
    def goal(self) -> Goal:
        """What is to be least; latency, where joules were to count and a device's are not known."""
        goal = goal_of(self._node.params, self._fleet)
        return Goal() if self._without_watts and goal.counts_joules else goal

    def know_watts(self, unknown: tuple[str, ...]) -> None:
        """Take in whose watts are not known now; what depends on them is planned anew when that changes."""
        if unknown == self._without_watts:
            return
        before, self._without_watts = self.objective, unknown
        if self.objective != before:
            self.renew()
            wanted = goal_of(self._node.params, self._fleet).name
            text = self.words if unknown else ': all watts are known now'
            self._node.get_logger().warning(f'objective {wanted}{text}')

    @property
    def words(self) -> str:
        """Why another objective is kept to than the one that is asked for, for a plan's reason; empty if it is not."""
        if not self._without_watts or not goal_of(self._node.params, self._fleet).counts_joules:
            return ''
        names = ', '.join(self._without_watts)
        return f'; planned for latency, since the watts of {names} are not known (no meter, and no power in the fleet file)'

    @property
    def objective(self) -> str:
        """What is to be least, by name."""
        return self.goal.name

    @property
    def decider(self) -> Decider | None:
        """Who is asked at present; None before the first decision and while the policy begins anew."""
        return self._decider

    def choose(self, conditions: Conditions, boundaries: tuple[int, ...]) -> Choice | None:
        """Return the policy's choice; None while it is at work on it, or has been for long of late.

        :param boundaries: where the problem's nodes begin and end, in layers.
        """
        self._problem = conditions.problem
        if self._decider is None:
            self._decider = self._new(boundaries)
        if self._thinking is None:
            if not self._duty_cycle_limiter.due(conditions.now) and self.goes_on(conditions.problem):
                return None
            self._ask(conditions)
        assert self._thinking is not None
        try:
            choice = self._thinking.result(_THINK_SECONDS)
        except FutureTimeoutError:
            return None
        except Exception:
            self._thinking = None
            raise
        self._thinking = None
        return choice

    def _ask(self, conditions: Conditions) -> None:
        """Let the policy think, and note how long it does."""
        assert self._decider is not None
        asked_at = time.monotonic()

        def thought(_: Future[Choice]) -> None:
            self.thought_for_seconds = time.monotonic() - asked_at
            self._duty_cycle_limiter.spent(asked_at, decider.thought_seconds)

        decider = self._decider
        self._thinking = decider.choose(conditions)
        self._thinking.add_done_callback(thought)

    def goes_on(self, problem: Problem) -> bool:
        """True if the plan in force can go on."""
        return self.assignment is not None and feasible(problem, self.assignment)

    def learn(self, report: FrameReport, plan: Plan, now: float) -> None:
        """Tell the policy what a frame of the plan in force cost, if that was the plan's doing alone."""
        alone = report.attempt == 0 and report.in_flight == 1
        self._publish_calibration()
        known = self._decider is not None and self.assignment is not None
        if known and alone and report.status == Result.OK:
            assert self._decider is not None
            assert self.assignment is not None
            parts = device_seconds(report, plan)
            self._decider.learn(
                Frame(now, self.assignment, report.latency_seconds, joules=self._joules(report), device_seconds=parts)
            )

    def _joules(self, report: FrameReport) -> float:
        """Return what a frame took, as the objective energy counts it."""
        if self._problem is None:
            return math.nan
        hops = [(hop.sender, hop.receiver, self._radio.seconds(hop_time(hop))) for hop in report.hops]
        return frame_joules(
            self._problem, [(stage.device, stage.joules) for stage in report.stages], hops, report.latency_seconds
        )

    def learn_shadow(self, assignment: tuple[str, ...], report: FrameReport, plan: Plan, now: float) -> None:
        """Tell the policy what a shadow frame cost under a plan that is not in force."""
        if self._decider is not None and self.goal.objective.is_latency:
            parts = device_seconds(report, plan)
            self._decider.learn(Frame(now, assignment, report.latency_seconds, shadow=True, device_seconds=parts))

    def gain_in_words(self, choice: Choice) -> str:
        """Say what a choice is taken to cost instead of the plan in force; nothing if the gain is not the ratio of the two."""
        if choice.values is None or self.assignment is None:
            return ''
        objective = self.goal.objective
        old, new = (objective.number(value, 4) for value in choice.values)
        return f': {new} instead of {old}{objective.suffix}'

    def in_force(self, assignment: tuple[str, ...] | None, now: float) -> None:
        """Tell the policy that a plan has come into force; one that it has no word for makes it begin anew."""
        if assignment != self.assignment:
            self._in_force_at = now
        self.assignment = assignment
        if assignment is None:
            self.renew()
        elif self._decider is not None:
            self._decider.moved(now, assignment)

    def renew(self) -> None:
        """Let the next decision begin with a policy of the present parameters and profiles; what was learned is kept."""
        if self._decider is not None:
            self._decider.close()
        self._decider = self._thinking = None
        self._duty_cycle_limiter.renew()

    def forget_question(self) -> None:
        """Take no choice that was asked for before; ask at once when there is a question again."""
        self._thinking = None
        self._duty_cycle_limiter.renew()

    def _recall(self) -> Calibration:
        """Return the record of switches as it was kept; a fresh one for another ``least_gain``, objective, model or fleet."""
        record = Calibration(CalibrationSettings(prior=self._node.params.number('least_gain')))
        try:
            calibration.load(self._record_file, self._record_key, record)
        except PlanError as error:
            self._node.refuse('calibration', str(error))
        return record

    @property
    def _record_file(self) -> Path:
        return cache_dir('scheduler') / f'{self._node.topics.fleet.replace("/", "-")}-calibration.json'

    @property
    def _record_key(self) -> str:
        prior = self._node.params.number('least_gain')
        return key_of(self._model_sha256, self._fleet.model_dump_json(), (), f'switches, {prior}, {self.objective}')

    def _publish_calibration(self) -> None:
        """Publish what became of each switch that was assessed since, and keep the record."""
        record = self._record
        if not record.fresh:
            return
        while record.fresh:
            found = record.fresh.popleft()
            self._calibrations.publish(CalibrationMessage(
                stamp=self._node.get_clock().now().to_msg(), predicted_seconds=found.predicted_seconds,
                low_seconds=found.low_seconds, high_seconds=found.high_seconds, measured_seconds=found.measured_seconds,
                inside=found.inside, predicted_gain=found.predicted_gain, measured_gain=found.measured_gain,
                switches=len(record.assessments), level=record.settings.level, coverage=record.coverage, bias=record.bias,
                paid=record.paid, hysteresis=record.hysteresis,
            ))  # fmt: skip
        calibration.save(self._record_file, self._record_key, record)

    def _new(self, boundaries: tuple[int, ...]) -> Decider:
        params = self._node.params
        settings = Settings(
            self.goal, params.number('least_gain'), dwell_seconds=params.number('dwell_seconds'),
            confirmations=params.whole('confirmations'),
        )  # fmt: skip
        takeover = TakeoverSettings(params.number('takeover_threshold'), params.number('takeover_seconds'))
        learns = params.text('policy') in LEARNING and self.goal.objective.is_latency
        name = params.text('policy') if learns else 'exact'
        policy = policy_of(name, settings, takeover=takeover, exploration=params.number('exploration'))
        key = key_of(self._model_sha256, self._fleet.model_dump_json(), boundaries, self.objective)
        file = cache_dir('scheduler') / f'{self._node.topics.fleet.replace("/", "-")}-learned.json' if learns else None
        recorded = RecordedPolicy(policy, self._record, self.goal.objective)
        decider = Decider(recorded, file, key, lambda text: self._node.refuse('policy', text))
        if self.assignment is not None:
            decider.moved(self._in_force_at, self.assignment)
        return decider

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the scheduler's policy: makes it by the settings, asks it without waiting for long, reports events to it."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from edge_dnn_partition.control.decision import calibration
from edge_dnn_partition.control.decision.calibration import Calibration, CalibrationSettings
from edge_dnn_partition.control.decision.policies import LEARNING, learner_of, policy_of
from edge_dnn_partition.control.decision.policy import Assignment, Choice, Conditions, Frame, Policy, feasible
from edge_dnn_partition.control.decision.qlearning import key_of, load, save
from edge_dnn_partition.control.decision.recorded import RecordedPolicy
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.admission import device_seconds
from edge_dnn_partition.planning.cost_model.evaluate import frame_joules
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.timing import Radio

from .background import Background, DutyCycleLimiter, Task
from .settings import SchedulerSettings

_SAVE_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 0.05
"""So long a decision is waited for; a later answer is used at the next decision."""
_MOST_SHARE: Final = 0.1
"""The policy takes no larger share of the time while the plan in force can go on: its device runs stages, too."""
_OK: Final = 0
"""The status of a frame that has its result, as in FrameReport."""

_Answer = TypeVar('_Answer')


class PolicyWorker:
    """Calls one policy in order, and keeps what it has learned. May be called from any thread.

    :param policy: used by the worker only.
    :param file: where what it learns is kept; None: nowhere.
    :param key: what that belongs to (`control.decision.qlearning.key_of`).
    :param complain: takes a line for each failure.
    """

    def __init__(
        self, policy: Policy, file: Path | None, key: str, complain: Callable[[str], None], background: Background | None = None
    ) -> None:
        self._policy, self._file, self._key, self._complain = policy, file, key, complain
        self._background = background or Background()
        self._saved_at = -math.inf
        self.thought_seconds = 0.0
        """Processor time that the last choice took."""
        self._tasks = self._background.task_queue(self._run, 'policy')
        self._tasks.put(self._load)

    def choose(self, conditions: Conditions) -> Future[Choice]:
        """Ask for the policy's choice."""

        def choose() -> Choice:
            begin = self._background.processor_seconds()
            choice = self._policy.choose(conditions)
            self.thought_seconds = self._background.processor_seconds() - begin
            return choice

        def tidy() -> None:
            self._policy.maintain(conditions)
            if conditions.now - self._saved_at >= _SAVE_SECONDS:
                self._save()
                self._saved_at = conditions.now

        return self._ask(choose, tidy, report=False)

    def prefetch_candidates(self) -> Future[Sequence[Assignment]]:
        """Ask for the plans that are worth being kept prepared."""
        return self._ask(self._policy.prefetch_candidates)

    def shadow(self, warm: Collection[Assignment]) -> Future[Assignment | None]:
        """Count a frame, and ask for the prepared plan that a shadow frame is to run under."""
        return self._ask(lambda: self._policy.shadow(warm))

    def _ask(self, question: Callable[[], _Answer], then: Task = lambda: None, *, report: bool = True) -> Future[_Answer]:
        """Put a question.

        :param then: what to do once it is answered.
        :param report: also complain of an exception, which the future has in any case.
        """
        future: Future[_Answer] = Future()

        def task() -> None:
            try:
                answer = question()
            except Exception as error:
                future.set_exception(error)
                if report:
                    raise
                return
            future.set_result(answer)
            then()

        self._tasks.put(task)
        return future

    def moved(self, now: float, assignment: Assignment) -> None:
        """Tell the policy that a plan has come into force."""
        self._tasks.put(lambda: self._policy.moved(now, assignment))

    def learn(self, frame: Frame) -> None:
        """Tell the policy what a frame cost."""
        self._tasks.put(lambda: self._policy.learn(frame))

    def close(self, seconds: float = 0.3) -> None:
        """Keep what was learned and end, if that takes no longer."""
        self._tasks.put(self._save)
        self._tasks.close(seconds)

    def _run(self, task: Task) -> None:
        try:
            task()
        except PlanError as error:
            self._complain(str(error))
        except Exception:  # noqa: BLE001
            self._complain(f'the policy failed, going on:\n{traceback.format_exc()}')

    def _load(self) -> None:
        learner = learner_of(self._policy)
        if learner is not None and self._file is not None:
            load(self._file, self._key, learner)

    def _save(self) -> None:
        learner = learner_of(self._policy)
        if learner is not None and self._file is not None and learner.candidates.plans:
            save(self._file, self._key, learner)


class PolicyRunner:
    """Holds the policy of one scheduler. Not thread safe; the policy itself runs on a thread of its own.

    :param files: what the names of this fleet's records begin with, such as ``CACHE/scheduler/robot``; None: nothing is kept.
    :param warn: takes a kind and a line to log.
    :param refuse: takes a kind and a line for each failure, which counts.
    :param policy: used instead of one that the settings name, in simulations; it has its own record.
    """

    def __init__(
        self, fleet: Fleet, model_sha256: str, settings: SchedulerSettings, *, files: Path | None,
        warn: Callable[[str, str], None], refuse: Callable[[str, str], None], background: Background,
        policy: Policy | None = None,
    ) -> None:  # fmt: skip
        self._fleet, self._model_sha256, self._settings, self._files = fleet, model_sha256, settings, files
        self._warn, self._refuse, self._background, self._given = warn, refuse, background, policy
        self._radio = Radio.of_fleet(fleet)
        self._limiter = DutyCycleLimiter(_MOST_SHARE, _WAIT_SECONDS)
        self._thinking: Future[Choice] | None = None
        self._problem: Problem | None = None
        self._without_watts: tuple[str, ...] = ()
        self._in_force_at = -math.inf
        self.worker: PolicyWorker | None = None
        """Who is asked at present; None before the first decision and after a change of settings or profiles."""
        self.assignment: Assignment | None = None
        """The plan in force, by the device of each of the problem's nodes; None if it is cut elsewhere, or there is none."""
        self.thought_for_seconds = 0.0
        """What the last choice took."""
        self.record = self._recall()
        """The record of the last switches."""

    def configure(self, settings: SchedulerSettings) -> None:
        """Follow other settings: from the next decision on by a new policy, which begins with what was learned."""
        before, self._settings = self._settings, settings
        if (settings.decide.least_gain, settings.decide.goal.name) != (before.decide.least_gain, before.decide.goal.name):
            self.record = self._recall()
        if not settings.same_policy(before):
            self.renew()

    # The objective --------------------------------------------------------------------------------------------

    @property
    def goal(self) -> Goal:
        """What to minimise; latency while joules are to count and a device's watts are unknown."""
        goal = self._settings.decide.goal
        return Goal() if self._without_watts and goal.counts_joules else goal

    @property
    def objective(self) -> str:
        """The name of the goal."""
        return self.goal.name

    def on_watts(self, unknown: tuple[str, ...]) -> None:
        """Record whose watts are unknown; a new policy is made if that changes the objective."""
        if unknown == self._without_watts:
            return
        before, self._without_watts = self.objective, unknown
        if self.objective != before:
            self.renew()
            text = self.words if unknown else ': all watts are known now'
            self._warn('watts', f'objective {self._settings.decide.goal.name}{text}')

    @property
    def words(self) -> str:
        """Why the goal is not the objective that was asked for, for a plan's reason; empty if it is."""
        if not self._without_watts or not self._settings.decide.goal.counts_joules:
            return ''
        names = ', '.join(self._without_watts)
        return f'; planned for latency, since the watts of {names} are not known (no meter, and no power in the fleet file)'

    # Asking ---------------------------------------------------------------------------------------------------

    def choose(self, conditions: Conditions, boundaries: Sequence[int]) -> Choice | None:
        """Return the policy's choice; None while it is at work, or has had its share of the time.

        :param boundaries: where the problem's nodes begin and end, in layers.
        """
        self._problem = conditions.problem
        if self.worker is None:
            self.worker = self._new_worker(boundaries)
        if self._thinking is None:
            if not self._limiter.due(conditions.now) and self.can_go_on(conditions.problem):
                return None
            self._thinking = self._ask(self.worker, conditions)
        try:
            choice = self._thinking.result(_WAIT_SECONDS)
        except FutureTimeoutError:
            return None
        except Exception:
            self._thinking = None
            raise
        self._thinking = None
        return choice

    def _ask(self, worker: PolicyWorker, conditions: Conditions) -> Future[Choice]:
        """Ask for a choice, and record how long it takes."""
        asked_at = self._background.now()

        def answered(_: Future[Choice]) -> None:
            self.thought_for_seconds = self._background.now() - asked_at
            self._limiter.spent(asked_at, worker.thought_seconds)

        thinking = worker.choose(conditions)
        thinking.add_done_callback(answered)
        return thinking

    def can_go_on(self, problem: Problem) -> bool:
        """Return whether the plan in force can go on."""
        return self.assignment is not None and feasible(problem, self.assignment)

    def forget_question(self) -> None:
        """Drop the choice that was asked for; ask at once when there is a question again."""
        self._thinking = None
        self._limiter.renew()

    def gain_in_words(self, choice: Choice) -> str:
        """Say what a choice costs instead of the plan in force; empty if the gain is not the ratio of the two."""
        if choice.values is None or self.assignment is None:
            return ''
        objective = self.goal.objective
        old, new = (objective.number(value, 4) for value in choice.values)
        return f': {new} instead of {old}{objective.suffix}'

    # What happened --------------------------------------------------------------------------------------------

    def on_plan(self, assignment: Assignment | None, now: float) -> None:
        """Tell the policy which plan is in force; one that the problem cannot express makes a new policy necessary."""
        if assignment != self.assignment:
            self._in_force_at = now
        self.assignment = assignment
        if assignment is None:
            self.renew()
        elif self.worker is not None:
            self.worker.moved(now, assignment)

    def on_frame(self, report: Any, plan: Plan, now: float) -> None:
        """Tell the policy what a frame of the plan in force cost, if no other frame was under way (FrameReport)."""
        alone = report.attempt == 0 and report.in_flight == 1 and report.status == _OK
        if alone and self.worker is not None and self.assignment is not None:
            joules, parts = self._joules(report), device_seconds(report, plan)
            self.worker.learn(Frame(now, self.assignment, report.latency_seconds, joules=joules, device_seconds=parts))

    def on_shadow_frame(self, report: Any, assignment: Assignment, plan: Plan, now: float) -> None:
        """Tell the policy what a shadow frame cost under a plan that is not in force (FrameReport)."""
        if self.worker is not None and self.goal.objective.is_latency:
            parts = device_seconds(report, plan)
            self.worker.learn(Frame(now, assignment, report.latency_seconds, shadow=True, device_seconds=parts))

    def _joules(self, report: Any) -> float:
        """Return what a frame took, as the objective energy counts it; NaN: unknown."""
        if self._problem is None or not self.goal.counts_joules:
            return math.nan
        hops = [(hop.sender, hop.receiver, self._radio.seconds(hop)) for hop in report.hops]
        stages = [(stage.device, stage.joules) for stage in report.stages]
        return frame_joules(self._problem, stages, hops, report.latency_seconds)

    def renew(self) -> None:
        """Make a new policy at the next decision, by the present settings and profiles; what was learned is kept."""
        if self.worker is not None:
            self.worker.close()
        self.worker = None
        self.forget_question()

    def _new_worker(self, boundaries: Sequence[int]) -> PolicyWorker:
        def complain(text: str) -> None:
            self._refuse('policy', text)

        if self._given is not None:
            worker = PolicyWorker(self._given, None, '', complain, self._background)
        else:
            settings = self._settings
            learns = settings.policy in LEARNING and self.goal.objective.is_latency
            policy = policy_of(
                settings.policy if learns else 'exact', replace(settings.decide, objective=self.goal), takeover=settings.takeover,
                exploration=settings.exploration,
            )  # fmt: skip
            file = self._file('learned') if learns else None
            recorded = RecordedPolicy(policy, self.record, self.goal.objective)
            worker = PolicyWorker(recorded, file, self._key(boundaries, self.objective), complain, self._background)
        if self.assignment is not None:
            worker.moved(self._in_force_at, self.assignment)
        return worker

    # The record of switches -----------------------------------------------------------------------------------

    def _file(self, kind: str) -> Path | None:
        return None if self._files is None else self._files.with_name(f'{self._files.name}-{kind}.json')

    def _key(self, boundaries: Sequence[int], objective: str) -> str:
        return key_of(self._model_sha256, self._fleet.model_dump_json(), boundaries, objective)

    def _record_key(self) -> str:
        return self._key((), f'switches, {self._settings.decide.least_gain}, {self.objective}')

    def _recall(self) -> Calibration:
        """Return the record as it was kept; a fresh one for another ``least_gain``, objective, model or fleet."""
        record, file = Calibration(CalibrationSettings(prior=self._settings.decide.least_gain)), self._file('calibration')
        try:
            if file is not None:
                calibration.load(file, self._record_key(), record)
        except PlanError as error:
            self._refuse('calibration', str(error))
        return record

    def keep_record(self) -> None:
        """Write the record of switches down."""
        if (file := self._file('calibration')) is not None:
            calibration.save(file, self._record_key(), self.record)

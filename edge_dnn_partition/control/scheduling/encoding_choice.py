# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which encodings plans use: those that are permitted, what a new plan has, when the plan in force needs others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from edge_dnn_partition.control.decision.hysteresis import Hysteresis
from edge_dnn_partition.control.state.fleet_estimator import CameraImages
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.coding import with_encodings, within_error
from edge_dnn_partition.planning.plans.encodings import RAW, Permitted, parts
from edge_dnn_partition.planning.plans.plan import Plan

from .settings import SchedulerSettings

Assignment = tuple[str, ...]


class EncodingChoice:
    """The encodings of one scheduler's plans. Not thread safe.

    :param images: the camera's.
    """

    def __init__(self, images: CameraImages, settings: SchedulerSettings) -> None:
        self.settings, self._images = settings, images
        self._encodings: Mapping[tuple[str, str, str], str] = {}
        self._pipeline: Pipeline | None = None
        self._hysteresis = Hysteresis()

    @property
    def permitted(self) -> Permitted:
        """What the settings permit."""
        return self.settings.permitted

    def on_problem(self, problem: Problem, pipeline: Pipeline) -> None:
        """Use the present problem's encodings for the plans that follow from it."""
        self._encodings = problem.coding.encodings if problem.coding is not None else {}
        self._pipeline = pipeline

    def encode(self, plan: Plan) -> Plan:
        """Return a plan with its encodings; the lossy ones together keep to the largest error."""
        best = with_encodings(plan, self._encodings)
        return best if self._pipeline is None else within_error(best, self._pipeline.profiles, self.permitted)

    def problem_for(
        self, pipeline: Pipeline, problem: Problem, factors: Mapping[str, float], plan: Plan | None, assignment: Assignment | None
    ) -> Callable[[Assignment], Problem]:
        """Return a function that gives the present problem under a plan's own encodings, from any thread.

        :param problem: under the best encodings of each transfer alone, as `on_problem` was given it.
        :param plan: the one in force, of ``assignment``: it keeps the encodings that it has.
        """
        encodings, permitted, pixels = self._encodings, self.permitted, self._images.pixels

        @functools.cache
        def found(other: Assignment) -> Problem:
            if plan is not None and other == assignment:
                return pipeline.encoded(problem, encodings_of(plan), factors, pixels)
            best = with_encodings(pipeline.plan(other), encodings)
            kept = within_error(best, pipeline.profiles, permitted)
            return problem if kept == best else pipeline.encoded(problem, encodings_of(kept), factors, pixels)

        return found

    def problem_if_made_now(self, pipeline: Pipeline, problem: Problem, plan: Plan, factors: Mapping[str, float]) -> Problem:
        """Return the problem under the encodings that a plan would have if it were made now."""
        return pipeline.encoded(problem, encodings_of(self.encode(plan)), factors, self._images.pixels)

    def why_others(
        self, plan: Plan, assignment: Assignment, current: Problem, candidate: Callable[[], Problem], goal: Goal, now: float
    ) -> str:
        """Return why the plan in force should go on with other encodings; empty if it should not.

        At once where an encoding is no longer permitted; else as with another plan: for the least gain, confirmed, after the
        dwell time.

        :param current: the problem under the plan's own encodings.
        :param candidate: returns the problem under those that it would have now.
        """
        decide = self.settings.decide
        self._hysteresis.settings = type(decide)(
            goal, decide.least_gain, dwell_seconds=decide.dwell_seconds, confirmations=decide.confirmations
        )
        self._hysteresis.moved(now, plan.version)
        new = self.encode(plan)
        if new.transfers == plan.transfers:
            self._hysteresis.calm()
            return ''
        for transfer in plan.transfers:
            if any(part and part not in self.permitted.names for part in parts(transfer.encoding)):
                return f'{transfer.encoding} is no longer permitted (parameter encodings)'
        if self._pipeline is not None and within_error(plan, self._pipeline.profiles, self.permitted).transfers != plan.transfers:
            return f'encoding error exceeds largest_error {100 * self.permitted.largest_error:.3g} %'
        old, other = evaluate(current, assignment), evaluate(candidate(), assignment)
        current_value, new_value = goal.value(old, old), goal.value(other, old)
        gain = 1 - new_value / current_value if current_value > 0 else 0.0
        verdict = self._hysteresis.weigh(now, new.transfers, gain, self._hysteresis.least_gain())
        return f'with other encodings {verdict.reason}' if verdict.moves else ''


def encodings_of(plan: Plan) -> dict[tuple[str, str, str], str]:
    """Return a plan's encodings by tensor, sender and reader, where they are not raw."""
    return {(t.tensor, t.from_device, t.to_device): t.encoding for t in plan.transfers if t.encoding != RAW}

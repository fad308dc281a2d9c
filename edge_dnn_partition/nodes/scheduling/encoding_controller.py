# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's choice of encodings: which are permitted, what a new plan uses, when the plan in force needs others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from edge_dnn_partition.control.decision.hysteresis import Hysteresis, Settings
from edge_dnn_partition.control.scheduling.camera_images import CameraImages
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.coding import with_encodings, within_error
from edge_dnn_partition.planning.plans.encodings import RAW, Permitted, parts
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.planning.plans.profile import Profile


class EncodingController:
    """Holds what is known of encodings for one scheduler; used in the thread that spins.

    :param node: the scheduler.
    :param images: the camera's.
    """

    def __init__(self, node: FleetNode, images: CameraImages) -> None:
        self._node, self._images = node, images
        self._encodings: Mapping[tuple[str, str, str], str] = {}
        self._profiles: Mapping[str, Profile] = {}
        self._hysteresis = Hysteresis()

    @property
    def permitted(self) -> Permitted:
        """What the parameters permit."""
        return Permitted(tuple(self._node.params['encodings']), self._node.params.number('largest_error'))

    def take(self, problem: Problem, profiles: Mapping[str, Profile]) -> None:
        """Take the present problem's encodings in, for the plans that follow from it."""
        self._encodings = problem.coding.encodings if problem.coding is not None else {}
        self._profiles = profiles

    def encode(self, plan: Plan) -> Plan:
        """Return a plan with its encodings; the lossy ones together keep to the largest error."""
        return within_error(with_encodings(plan, self._encodings), self._profiles, self.permitted)

    def under(
        self, pipeline: Pipeline, problem: Problem, factors: Mapping[str, float], plan: Plan | None,
        assignment: tuple[str, ...] | None,
    ) -> Callable[[tuple[str, ...]], Problem]:  # fmt: skip
        """Return what gives the present problem under a plan's own encodings; it may be called from any thread.

        :param problem: under the best encodings of each transfer alone, as `take` was given it.
        :param plan: the one in force, of ``assignment``: it has the encodings that it has.
        """
        encodings, profiles, permitted, pixels = self._encodings, self._profiles, self.permitted, self._images.pixels

        @functools.cache
        def found(other: tuple[str, ...]) -> Problem:
            if plan is not None and other == assignment:
                return pipeline.encoded(problem, encodings_of(plan), factors, pixels)
            best = with_encodings(pipeline.plan(other), encodings)
            kept = within_error(best, profiles, permitted)
            return problem if kept == best else pipeline.encoded(problem, encodings_of(kept), factors, pixels)

        return found

    def anew(self, pipeline: Pipeline, problem: Problem, plan: Plan, factors: Mapping[str, float]) -> Callable[[], Problem]:
        """Return what gives the problem under the encodings that a plan would have if it were made now."""
        return functools.cache(lambda: pipeline.encoded(problem, encodings_of(self.encode(plan)), factors, self._images.pixels))

    def needs_others(
        self, plan: Plan, assignment: tuple[str, ...], present: Problem, best: Callable[[], Problem], goal: Goal, now: float
    ) -> str:
        """Return why the plan in force should go on with other encodings; empty if it should not.

        At once where an encoding is no longer permitted; else as another plan is taken: for the least gain, confirmed,
        after the dwell time.

        :param present: the problem under the plan's own encodings.
        :param best: as `anew` returns it.
        """
        params = self._node.params
        self._hysteresis.settings = Settings(
            goal, params.number('least_gain'), dwell_seconds=params.number('dwell_seconds'),
            confirmations=params.whole('confirmations'),
        )  # fmt: skip
        self._hysteresis.moved(now, plan.version)
        new = self.encode(plan)
        if new.transfers == plan.transfers:
            self._hysteresis.calm()
            return ''
        names = self.permitted.names
        for transfer in plan.transfers:
            if any(part and part not in names for part in parts(transfer.encoding)):
                return f'{transfer.encoding} is not permitted any more'
        old, other = evaluate(present, assignment), evaluate(best(), assignment)
        current, candidate = goal.value(old, old), goal.value(other, old)
        gain = 1 - candidate / current if current > 0 else 0.0
        lossy = within_error(plan, self._profiles, self.permitted).transfers != plan.transfers
        if lossy:
            return 'its encodings err more than is permitted now'
        verdict = self._hysteresis.weigh(now, new.transfers, gain, self._hysteresis.least_gain())
        return f'with other encodings {verdict.reason}' if verdict.moves else ''


def encodings_of(plan: Plan) -> dict[tuple[str, str, str], str]:
    """Return a plan's encodings by tensor, sender and reader, where they are not raw."""
    return {(t.tensor, t.from_device, t.to_device): t.encoding for t in plan.transfers if t.encoding != RAW}

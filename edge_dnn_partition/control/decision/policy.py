# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a policy: it chooses plans and learns from frames. Time and randomness are passed in.

A policy is used so:

1. ``choose`` at each decision, with the present conditions; it answers with a plan to move to, or None.
2. ``moved`` when a plan has come into force (whoever asked for it).
3. ``learn`` with each frame's cost, also a shadow frame's.
4. ``shadow`` before a frame: whether it is to run under another, prepared plan too, its result thrown away.
5. ``maintain`` after a decision: what may take milliseconds and is no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers.solve import solve

from .steps import FRAMES, Steps, resources_of

Assignment = tuple[str, ...]
"""The device of each node of a problem."""
FIRST_PLAN: Final = 'first plan'
"""Why a policy chooses that knows of no plan in force."""


def feasible(problem: Problem, assignment: Sequence[str]) -> bool:
    """True if every device of an assignment is there, can run its nodes, and has the links it needs."""
    if len(assignment) != problem.nodes or not set(assignment) <= set(problem.names):
        return False
    return bool(np.isfinite(evaluate(problem, assignment).latency_seconds))


@dataclass(frozen=True, eq=False)
class Conditions:
    """What is known when a decision is due.

    :param now: seconds of a steady clock.
    :param problem: the pipeline under the present estimates, with the devices that are alive.
    :param temperature_celsius: of the warmest device; NaN if unknown.
    :param deviation: relative standard deviation of the predictions.
    :param encoded: gives the problem under the encodings that a plan has (if in force) or would have; those of ``problem`` are
        the best ones of each transfer alone. None: ``problem`` holds for every plan.
    :param steps: which estimates made a step of late; None: none is known.
    :param tried: plans that were in force within the last minute.
    :param least_gain: the share by which another plan must be better, as the record of switches says; None: the settings'.
    """

    now: float
    problem: Problem
    temperature_celsius: float = math.nan
    deviation: float = 0.0
    least_gain: float | None = None
    encoded: Callable[[Assignment], Problem] | None = None
    steps: Steps | None = None
    tried: Collection[Assignment] = ()

    def problem_for(self, plan: Assignment) -> Problem:
        """Return the problem under a plan's own encodings."""
        return self.problem if self.encoded is None else self.encoded(plan)

    def stepped_at(self, present: Assignment, other: Assignment) -> float:
        """Return when a step has last made the plan in force worse, or another one better; minus infinity if none has.

        That is now if a link has drifted as far since the plan in force was chosen.

        Back to a plan that was tried lately only a large one counts of a device or of frames: other work makes each plan slower in
        turn.
        """
        if self.steps is None:
            return -math.inf
        used, wanted = resources_of(self.problem, present), resources_of(self.problem, other)
        if self.steps.drifted(used, worse=True) or self.steps.drifted(wanted, worse=False):
            return self.now
        large = other in self.tried
        worse = self.steps.last({FRAMES, *used}, worse=True, large=large)
        return max(worse, self.steps.last(wanted, worse=False, large=large))

    def appeared_at(self, plan: Assignment) -> float:
        """Return when a device of a plan last appeared; minus infinity if none has."""
        return -math.inf if self.steps is None else self.steps.appeared(set(plan))



@dataclass(frozen=True)
class Choice:
    """A plan to move to, or None to keep the present one; ``costs`` are the planner's predictions for it.

    :param values: by the objective, what the present plan and the better one are taken to cost; their ratio is the gain in
        ``reason``. None: there is no such ratio.
    """

    assignment: Assignment | None
    reason: str
    costs: Costs | None = None
    values: tuple[float, float] | None = None


@dataclass(frozen=True)
class Frame:
    """What a frame cost under a plan, in the objective's unit (seconds for latency).

    :param shadow: it ran beside the real frame, under a plan that is not in force.
    :param joules: as the objective energy counts them; NaN: unknown.
    :param device_seconds: for how long each device of the plan was at work on it; empty: unknown.
    """

    now: float
    plan: Assignment
    cost: float
    shadow: bool = False
    joules: float = math.nan
    device_seconds: Mapping[str, float] = field(default_factory=dict)


class Policy(Protocol):
    """Chooses plans; see the module's text for when what is called."""

    def choose(self, conditions: Conditions) -> Choice:
        """Return the plan to move to, if any."""

    def moved(self, now: float, plan: Assignment) -> None:
        """Record that a plan has come into force."""

    def learn(self, frame: Frame) -> None:
        """Record what a frame cost."""

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:
        """Count a frame, and return one of the prepared plans to run the next frame under too, or None."""

    def prefetch_candidates(self) -> Sequence[Assignment]:
        """Return plans that are worth being kept prepared, the most useful first."""

    def maintain(self, conditions: Conditions) -> None:
        """Do what may take long."""


class StillPolicy:
    """What policies have in common that neither learn nor explore."""

    def learn(self, frame: Frame) -> None:
        """Learn nothing."""

    def shadow(self, warm: Collection[Assignment]) -> Assignment | None:  # noqa: ARG002
        """Ask for no shadow frame."""
        return None

    def prefetch_candidates(self) -> Sequence[Assignment]:
        """Want nothing prepared."""
        return ()

    def maintain(self, conditions: Conditions) -> None:
        """Do nothing."""


class FixedPolicy(StillPolicy):
    """Keeps to one plan, for experiments; the planner stands in while it cannot run."""

    def __init__(self, plan: Assignment, objective: str | Goal = 'latency') -> None:
        self.plan = plan
        self.objective = objective
        self._present: Assignment | None = None

    def choose(self, conditions: Conditions) -> Choice:
        """Return the fixed plan unless it is in force; the planner's while the fixed one cannot run."""
        problem = conditions.problem
        if feasible(problem, self.plan):
            if self._present == self.plan:
                return Choice(None, 'the policy is fixed')
            return Choice(self.plan, 'the policy is fixed', evaluate(conditions.problem_for(self.plan), self.plan))
        if self._present is not None and feasible(problem, self._present):
            return Choice(None, 'the fixed plan cannot run')
        found = solve(problem, self.objective, quick=True, few_stages=True).assignment
        if found is None:
            return Choice(None, 'no device can run the model now')
        return Choice(found, 'the fixed plan cannot run', evaluate(problem, found))

    def moved(self, now: float, plan: Assignment) -> None:  # noqa: ARG002
        """Remember the plan in force."""
        self._present = plan

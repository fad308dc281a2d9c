# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that follows the exact planner: its answer to the present estimates, passed through the hysteresis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers.fewer_stages import effective_bottleneck
from edge_dnn_partition.planning.solvers.solve import solve

from .hysteresis import Hysteresis, Settings
from .policy import FIRST_PLAN, Assignment, Choice, Conditions, StillPolicy, feasible

_HOLD: Final = 0.05
"""The conditions hold while the plan's value is within this share of what it was when the plan was found."""
_IN_VAIN: Final = 8
_BETTER: Final = 1e-6


def decide(
    now: float, problem: Problem, hysteresis: Hysteresis, *, deviation: float = 0.0, least_gain: float | None = None,
    problem_for: Callable[[tuple[str, ...]], Problem] | None = None,
    stepped_at: Callable[[tuple[str, ...], tuple[str, ...]], float] | None = None,
    appeared_at: Callable[[tuple[str, ...]], float] | None = None, known: Sequence[tuple[str, ...]] = (),
) -> Choice:  # fmt: skip
    """Return the plan to move to, if any. Deterministic; what was decided before is in the hysteresis.

    The fleet moves to the exact planner's answer if the plan in force cannot go on; else only if its gain passes the hysteresis.
    For throughput the gain is in :func:`~.fewer_stages.effective_bottleneck`. Under a deadline, a plan that is to replace another
    must keep to it with the threshold to spare; the plan in force is late only beyond the deadline itself.

    :param now: seconds of a steady clock.
    :param problem: the pipeline under the present estimates, with the devices that are alive.
    :param hysteresis: its plan is the device of each node.
    :param deviation: relative standard deviation of the predictions.
    :param least_gain: what the record of switches says; None: the settings of the hysteresis count.
    :param problem_for: gives the problem under the encodings that a plan has or would have, in which it is valued; None:
        those of ``problem``, with which the best plan is looked for.
    :param stepped_at: when a step has last made the first of two plans worse or the second better; None: unknown.
    :param appeared_at: when a device of a plan has last appeared; None: unknown.
    :param known: throughput: plans that are worth improving, instead of a search from the start.
    """
    value = problem_for or (lambda _: problem)
    goal = hysteresis.settings.goal
    current = hysteresis.plan if isinstance(hysteresis.plan, tuple) else None
    threshold = hysteresis.least_gain(deviation, least_gain)
    present = evaluate(value(current), current) if current is not None and feasible(problem, current) else None
    solution = solve(problem, goal if present is None else goal.tightened(threshold), quick=True, few_stages=True, known=known)
    if not solution.feasible or solution.assignment is None:
        hysteresis.calm()
        return Choice(None, 'no device can run the model now' if present is None else 'no other plan is possible')
    best = tuple(solution.assignment)
    costs = evaluate(value(best), best)
    if present is None or current is None:
        return Choice(best, FIRST_PLAN if current is None else 'the present plan cannot go on', costs)
    reference = evaluate(problem, [problem.source] * problem.nodes)
    if not np.isfinite(reference.latency_seconds):
        reference = costs
    if goal.pipelined:
        values = effective_bottleneck(value(current), current), effective_bottleneck(value(best), best)
        gain = 1 - values[1] / values[0] if values[0] > 0 else 0.0
    else:
        values = goal.value(present, reference), goal.value(costs, reference)
        gain = goal.gain(present, costs, reference)
    if best == current or gain <= 0:
        hysteresis.calm()
        return Choice(None, 'the present plan is the best one', costs)
    stepped = -math.inf if stepped_at is None else stepped_at(current, best)
    appeared = -math.inf if appeared_at is None else appeared_at(best)
    verdict = hysteresis.weigh(
        now, best, gain, threshold, stepped_at=stepped, appeared_at=appeared, move_seconds=problem.state_seconds(current, best)
    )
    move = best if verdict.moves else None
    if goal.late(present):
        return Choice(move, f'the present plan misses the deadline; {verdict.reason}', costs)
    return Choice(move, verdict.reason, costs, values)


class Ahead:
    """Throughput: searches on after a decision, a course at a time, and gives the next decision what it has found.

    The first course starts from scratch, the others at the best plan and short, since the next decision waits for them. After
    eight that found nothing better there are no more until the conditions change. For other objectives than throughput there
    is nothing to do: their answers are exact, or quickly found again.
    """

    def __init__(self, goal: Goal) -> None:
        self._counts = goal.pipelined
        self._goal = goal
        self._plan: Assignment | None = None
        self._found_at = np.inf
        self._course = 0
        self._in_vain = 0

    def known(self, problem: Problem) -> tuple[Assignment, ...]:
        """Return the plan to improve on, if it can run and the conditions have held."""
        plan = self._plan
        if plan is None:
            return ()
        value = effective_bottleneck(problem, plan) if set(plan) <= set(problem.names) and len(plan) == problem.nodes else np.inf
        if abs(value - self._found_at) <= _HOLD * self._found_at:
            return (plan,)
        self._plan, self._found_at, self._in_vain = None, np.inf, 0
        return ()

    def improve(self, problem: Problem) -> None:
        """Search one course further."""
        if not self._counts:
            return
        known = self.known(problem)
        if self._in_vain >= _IN_VAIN:
            return
        found = solve(problem, self._goal, quick=True, few_stages=True, known=known, seed=self._course)
        self._course += 1
        if found.assignment is None:
            return
        value = effective_bottleneck(problem, found.assignment)
        if known and value >= effective_bottleneck(problem, known[0]) * (1 - _BETTER):
            self._in_vain = _IN_VAIN if found.optimal else self._in_vain + 1
            return
        self._plan, self._found_at, self._in_vain = found.assignment, value, 0


class ExactPolicy(StillPolicy):
    """Decides by `decide` on the estimates as they are.

    :param hysteresis: what moves pass through; None: one of the settings.
    """

    def __init__(self, settings: Settings | None = None, *, hysteresis: Hysteresis | None = None) -> None:
        self.hysteresis = hysteresis or Hysteresis(settings)
        self._ahead = Ahead(self.hysteresis.settings.goal)

    def choose(self, conditions: Conditions) -> Choice:
        """Return what `decide` says."""
        return decide(
            conditions.now, conditions.problem, self.hysteresis, deviation=conditions.deviation,
            least_gain=conditions.least_gain, problem_for=conditions.problem_for, stepped_at=conditions.stepped_at,
            appeared_at=conditions.appeared_at, known=self._ahead.known(conditions.problem),
        )  # fmt: skip

    def maintain(self, conditions: Conditions) -> None:
        """Look for a better plan than the last decision found, while the conditions hold."""
        self._ahead.improve(conditions.problem)

    def moved(self, now: float, plan: Assignment) -> None:
        """Remember the plan in force and since when."""
        self.hysteresis.moved(now, plan)

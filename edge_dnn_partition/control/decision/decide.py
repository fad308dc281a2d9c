# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The exact planner's answer to the present estimates, held against the plan in force, and passed through the hysteresis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.solvers.fewer_stages import effective_bottleneck
from edge_dnn_partition.planning.solvers.solve import solve

from .hysteresis import Hysteresis, Settings

__all__ = ['FIRST_PLAN', 'Decision', 'Settings', 'decide', 'feasible']

FIRST_PLAN: Final = 'first plan'
"""Why a policy chooses that knows of no plan in force."""


@dataclass(frozen=True)
class Decision:
    """What to do: move to ``assignment``, or keep the present plan (None). Costs are predictions.

    :param values: what the present plan is worth by the objective, and what the better one; None: the gain is not their ratio.
    """

    assignment: tuple[str, ...] | None
    costs: Costs | None
    present: Costs | None
    reason: str
    values: tuple[float, float] | None = None


def feasible(problem: Problem, assignment: Sequence[str]) -> bool:
    """True if every device of an assignment is there, can run its nodes, and has the links it needs."""
    if len(assignment) != problem.nodes or not set(assignment) <= set(problem.names):
        return False
    return bool(np.isfinite(evaluate(problem, assignment).latency_seconds))


def decide(
    now: float, problem: Problem, hysteresis: Hysteresis, *, deviation: float = 0.0, least_gain: float | None = None,
    problem_for: Callable[[tuple[str, ...]], Problem] | None = None,
    stepped_at: Callable[[tuple[str, ...], tuple[str, ...]], float] | None = None,
    came_at: Callable[[tuple[str, ...]], float] | None = None, known: Sequence[tuple[str, ...]] = (),
) -> Decision:  # fmt: skip
    """Return what to do. Deterministic; what was decided before is in the hysteresis.

    The exact planner's answer to the present estimates is taken if the present plan cannot go on; else only if the hysteresis
    lets its gain pass. For throughput the gain is that of :func:`.solvers.fewer_stages.standing`. Under a deadline, a plan
    that is to replace another must keep to it with as much to spare, while the present one is late only beyond the deadline
    itself.

    :param now: seconds of a steady clock.
    :param problem: the pipeline under the present estimates, with the devices that are alive.
    :param hysteresis: its plan is the device of each node.
    :param deviation: relative standard deviation of the predictions.
    :param least_gain: what the record of switches says; None: the settings of the hysteresis count.
    :param problem_for: gives the problem under the encodings that a plan has or would have, in which it is valued; None:
        those of ``problem``, with which the best plan is looked for.
    :param stepped_at: when a step has last made the first of two plans worse or the second better; None: none is known.
    :param came_at: when a device of a plan has last come; None: it is not known of any.
    :param known: throughput: plans that are worth improving, instead of a search from the start (:mod:`.ahead`).
    """
    value = problem_for or (lambda _: problem)
    goal = hysteresis.settings.goal
    own = hysteresis.plan if isinstance(hysteresis.plan, tuple) else None
    threshold = hysteresis.least_gain(deviation, least_gain)
    present = evaluate(value(own), own) if own is not None and feasible(problem, own) else None
    solution = solve(problem, goal if present is None else goal.tightened(threshold), quick=True, few_stages=True, known=known)
    if not solution.feasible or solution.assignment is None:
        hysteresis.calm()
        return Decision(None, None, present, 'no device can run the model now' if present is None else 'no other plan is possible')
    best = tuple(solution.assignment)
    costs = evaluate(value(best), best)
    if present is None or own is None:
        return Decision(best, costs, None, FIRST_PLAN if own is None else 'the present plan cannot go on')
    reference = evaluate(problem, [problem.source] * problem.nodes)
    if not np.isfinite(reference.latency_seconds):
        reference = costs
    if goal.pipelined:
        current, candidate = (effective_bottleneck(value(plan), plan) for plan in (own, best))
        gain = 1 - candidate / current if current > 0 else 0.0
    else:
        current, candidate = (goal.value(c, reference) for c in (present, costs))
        gain = goal.gain(present, costs, reference)
    if best == own or gain <= 0:
        hysteresis.calm()
        return Decision(None, costs, present, 'the present plan is the best one')
    stepped = -math.inf if stepped_at is None else stepped_at(own, best)
    came = -math.inf if came_at is None else came_at(best)
    verdict = hysteresis.weigh(now, best, gain, threshold, stepped_at=stepped, came_at=came)
    if goal.late(present):
        return Decision(best if verdict.moves else None, costs, present, f'the present plan misses the deadline; {verdict.reason}')
    return Decision(best if verdict.moves else None, costs, present, verdict.reason, (current, candidate))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When to move to another plan: a pure function of the fleet's picture and of what was decided before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.objective import Goal, goal_of
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.solvers.fewer_stages import standing
from edge_dnn_partition.planning.solvers.solve import solve

FIRST_PLAN: Final = 'first plan'
"""Why a policy chooses that knows of no plan in force."""
FAR_BETTER: Final = 0.5
"""A gain that does not wait for the present plan to have stayed: conditions have changed beyond what dwelling is for."""


@dataclass(frozen=True)
class Settings:
    """What tempers the decision.

    :param objective: its name, or a whole goal.
    :param least_gain: a new plan must be predicted to be better by this share of the present plan's value; what a scheduler
        begins with, until :mod:`.calibration` has a record.
    :param most_gain: a gain of that share is enough however uncertain the predictions are.
    :param dwell_seconds: how long a plan stays at least, unless it cannot go on or another is better by `FAR_BETTER`.
    :param confirmations: in how many decisions on end the same plan must be the better one.
    """

    objective: str | Goal = 'latency'
    least_gain: float = 0.08
    most_gain: float = 0.2
    dwell_seconds: float = 2.0
    confirmations: int = 2

    @property
    def goal(self) -> Goal:
        """What is to be least."""
        return goal_of(self.objective)


@dataclass(frozen=True)
class DecisionState:
    """What was decided before: the present assignment of nodes to devices, and a rival's standing."""

    assignment: tuple[str, ...] | None = None
    since: float = float('-inf')
    rival: tuple[str, ...] | None = None
    rival_count: int = 0


@dataclass(frozen=True)
class Decision:
    """What to do: move to ``assignment``, or keep the present plan (None). Costs are predictions."""

    assignment: tuple[str, ...] | None
    costs: Costs | None
    present: Costs | None
    reason: str


def value_of(costs: Costs, objective: str | Goal, reference: Costs | None = None) -> float:
    """Return what an objective makes of costs (seconds or joules; balanced: relative to ``reference``)."""
    goal = goal_of(objective)
    if goal.name == 'latency':
        return costs.latency_seconds
    if goal.name in ('energy', 'deadline'):
        return costs.energy_joules
    if goal.name == 'throughput':
        return costs.bottleneck_seconds
    base = reference or costs
    pairs = ((costs.latency_seconds, base.latency_seconds), (costs.energy_joules, base.energy_joules))
    return sum(share * mine / his for share, (mine, his) in zip(goal.shares, pairs, strict=True) if his > 0)


def gain_of(goal: Goal, present: Costs, costs: Costs, reference: Costs) -> float:
    """Return the share of the present plan's value that another plan would save.

    Under a deadline a plan that is late is better by nothing than one that is in time, one in time saves all of one that
    is late, and of two that are late the quicker one is better.
    """
    mine, his = value_of(present, goal, reference), value_of(costs, goal, reference)
    if goal.name == 'deadline' and not goal.meets(present):
        if goal.meets(costs):
            return 1.0
        mine, his = goal.counted(present), goal.counted(costs)
    elif goal.name == 'deadline' and not goal.meets(costs):
        return 0.0
    return 1 - his / mine if mine > 0 else 0.0


def feasible(problem: Problem, assignment: Sequence[str]) -> bool:
    """True if every device of an assignment is there, can run its nodes, and has the links it needs."""
    if len(assignment) != problem.nodes or not set(assignment) <= set(problem.names):
        return False
    return bool(np.isfinite(evaluate(problem, assignment).latency_seconds))


def decide(
    now: float, problem: Problem, state: DecisionState, settings: Settings, *, deviation: float = 0.0,
    under: Callable[[tuple[str, ...]], Problem] | None = None,
) -> tuple[Decision, DecisionState]:  # fmt: skip
    """Return what to do, and the state for the next call. Pure and deterministic.

    The exact planner's answer to the present estimates is taken if the present plan cannot
    go on; else only if its gain exceeds ``least_gain`` and the predictions' own uncertainty,
    it has been the answer ``confirmations`` times on end, and the present plan has stayed for
    ``dwell_seconds`` or the gain is `FAR_BETTER`. For throughput the gain is that of
    :func:`.solvers.fewer_stages.standing`. Under a deadline, a plan that is to replace another must keep to it with as much
    to spare, while the present one is late only beyond the deadline itself.

    :param now: seconds of a steady clock.
    :param problem: the pipeline under the present estimates, with the devices that are alive.
    :param deviation: relative standard deviation of the predictions.
    :param under: the problem under the encodings that a plan has or would have, in which it is valued; None: those of
        ``problem``, with which the best plan is looked for.
    """
    value = under or (lambda _: problem)
    goal = settings.goal
    threshold = max(settings.least_gain, min(deviation, settings.most_gain))
    present_ok = state.assignment is not None and feasible(problem, state.assignment)
    present = evaluate(value(state.assignment), state.assignment) if present_ok and state.assignment else None
    solution = solve(problem, goal if present is None else goal.tightened(threshold), quick=True)
    if not solution.feasible or solution.assignment is None:
        reason = 'no device can run the model now' if not present_ok else 'no other plan is possible'
        return Decision(None, None, present, reason), replace(state, rival=None, rival_count=0)
    best = tuple(solution.assignment)
    costs = evaluate(value(best), best)
    if present is None:
        why = FIRST_PLAN if state.assignment is None else 'the present plan cannot go on'
        return Decision(best, costs, None, why), DecisionState(best, now)
    reference = evaluate(problem, [problem.source] * problem.nodes)
    if not np.isfinite(reference.latency_seconds):
        reference = costs
    if goal.name == 'throughput' and state.assignment is not None:
        mine, his = (standing(value(plan), plan) for plan in (state.assignment, best))
        gain = 1 - his / mine if mine > 0 else 0.0
    else:
        gain = gain_of(goal, present, costs, reference)
    calm = replace(state, rival=None, rival_count=0)
    if best == state.assignment or gain <= 0:
        return Decision(None, costs, present, 'the present plan is the best one'), calm
    if gain < threshold:
        return Decision(None, costs, present, f'a gain of {gain:.0%} is less than {threshold:.0%}'), calm
    count = state.rival_count + 1
    waiting = replace(state, rival=best, rival_count=count)
    if count < settings.confirmations:
        return Decision(None, costs, present, f'a gain of {gain:.0%} is to be confirmed'), waiting
    if now - state.since < settings.dwell_seconds and gain < FAR_BETTER:
        return Decision(
            None, costs, present, f'a gain of {gain:.0%} waits for the present plan to have stayed'
        ), waiting
    return Decision(best, costs, present, f'{gain:.0%} better'), DecisionState(best, now)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Finding the best plan: the question, the methods in the order in which they are tried, and the answer.

All methods are deterministic: no randomness without a fixed seed, limits by work and not by time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import LATENCY, Goal, goal_of

from . import exhaustive, frontier, labels, least, localsearch, memory, milp, some_devices, subsets, throughput
from .deadline import answer_deadline
from .judge import Answer, Judge, Question, check_space


@dataclass(frozen=True)
class Solution:
    """A plan and its costs; ``None`` in place of each where no plan can run.

    :param assignment: the device of each node.
    :param optimal: proven best of its space, to 1e-9 relative (with ``feasible`` false: proven
        that nothing can run).
    :param reason: why there is no plan, or, for the objective ``deadline``, why this one misses it.
    :param deadline_met: for the objective ``deadline``: whether the plan keeps to it.
    """

    objective: str
    feasible: bool
    optimal: bool
    assignment: tuple[str, ...] | None
    objective_value: float | None
    latency_seconds: float | None
    energy_joules: float | None
    bottleneck_seconds: float | None
    planning_seconds: float
    reason: str = ''
    deadline_met: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the answer as ``plan --costs --json`` prints it."""
        answer: dict[str, Any] = {
            'feasible': self.feasible,
            'optimal': self.optimal,
            'objective': self.objective,
            'objective_value': self.objective_value,
            'latency_seconds': self.latency_seconds,
            'energy_joules': self.energy_joules,
            'bottleneck_seconds': self.bottleneck_seconds,
            'assignment': None if self.assignment is None else list(self.assignment),
            'planning_seconds': self.planning_seconds,
        }
        if self.deadline_met is not None:
            answer['deadline_met'] = self.deadline_met
        if self.reason:
            answer['reason'] = self.reason
        return answer


def solve(
    problem: Problem, objective: str | Goal = 'latency', space: str = 'any', *, quick: bool = False,
    few_stages: bool | None = None, known: Sequence[Sequence[str]] = (), seed: int = 0,
) -> Solution:  # fmt: skip
    """Return the best plan that is found for a problem.

    Equal values are decided by less latency, then less energy, then fewer stages (maximal runs of
    consecutive nodes on one device), then the order of the devices, from the first node on.

    :param objective: its name, or a whole `Goal`.
    :param space: ``any``, or ``each_device_once``: no device has two stages.
    :param quick: throughput: for who plans all the time: leave HiGHS out, which takes seconds of a core where three devices
        or more share a model, and search a quarter as long. The bottleneck is up to a few per cent longer (docs/planning.md).
    :param few_stages: throughput: for a pipeline that is to run: have no more stages than pay. None: if ``quick``, and in
        chains, since in a bare graph the order of parallel branches, and so what is a stage, is arbitrary.
    :param known: throughput: plans that the answer is none the worse for; with ``quick`` these are improved, in a short while.
    :param seed: throughput: of the search's course: another one may find a better plan.
    :raises PlanError: for an unknown objective or space, or a goal that is not whole.
    """
    goal = goal_of(objective)
    check_space(space)
    start = time.perf_counter()
    reference, proven, met, reason = None, True, None, ''
    if goal.objective.has_deadline:
        found, met = answer_deadline(problem, goal, space)
    else:
        if goal.objective.relative:
            reference, proven = _reference(problem)
            if reference is None:
                return _nothing(problem, goal.name, start, proven=True)
        question = Question(problem, Judge(problem, goal.criterion(reference), space))
        if goal.pipelined and space == 'any':
            question.quick, question.seed = quick, seed
            question.few_stages = (quick and problem.is_chain) if few_stages is None else few_stages
            question.known = [problem.indices(plan) for plan in known]
        found = find(question)
    if found.assignment is None:
        return _nothing(problem, goal.name, start, proven=found.optimal)
    costs = evaluate(problem, found.assignment)
    if met is False:
        plan = 'no plan keeps' if found.optimal else 'no plan was found that keeps'
        reason = (
            f'{plan} to the deadline of {goal.deadline_seconds * 1e3:.4g} ms{_in_words(goal)}; '
            f'this is the one of least latency, {costs.latency_seconds * 1e3:.4g} ms'
        )
    return Solution(
        objective=goal.name,
        feasible=True,
        optimal=found.optimal and proven,
        assignment=tuple(problem.names[d] for d in found.assignment),
        objective_value=goal.value(costs, reference),
        latency_seconds=costs.latency_seconds,
        energy_joules=costs.energy_joules,
        bottleneck_seconds=costs.bottleneck_seconds,
        planning_seconds=time.perf_counter() - start,
        reason=reason,
        deadline_met=met,
    )


def _reference(problem: Problem) -> tuple[Costs | None, bool]:
    """Return the costs of everything on the source if that can run, else of the plan of least latency, and whether that is proven.

    The plan of least latency is sought in the space ``any`` whatever the space asked for, so that a relative objective means the
    same in both. None if no plan can run.
    """
    costs = evaluate(problem, np.full(problem.nodes, problem.source_index))
    if costs.feasible:
        return costs, True
    fastest = find(Question(problem, Judge(problem, LATENCY)))
    return (None if fastest.assignment is None else evaluate(problem, fastest.assignment)), fastest.optimal


def _in_words(goal: Goal) -> str:
    return f' in {goal.deadline_share:.4g} of the frames' if goal.reach > 0 else ''


def _nothing(problem: Problem, objective: str, start: float, *, proven: bool) -> Solution:
    return Solution(
        objective, False, proven, None, None, None, None, None, time.perf_counter() - start, why_not(problem, proven)
    )


def why_not(problem: Problem, proven: bool = True) -> str:
    """Return why no plan can run, as far as it is plain to see."""
    stuck = np.flatnonzero(~np.isfinite(problem.seconds).any(axis=1))
    if len(stuck):
        return f'layer {problem.node_names[stuck[0]]!r} cannot run on any device'
    memory = problem.column('memory_bytes')
    able = np.where(np.isfinite(problem.seconds), memory[None, :], -1).max(axis=1)
    heavy = np.flatnonzero(problem.weight_bytes > able)
    if len(heavy):
        return f'the weights of layer {problem.node_names[heavy[0]]!r} fit into no device that can run it'
    if problem.weight_bytes.sum() > memory.sum():
        return 'the weights do not fit into the memory of all devices together'
    if not proven:
        return 'no plan was found that keeps to links and memory; one may exist'
    return 'no assignment keeps to the links, the memory and the devices that each layer can run on'


class Method(NamedTuple):
    """A row of `METHODS`: where it applies, what is asked, and why."""

    name: str
    applies: Callable[[Question], bool]
    answer: Callable[[Question], Answer | None]
    """Returns an answer where no later method could better it; else None, and the judge has the plans that it met."""
    why: str


METHODS: Final = (
    Method('nowhere', lambda q: not np.isfinite(q.problem.seconds).any(axis=1).all(), lambda _: Answer(None, True),
           'A layer runs on no device.'),
    Method('exact', lambda q: q.adds_up, least.answer,
           'Chains (Viterbi) and two devices (minimum cut) are exact in milliseconds, if memory and space allow their plan.'),
    Method('labels', lambda q: q.adds_up and q.single_visit and q.problem.is_chain and len(q.problem.devices) <= labels.DEVICES,
           labels.answer,
           'A partial plan need remember no more than the devices used; proven unless labels are cut off.'),
    Method('subsets', lambda q: not q.adds_up and q.single_visit and q.problem.is_chain, subsets.answer,
           'A dynamic program over sets of devices is exact, where they are not too many.'),
    Method('some devices',
           lambda q: q.adds_up and not q.single_visit and not q.part and len(q.problem.devices) > some_devices.FEW,
           some_devices.answer,
           'A plan uses few of many devices, and what follows takes time with the square of all: asks again for some of them.'),
    Method('frontier', lambda q: q.adds_up and not q.single_visit, frontier.answer,
           'On narrow graphs few states must be remembered: proven; on wide ones a beam finds a good plan.'),
    Method('all plans', lambda q: exhaustive.few(q.problem, q.judge.space) and not q.few_stages,
           lambda q: exhaustive.answer(q.problem, q.judge),
           'So few plans that all are tried.'),
    Method('stages moved', lambda q: q.single_visit, localsearch.answer,
           'No good bound is known: stages are moved as long as that helps.'),
    Method('throughput', lambda q: not q.adds_up, throughput.answer,
           'NP-hard even on chains: prices for a bound, tabu search for a plan, HiGHS for the last gap.'),
    Method('HiGHS', lambda _: True, milp.answer,
           'HiGHS improves and proves the plan, where the program is small.'),
    Method('memory prices', lambda q: q.limited, memory.answer,
           'A knapsack too large for HiGHS: prices on memory give a bound, and plans that are repaired.'),
)  # fmt: skip
"""The methods, in the order in which they are tried. (`deadline.answer_deadline` asks them at a price on seconds.)"""


def find(question: Question) -> Answer:
    """Ask one method after another until one answers."""
    for method in METHODS:
        if method.applies(question) and (found := method.answer(question)) is not None:
            return found
    return Answer(question.judge.best, False)

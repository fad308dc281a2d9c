# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Least energy under a latency deadline: a constrained shortest path, and its general form on graphs.

A price on seconds makes the cost add up, so that the exact methods find its least plan; that cost less what the
deadline is worth is a lower bound of the energy. The best price is that of a line through two plans, one on either
side of the deadline, until no plan lies below it (Handler and Zang, "A dual algorithm for the constrained shortest path
problem", Networks 10, 1980). What is left between the bound and the best plan known is searched: chains
by :mod:`.labels`, few assignments one by one, small programs by HiGHS with the deadline as a constraint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model import batch
from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.linear import LinearCost, energy_cost, latency_cost
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import DEADLINE_SLACK, ENERGY, LATENCY, Criterion, Goal

from . import exhaustive, labels, localsearch, milp
from .judge import Answer, Judge, Question

_ROUNDS: Final = 24
_PROOF: Final = 1e-9
_AMOUNTS: Final = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
_HALVINGS: Final = 3
_TRIED: Final = 1_000
"""So many assignments are tried one by one where the tail counts."""


@dataclass
class _Bracket:
    """The two plans that enclose the deadline, and what is proven."""

    problem: Problem
    judge: Judge
    deadline: float
    bound: float = -np.inf
    price: float = 0.0

    def proven(self) -> bool:
        """Return whether the best plan known is no more than rounding above the bound."""
        if self.judge.best is None:
            return False
        energy = self.judge.best_value
        return energy - self.bound <= _PROOF * max(abs(energy), abs(self.bound))


def answer_deadline(problem: Problem, goal: Goal, space: str) -> tuple[Answer, bool]:
    """Return the plan of least energy that keeps to the deadline; where none does, that of least latency.

    :return: the answer, and whether its plan keeps to the deadline.
    """
    if goal.reach > 0 and problem.scatter is not None:
        return _answer_tail(problem, goal, space)
    most = goal.deadline_seconds * (1 + DEADLINE_SLACK)
    judge = Judge(problem, goal.criterion(), space, most)
    cheapest = _solve(problem, Judge(problem, ENERGY, space))
    if cheapest.assignment is None:
        return cheapest, False
    if judge.accepts(cheapest.assignment) and cheapest.optimal:
        return cheapest, True
    fastest = _solve(problem, Judge(problem, LATENCY, space))
    if fastest.assignment is None:
        return (Answer(judge.best, False), True) if judge.best is not None else (fastest, False)
    judge.offer(fastest.assignment)
    bracket = _Bracket(problem, judge, most)
    if judge.best is None and fastest.optimal:
        return Answer(fastest.assignment, True), False
    if judge.best is not None and not np.isfinite(judge.measure(cheapest.assignment)):
        _raise_price(bracket, evaluate(problem, cheapest.assignment), cheapest.optimal, evaluate(problem, judge.best))
    proven = bracket.proven() or _close(bracket)
    if judge.best is None:
        return Answer(fastest.assignment, False), False
    return Answer(judge.best, proven), True


def _answer_tail(problem: Problem, goal: Goal, space: str) -> tuple[Answer, bool]:
    """Return a plan of little energy whose tail keeps to the deadline.

    Tails do not add up, so the exact methods do not hold for them. The plan that is best by predictions alone is proven if its
    tail keeps to the deadline, and few assignments are tried one by one. Else predictions are made longer by what scatters, more
    and more, until the plan that is best by those keeps to the deadline, and deadlines shorter; what lies between the last two
    is tried, too, and all on one device. The best of these is improved by moves of nodes.
    """
    plain = replace(goal, deadline_share=0.5)
    judge = Judge(problem, goal.criterion(), space, goal.deadline_seconds * (1 + DEADLINE_SLACK), goal.reach)
    found, met = answer_deadline(problem, plain, space)
    if found.assignment is None or (met and judge.accepts(found.assignment)):
        return found, met
    fastest = _solve(problem, Judge(problem, LATENCY, space)).assignment
    judge.offer(fastest)
    if batch.count_assignments(problem) <= _TRIED:
        exhaustive.answer(problem, judge)
        if judge.best is not None:
            return Answer(judge.best, True), True
    else:
        for device in range(len(problem.devices)):
            judge.offer(np.full(problem.nodes, device, dtype=np.int64))
        _shrink(lambda amount: _keeps(judge, problem.prolonged(goal.reach * amount), plain, space))
        _shrink(lambda amount: _keeps(
            judge, problem, replace(plain, deadline_seconds=goal.deadline_seconds * (1 - 0.6 * amount)), space))  # fmt: skip
        localsearch.improve(judge)
    if judge.best is None:
        return Answer(fastest, False), False
    return Answer(judge.best, False), True


def _keeps(judge: Judge, problem: Problem, goal: Goal, space: str) -> bool:
    """Offer a judge the best plan of another problem or deadline; return whether its tail keeps to the judge's deadline."""
    answer, met = answer_deadline(problem, goal, space)
    return met and judge.accepts(answer.assignment)


def _shrink(keeps: Callable[[float], bool]) -> None:
    """Call with amounts from 0 to 1 until it is true, then with some between the last two."""
    before = 0.0
    for amount in _AMOUNTS:
        if keeps(amount):
            for _ in range(_HALVINGS):
                middle = (before + amount) / 2
                before, amount = (before, middle) if keeps(middle) else (middle, amount)  # noqa: PLW2901
            return
        before = amount


def _raise_price(bracket: _Bracket, cheap: Costs, proven: bool, quick: Costs) -> None:
    """Find the price of a second at which the bound is greatest, offering what plans come up.

    :param cheap: the plan of least energy, which is too slow.
    :param proven: whether it is proven to be that.
    :param quick: a plan that is in time.
    """
    if proven:
        bracket.bound = cheap.energy_joules
    for _ in range(_ROUNDS):
        span = cheap.latency_seconds - quick.latency_seconds
        price = (quick.energy_joules - cheap.energy_joules) / span if span > 0 else 0.0
        if not price > 0:
            return
        bracket.price = price
        found = _solve(bracket.problem, Judge(bracket.problem, Criterion(price, 1.0), bracket.judge.space))
        if found.assignment is None:
            return
        costs = evaluate(bracket.problem, found.assignment)
        line = quick.energy_joules + price * quick.latency_seconds
        value = costs.energy_joules + price * costs.latency_seconds
        if found.optimal:
            bracket.bound = max(bracket.bound, value - _PROOF * abs(value) / 10 - price * bracket.deadline)
        if value >= line - _PROOF * abs(line):
            return
        if bracket.judge.accepts(found.assignment):
            quick = costs
        else:
            cheap = costs


def _close(bracket: _Bracket) -> bool:
    """Search what lies between the bound and the best plan; return whether the best is then proven."""
    problem, judge = bracket.problem, bracket.judge
    latency = latency_cost(problem)
    energy = energy_cost(problem, latency)
    by_labels = problem.is_chain and len(problem.devices) <= labels.DEVICES
    if by_labels and labels.within(judge, energy, latency, bracket.deadline, price=bracket.price):
        return True
    if exhaustive.few(problem, judge.space):
        return exhaustive.answer(problem, judge).optimal
    if judge.space == 'each_device_once':
        return localsearch.answer(Question(problem, judge)).optimal
    return _program(bracket, energy, latency)


def _program(bracket: _Bracket, energy: LinearCost, latency: LinearCost) -> bool:
    """Ask HiGHS; its tolerance is wider than the deadline's, so that a plan it lets pass may need a second try."""
    problem, judge = bracket.problem, bracket.judge
    localsearch.improve(judge)
    first: milp.Result | None = None
    for share in (1.0, 1.0 - 2e-6):
        result = milp.linear(problem, energy, judge.best, within=(latency, bracket.deadline * share))
        if result is None:
            break
        first = first or result
        if result.assignment is None or judge.accepts(result.assignment):
            break
    if first is None:
        return bracket.proven()
    bracket.bound = max(bracket.bound, first.lower_bound)
    return bracket.proven() if judge.best is not None else first.infeasible


def _solve(problem: Problem, judge: Judge) -> Answer:
    from .solve import find

    return find(Question(problem, judge))

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

from . import labels, milp
from .judge import Answer, Judge

_ROUNDS: Final = 24
_PROOF: Final = 1e-9
_AMOUNTS: Final = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
_HALVINGS: Final = 3
_TRIED: Final = 1_000
"""So many assignments are tried one by one where the tail counts."""


@dataclass
class _Search:
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
    if np.isfinite(judge.offer(cheapest.assignment)) and cheapest.optimal:
        return cheapest, True
    fastest = _solve(problem, Judge(problem, LATENCY, space))
    if fastest.assignment is None:
        return (Answer(judge.best, False), True) if judge.best is not None else (fastest, False)
    judge.offer(fastest.assignment)
    search = _Search(problem, judge, most)
    if judge.best is None and fastest.optimal:
        return Answer(fastest.assignment, True), False
    if judge.best is not None and not np.isfinite(judge.measure(cheapest.assignment)):
        _raise_price(search, evaluate(problem, cheapest.assignment), cheapest.optimal, evaluate(problem, judge.best))
    proven = search.proven() or _close(search, space)
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
    if found.assignment is None or (met and np.isfinite(judge.offer(found.assignment))):
        return found, met
    fastest = _solve(problem, Judge(problem, LATENCY, space)).assignment
    judge.offer(fastest)
    if batch.count_assignments(problem) <= _TRIED:
        _try_all(problem, judge)
        if judge.best is not None:
            return Answer(judge.best, True), True
    else:
        for device in range(len(problem.devices)):
            judge.offer(np.full(problem.nodes, device, dtype=np.int64))
        _shrink(lambda amount: _keeps(judge, problem.prolonged(goal.reach * amount), plain, space))
        _shrink(lambda amount: _keeps(
            judge, problem, replace(plain, deadline_seconds=goal.deadline_seconds * (1 - 0.6 * amount)), space))  # fmt: skip
        improve(problem, judge)
    if judge.best is None:
        return Answer(fastest, False), False
    return Answer(judge.best, False), True


def _keeps(judge: Judge, problem: Problem, goal: Goal, space: str) -> bool:
    """Offer a judge the best plan of another problem or deadline; return whether its tail keeps to the judge's deadline."""
    answer, met = answer_deadline(problem, goal, space)
    return met and np.isfinite(judge.offer(answer.assignment))


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


def _try_all(problem: Problem, judge: Judge) -> None:
    """Offer every assignment whose prediction keeps to the deadline, by rising energy, until a tail does."""
    every = batch.Batch(problem)
    for plans in batch.all_assignments(problem):
        measured = every.measure(plans)
        fits = measured.fits & (measured.latency_seconds <= judge.most_seconds) & (measured.energy_joules <= judge.best_value)
        rows = np.flatnonzero(fits)
        for row in rows[np.argsort(measured.energy_joules[rows], kind='stable')].tolist():
            if np.isfinite(judge.offer(plans[row])):
                break


def _raise_price(search: _Search, cheap: Costs, proven: bool, quick: Costs) -> None:
    """Find the price of a second at which the bound is greatest, offering what plans come up.

    :param cheap: the plan of least energy, which is too slow.
    :param proven: whether it is proven to be that.
    :param quick: a plan that is in time.
    """
    if proven:
        search.bound = cheap.energy_joules
    for _ in range(_ROUNDS):
        span = cheap.latency_seconds - quick.latency_seconds
        price = (quick.energy_joules - cheap.energy_joules) / span if span > 0 else 0.0
        if not price > 0:
            return
        search.price = price
        found = _solve(search.problem, Judge(search.problem, Criterion(price, 1.0), search.judge.space))
        if found.assignment is None:
            return
        costs = evaluate(search.problem, found.assignment)
        line = quick.energy_joules + price * quick.latency_seconds
        value = costs.energy_joules + price * costs.latency_seconds
        if found.optimal:
            search.bound = max(search.bound, value - _PROOF * abs(value) / 10 - price * search.deadline)
        if value >= line - _PROOF * abs(line):
            return
        if np.isfinite(search.judge.offer(found.assignment)):
            quick = costs
        else:
            cheap = costs


def _close(search: _Search, space: str) -> bool:
    """Search what lies between the bound and the best plan; return whether the best is then proven."""
    problem, judge = search.problem, search.judge
    latency = latency_cost(problem)
    energy = energy_cost(problem, latency)
    if problem.is_chain and len(problem.devices) <= labels.DEVICES:
        plan, complete = labels.search(
            problem, energy, latency, search.deadline, price=search.price, known=judge.best_value, once=space == 'each_device_once'
        )
        fits = plan is None or np.isfinite(judge.offer(plan))
        if complete and fits:
            return True
    if batch.count_assignments(problem) <= batch.ENUMERATED:
        from .throughput import enumerate_all

        return enumerate_all(problem, judge).optimal
    if space == 'each_device_once':
        from .once import answer_once_graph

        return answer_once_graph(problem, judge).optimal
    return _program(search, energy, latency)


def _program(search: _Search, energy: LinearCost, latency: LinearCost) -> bool:
    """Ask HiGHS; its tolerance is wider than the deadline's, so that a plan it lets pass may need a second try."""
    problem, judge = search.problem, search.judge
    improve(problem, judge)
    first: milp.Result | None = None
    for share in (1.0, 1.0 - 2e-6):
        result = milp.linear(problem, energy, judge.best, within=(latency, search.deadline * share))
        if result is None:
            break
        first = first or result
        if result.assignment is None or np.isfinite(judge.offer(result.assignment)):
            break
    if first is None:
        return search.proven()
    search.bound = max(search.bound, first.lower_bound)
    return search.proven() if judge.best is not None else first.infeasible


def improve(problem: Problem, judge: Judge) -> None:
    """Improve the judge's best by moves of nodes."""
    from .localsearch import descend

    if judge.best is not None:
        descend(problem, judge, judge.best, judge.values, work=1_500_000)


def _solve(problem: Problem, judge: Judge) -> Answer:
    from .solve import answer

    return answer(problem, judge)

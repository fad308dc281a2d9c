# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The plan of least cost where memory and space do not count: exact on chains and two devices, else by the frontier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Problem

from . import chain, frontier, twodevices
from .judge import Answer, Question


def answer(question: Question) -> Answer | None:
    """Return the exact plan if it keeps to memory and space, too, or that there is none; None otherwise."""
    found = exact(question.problem, question.costs)
    if found is None or (found.assignment is None and found.optimal):
        return found
    return found if question.judge.accepts(found.assignment) and found.optimal else None


def exact(problem: Problem, costs: Sequence[LinearCost]) -> Answer | None:
    """Return the plan of least cost of a chain or on two devices; None for other problems.

    :param costs: in order of importance; what is then still equal goes to fewer stages, then to the order of the devices.
    """
    if problem.is_chain:
        path = chain.only_path(problem, costs[0]) if len(problem.devices) > chain.FEW else None
        return Answer(chain.shortest(_trellises(problem, costs)) if path is None else path, True)
    if twodevices.applies(problem, costs[0]):
        cut = twodevices.solve(problem, costs)
        return Answer(None, True) if cut is None else Answer(cut[0], cut[1] <= 1e-10 * max(costs[0].value(problem, cut[0]), 0.0))
    return None


def least(problem: Problem, cost: LinearCost, *, work: int, beam_work: int) -> Answer:
    """Return a plan of little cost, and whether it is proven to have the least; for the work see :func:`.frontier.search`."""
    return exact(problem, [cost]) or frontier.search(problem, [cost], work=work, beam_work=beam_work)


def _trellises(problem: Problem, costs: Sequence[LinearCost]) -> Iterator[chain.Trellis]:
    """Yield the trellis of each cost, built when a tie asks for it; the last counts stages."""
    for cost in costs:
        yield chain.trellis(problem, cost)
    yield chain.stage_trellis(problem.nodes, len(problem.devices))

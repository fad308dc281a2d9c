# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A plan that people ask for: whether it can be followed now, and what it is predicted to cost."""

from __future__ import annotations

from collections.abc import Sequence

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem

from .compose import Placement, assignment_of
from .plan import PlacedStage, parse_label


def placement_of_words(text: str, layers: int, devices: Sequence[str]) -> tuple[PlacedStage, ...]:
    """Read a plan that people give: as plans are shown (`parse_label`), or a device's name alone: all on it.

    :param layers: the number of the model's layers.
    :param devices: of the fleet.
    :raises PlanError: if it is malformed, or names a device that the fleet does not have.
    """
    alone = text.isidentifier()
    placement = parse_label(f'{text}:pre-end' if alone else text, layers)
    for device, _, _ in placement:
        if device not in devices:
            raise PlanError(f'plan {text!r}: no device is called {device!r}; known are {", ".join(devices)}')
    return placement


def pinned_costs(placement: Placement, problem: Problem, boundaries: Sequence[int], *, constrained: bool) -> Costs | None:
    """Return what a plan is predicted to cost; None where its cuts are none of the profile's.

    :param constrained: whether the fleet file constrains where layers run.
    :raises PlanError: if it cannot be followed now, with the reason.
    """
    missing = [device for device, _, _ in placement if device not in problem.names]
    if missing:
        raise PlanError(f'{missing[0]} is not there now, or not profiled yet; ready are {", ".join(problem.names)}')
    assignment = assignment_of(placement, boundaries)
    if assignment is None:
        if constrained:
            raise PlanError("its cuts are none of the profile's, so the constraints cannot be checked")
        return None
    costs = evaluate(problem, assignment)
    if not costs.feasible:
        raise PlanError(costs.reason)
    return costs

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Improving the bottleneck by solving a few nodes anew with HiGHS, all others fixed.

Large neighbourhood search (Shaw 1998). The nodes set free are neighbours in the order and hold one
that binds the bottleneck, since a plan can be better only if such a node moves.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.objective import Judge
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

from . import milp
from .localsearch import binding_nodes

_NODES: Final = 12
_BETTER: Final = 1e-7


def improve(problem: Problem, judge: Judge, *, programs: int, choices: int) -> None:
    """Offer better plans until no window helps or so many programs are solved.

    :param programs: how many programs to solve at most.
    :param choices: places of all free nodes together, in each program.
    """
    able = np.isfinite(problem.seconds)
    count, devices = able.shape
    width = int(np.clip(choices // devices, 2, count))
    solved = 0
    failed: set[tuple[int, bytes]] = set()
    while solved < programs and judge.best is not None:
        plan = judge.best
        windows = _windows(binding_nodes(problem, plan), count, width)
        before = judge.best_value
        for start in windows:
            key = (start, plan.tobytes())
            if key in failed or solved >= programs:
                continue
            solved += 1
            free = np.zeros(count, dtype=np.bool_)
            free[start : start + width] = True
            result = milp.throughput(
                problem, before, nodes=_NODES, able=_places(able, plan, free), below=before * (1 - _BETTER)
            )
            if result is not None:
                judge.offer(result.assignment)
            if judge.best_value < before * (1 - _BETTER / 2):
                break
            failed.add(key)
        if judge.best_value >= before * (1 - _BETTER / 2):
            return


def _places(able: np.ndarray, plan: Ints, free: np.ndarray) -> np.ndarray:
    places = np.zeros_like(able)
    places[np.arange(len(plan)), plan] = True
    places[free] = able[free]
    return places


def _windows(nodes: Ints, count: int, width: int) -> list[int]:
    """Return starts of windows that hold one of the nodes in their middle, or near it, each once."""
    starts: dict[int, None] = {}
    for node in nodes.tolist():
        start = min(max(node - width // 2, 0), max(count - width, 0))
        near = start - start % max(1, width // 3)
        starts.setdefault(near, None)
    return list(starts)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What runs in a cell of the grid: what an engineer has today, the fixed splits of the oracle, and this system.

All on the parts that were measured: the profile's segments and boundary overheads, the sizes and seconds of encodings, the
link's rate.
Node 0 of an assignment is the preprocessing, node ``i`` the profile's segment ``i``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.linear import transfers
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.coding import with_encodings
from edge_dnn_partition.planning.plans.compose import compose, placement_of
from edge_dnn_partition.planning.plans.encodings import LOSSLESS, RAW, Permitted
from edge_dnn_partition.planning.plans.plan import IMAGE
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate

SOURCE: Final = 'pi'
CLOUD: Final = 'cloud'
BASELINES: Final = ('all_on_source', 'all_on_cloud', 'cloud_tensor', 'neurosurgeon', 'dads')
"""all_on_cloud sends the camera's image; cloud_tensor what the preprocessing makes of it, float32, as the papers do."""

_WITHIN: Final = 0.10
_LEAST: Final = 3
_MOST: Final = 5

Assignment = tuple[str, ...]


@dataclass(frozen=True)
class Conditions:
    """What holds in a cell.

    :param rate: of the uplink and the downlink, Mbit/s.
    :param slowdowns: of the devices, over one core of this machine.
    :param image_bytes: of what the camera gives.
    """

    rate: float
    delay_seconds: float
    slowdowns: Mapping[str, float]
    image_bytes: float


@dataclass(frozen=True)
class Choice:
    """A fixed plan to run.

    :param raw: tensors go as they are; else each in the lossless encoding that is quickest.
    :param split: between which nodes it is cut; 0: all on the cloud; the number of nodes: all on the source.
    """

    assignment: Assignment
    raw: bool
    label: str
    predicted: Costs

    @property
    def key(self) -> tuple[str, bool]:
        """What makes two runs the same."""
        return self.label, self.raw

    @property
    def split(self) -> int:
        """Where it is cut, counted in nodes on the source before the first one elsewhere."""
        return next((i for i, device in enumerate(self.assignment) if device != SOURCE), len(self.assignment))

    @property
    def interior(self) -> bool:
        """Whether layers run on both devices."""
        return len(set(self.assignment[1:])) > 1


class Planner:
    """Knows a model's parts.

    :param pipeline: with the devices' profiles at the slowdowns of the fleet file.
    :param nominal: these slowdowns.
    """

    def __init__(self, pipeline: Pipeline, nominal: Mapping[str, float]) -> None:
        self.pipeline = pipeline
        self.nominal = nominal

    def problem(self, conditions: Conditions, *, raw: bool = False, permitted: Permitted | None = None) -> Problem:
        """Return the planning problem of a cell."""
        rate = conditions.rate * 1e6 / 8
        links = {pair: LinkEstimate(rate, conditions.delay_seconds, measured=True)
                 for pair in ((SOURCE, CLOUD), (CLOUD, SOURCE))}  # fmt: skip
        return self.pipeline.problem(
            devices=list(self.nominal), factors={d: conditions.slowdowns[d] / self.nominal[d] for d in self.nominal},
            links=links, input_bytes=conditions.image_bytes,
            permitted=Permitted((RAW,) if raw else LOSSLESS) if permitted is None else permitted,
        )  # fmt: skip

    def choice(self, problem: Problem, assignment: Sequence[str], *, raw: bool) -> Choice:
        """Return an assignment as a plan to run; it counts as raw too where no encoding would help it."""
        placement = placement_of(assignment, self.pipeline.boundaries)
        plan = compose(self.pipeline.model, placement, version=1, source=SOURCE, sink=SOURCE)
        coded = with_encodings(plan, problem.coding.encodings if problem.coding else {})
        plain = all(t.encoding == RAW for t in coded.transfers if t.tensor != IMAGE)
        return Choice(tuple(assignment), raw or plain, plan.label(), evaluate(problem, assignment))

    def baselines(self, cell: Conditions, planned_for: Conditions) -> dict[str, Choice]:
        """Return what an engineer has today, as far as it can run.

        :param planned_for: the conditions that Neurosurgeon and DADS are planned for, once.
        """
        plain, coded, known = self.problem(cell, raw=True), self.problem(cell), self.problem(planned_for, raw=True)
        nodes = plain.nodes
        heads = [(SOURCE,) * k + (CLOUD,) * (nodes - k) for k in range(1, nodes + 1)]
        chain = min(heads, key=lambda a: evaluate(known, a).latency_seconds)
        cut = solve(known.constrained(pin={known.node_names[0]: SOURCE})).assignment
        wanted = {
            'all_on_source': ((SOURCE,) * nodes, coded, False), 'all_on_cloud': ((CLOUD,) * nodes, coded, False),
            'cloud_tensor': (heads[0], plain, True), 'neurosurgeon': (chain, plain, True), 'dads': (cut or chain, plain, True),
        }  # fmt: skip
        found = {name: self.choice(problem, plan, raw=raw) for name, (plan, problem, raw) in wanted.items()}
        return {name: choice for name, choice in found.items() if np.isfinite(choice.predicted.latency_seconds)}

    def oracle(self, cell: Conditions) -> tuple[list[Choice], int]:
        """Return the fixed splits to run, best first, and of how many that are not dominated they are the best.

        All cuts in one place, raw and encoded, and the best plan of any shape. A split is dominated by one that takes no
        more bytes and no more seconds beside them.
        """
        found: dict[tuple[str, bool], tuple[float, float, Choice]] = {}
        for raw in (True, False):
            problem = self.problem(cell, raw=raw)
            plans = {(SOURCE,) * k + (CLOUD,) * (problem.nodes - k) for k in range(problem.nodes + 1)}
            best = solve(problem).assignment
            for assignment in sorted(plans | ({best} if best else set())):
                choice = self.choice(problem, assignment, raw=raw)
                seconds = choice.predicted.latency_seconds
                if np.isfinite(seconds) and choice.key not in found:
                    size = wire_bytes(problem, assignment)
                    found[choice.key] = (size, seconds - size * 8 / (cell.rate * 1e6), choice)
        front: list[tuple[float, float, Choice]] = []
        for size, seconds, choice in sorted(found.values(), key=lambda row: row[:2]):
            if not front or seconds < front[-1][1]:
                front.append((size, seconds, choice))
        ranked = sorted((choice for _, _, choice in front), key=lambda c: c.predicted.latency_seconds)
        count = min(_LEAST, len(ranked))
        best_seconds = ranked[0].predicted.latency_seconds
        if len(ranked) > _LEAST and ranked[_LEAST - 1].predicted.latency_seconds <= best_seconds * (1 + _WITHIN):
            near = sum(c.predicted.latency_seconds <= best_seconds * (1 + _WITHIN) for c in ranked)
            count = min(_MOST, near)
        return ranked[:count], len(ranked)


def wire_bytes(problem: Problem, assignment: Sequence[str]) -> float:
    """Return the bytes that cross links."""
    return float(problem.wire_bytes(*transfers(problem, problem.indices(assignment))).sum())

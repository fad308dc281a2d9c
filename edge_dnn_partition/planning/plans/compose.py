# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From a placement of layers to a plan that workers can follow: who needs which tensor, and who sends it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem

from .model_inputs import ModelInputs
from .plan import SOURCE_STAGE, PlacedStage, Plan, StagePlan, Transfer

Placement = Sequence[PlacedStage]
"""Stages in order."""


def compose(
    model: Model, placement: Placement, *, version: int, source: str, sink: str, inputs: ModelInputs | None = None
) -> Plan:
    """Return the plan of a placement, without predictions.

    A tensor goes from its producer straight to each other device that reads it, once. The producer of the images and of the
    model's inputs that are not made of them is the source. A first stage that would have nothing to do is left out.

    :param model: the prepared model.
    :param inputs: where its inputs arise; None: the preprocessing makes the first of one image, the others come as tensors.
    :raises PlanError: if a layer is missing or named twice, or a stage needs a tensor that a later stage makes.
    """
    layers = [i for _, _, ranges in placement for start, stop in ranges for i in range(start, stop)]
    if sorted(layers) != list(range(len(model.layers))):
        raise PlanError(f'a placement of {model.name} must name each of its {len(model.layers)} layers once')
    if not placement or [pre for _, pre, _ in placement] != [i == 0 for i in range(len(placement))]:
        raise PlanError('preprocessing must be in the first stage of a placement, and in no other')

    inputs = inputs or ModelInputs.of_image(model)
    given = inputs.sent
    if not inputs.images and not placement[0][2] and len(placement) > 1:
        placement = [(placement[1][0], True, placement[1][2]), *placement[2:]]
    made = []
    read = []
    for _, preprocess, ranges in placement:
        members = [i for start, stop in ranges for i in range(start, stop)]
        outputs = [name for i in members for name in model.layers[i].outputs]
        if preprocess:
            outputs[:0] = inputs.images
        own = set(outputs)
        needs = list(dict.fromkeys(name for i in members for name in model.layers[i].inputs if name not in own))
        made.append(outputs)
        images = inputs.images.values() if preprocess else ()
        # Constants, which a device has, are not sent, unless a stage reads nothing else and so would wait for nothing.
        others = [*images, *(name for name in needs if name not in inputs.constants)]
        read.append(others or [name for name in needs if name in inputs.constants])

    at = {name: i for i, names in enumerate(made) for name in names}
    for i, names in enumerate(read):
        for name in names:
            if name not in given and at.get(name, len(placement)) >= i:
                raise PlanError(f'stage {i} needs {name!r} before it is made; order the stages by their layers')

    stages = []
    reads = dict.fromkeys((name, placement[i][0]) for i, names in enumerate(read) for name in names if name in given)
    transfers = [Transfer(name, SOURCE_STAGE, source, device) for name, device in reads if device != source]
    results = set(model.outputs)
    for i, (device, preprocess, ranges) in enumerate(placement):
        readers = {
            name: [placement[j][0] for j in range(len(placement)) if j != i and name in read[j]] for name in made[i]
        }
        needed = tuple(name for name in made[i] if readers[name] or name in results)
        for name in needed:
            others = [target for target in dict.fromkeys(readers[name]) if target != device]
            transfers.extend(Transfer(name, i, device, target) for target in others)
            if name in results:
                transfers.append(Transfer(name, i, device, sink, to_sink=True))
        stages.append(StagePlan(device, preprocess, tuple(ranges), tuple(read[i]), needed))
    return Plan(version, model.sha256, source, sink, tuple(stages), tuple(transfers))


def merge_stages(placement: Placement) -> tuple[PlacedStage, ...]:
    """Join neighbouring stages of one device, and the ranges within each."""
    merged: list[tuple[str, bool, list[tuple[int, int]]]] = []
    for device, preprocess, ranges in placement:
        if not merged or merged[-1][0] != device:
            merged.append((device, preprocess, []))
        for start, stop in ranges:
            own = merged[-1][2]
            if own and own[-1][1] == start:
                own[-1] = (own[-1][0], stop)
            else:
                own.append((start, stop))
    return tuple((device, preprocess, tuple(ranges)) for device, preprocess, ranges in merged)


def placement_of(assignment: Sequence[str], boundaries: Sequence[int]) -> tuple[PlacedStage, ...]:
    """Return the stages of an assignment of a pipeline's nodes to devices.

    :param assignment: the device of the preprocessing, then of each segment.
    :param boundaries: the cut indices between which the segments lie, one more than there are segments.
    :raises PlanError: if the two do not fit.
    """
    if len(assignment) != len(boundaries):
        raise PlanError(f'{len(assignment)} nodes do not match {len(boundaries)} boundaries; give one device for each node')
    nodes: list[tuple[str, bool, tuple[tuple[int, int], ...]]] = [(assignment[0], True, ())]
    segments = zip(assignment[1:], boundaries, boundaries[1:], strict=False)
    nodes += [(device, False, ((start, stop),)) for device, start, stop in segments]
    return merge_stages(nodes)


def assignment_of(placement: Placement, boundaries: Sequence[int]) -> tuple[str, ...] | None:
    """Return the device of the preprocessing and of each segment; None if a stage cuts through a segment."""
    of_layer = {i: device for device, _, ranges in placement for start, stop in ranges for i in range(start, stop)}
    assignment = [placement[0][0]]
    for start, stop in itertools.pairwise(boundaries):
        devices = {of_layer[i] for i in range(start, stop)}
        if len(devices) != 1:
            return None
        assignment.append(devices.pop())
    return tuple(assignment)


def pinned_costs(placement: Placement, problem: Problem, boundaries: Sequence[int], *, constrained: bool) -> Costs | None:
    """Return what a plan is predicted to cost; None where it cuts elsewhere than at the profile's boundaries.

    :param constrained: whether the fleet file constrains where layers run.
    :raises PlanError: if it cannot be followed now, with the reason.
    """
    missing = [device for device, _, _ in placement if device not in problem.names]
    if missing:
        raise PlanError(f'{missing[0]} is not running or not profiled yet; ready are {", ".join(problem.names)}')
    assignment = assignment_of(placement, boundaries)
    if assignment is None:
        if constrained:
            raise PlanError("its cuts are not among the profile's, so the constraints cannot be checked")
        return None
    costs = evaluate(problem, assignment)
    if not costs.feasible:
        raise PlanError(costs.reason)
    return costs

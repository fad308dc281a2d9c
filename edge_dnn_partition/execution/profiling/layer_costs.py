# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A model layer by layer: seconds, joules, bytes and memory, as rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_dnn_partition.graph.cuts import candidate_boundaries, linear_cuts
from edge_dnn_partition.graph.live import memory_bytes
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.profile import Profile

from .segment_energy import SegmentEnergy


@dataclass(frozen=True)
class LayerCost:
    """One layer; NaN: unknown.

    :param cut: the index of the cut after it.
    :param seconds: its share of its segment's, as a part of the whole model run as one stage; 0 where the runtime
        has fused it into a neighbour.
    :param joules: above idleness, likewise.
    :param joules_error: standard error of that.
    :param energy_kind: measured, modelled, or empty where joules are unknown.
    :param memory_bytes: of its weights and of the tensors alive while it runs.
    :param cut_bytes: what would be sent at the cut after it.
    :param cut_tensors: how many tensors that are.
    :param candidate: whether plans choose from that cut.
    """

    index: int
    name: str
    operators: tuple[str, ...]
    seconds: float
    joules: float
    joules_error: float
    energy_kind: str
    energy_source: str
    output_bytes: int
    weight_bytes: int
    memory_bytes: int
    cut: int
    cut_bytes: int
    cut_tensors: int
    candidate: bool

    def plain(self) -> dict[str, Any]:
        """Return what JSON knows: None where a number is unknown."""
        return {name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in asdict(self).items()}  # fmt: skip


def layer_costs(model: Model, profile: Profile | None = None, shares: Sequence[float] | None = None,
                energy: SegmentEnergy | None = None) -> tuple[LayerCost, ...]:  # fmt: skip
    """Return one row for each layer.

    :param profile: None: seconds and joules are unknown.
    :param shares: each layer's of its segment's time (`layer_shares`); energy is shared alike.
    :param energy: of the profile's segments.
    """
    cuts = linear_cuts(model)
    candidates = set(profile.boundaries if profile is not None else candidate_boundaries(model))
    seconds = [math.nan] * len(model.layers)
    joules, errors, kinds = list(seconds), list(seconds), [''] * len(seconds)
    if profile is not None and shares is not None:
        for segment, (start, stop) in enumerate(zip(profile.boundaries, profile.boundaries[1:], strict=False)):
            within = _within_the_whole(profile, segment)
            for layer in range(start, stop):
                share = shares[layer] * within
                seconds[layer] = profile.segment_seconds[segment] * share
                if energy is not None and math.isfinite(energy.energies[segment].joules):
                    found = energy.energies[segment]
                    joules[layer], errors[layer] = found.joules * share, found.error_joules * share
                    kinds[layer] = found.kind
    return tuple(
        LayerCost(
            index=layer.index, name=layer.name, operators=layer.operators, seconds=seconds[i], joules=joules[i],
            joules_error=errors[i], energy_kind=kinds[i], energy_source=energy.source if energy is not None else '',
            output_bytes=layer.output_bytes, weight_bytes=layer.weight_bytes, memory_bytes=memory, cut=i + 1,
            cut_bytes=cuts[i + 1].bytes, cut_tensors=len(cuts[i + 1].tensors), candidate=i + 1 in candidates,
        )
        for i, (layer, memory) in enumerate(zip(model.layers, memory_bytes(model), strict=True))
    )  # fmt: skip


def _within_the_whole(profile: Profile, segment: int) -> float:
    """Return a segment's seconds inside the whole model over those alone: half of the boundary overhead at each end is saved.

    So the layers add up to ``profile.total_seconds``.
    """
    alone = profile.segment_seconds[segment]
    overheads = math.fsum(profile.seam_seconds[max(segment - 1, 0) : segment + 1])
    return (alone - 0.5 * overheads) / alone if alone > 0 else 0.0


def with_measurements(rows: Sequence[LayerCost], document: Any) -> tuple[LayerCost, ...]:
    """Return rows with the seconds and joules that ``profile --out`` wrote of the same layers.

    :param document: of that file.
    :raises PlanError: if it holds no layers, or others.
    """
    from dataclasses import replace

    from edge_dnn_partition.errors import PlanError

    layers = document.get('layers') if isinstance(document, dict) else None
    if not isinstance(layers, list):
        raise PlanError('the profile has no layers; make it with `profile --energy` or `profile --layers`')
    try:
        if [layer['name'] for layer in layers] != [row.name for row in rows]:
            raise PlanError('the profile belongs to a model with other layers; profile this one')

        def number(value: Any) -> float:
            return math.nan if value is None else float(value)

        return tuple(
            replace(row, seconds=number(layer['seconds']), joules=number(layer['joules']),
                    joules_error=number(layer['joules_error']), energy_kind=str(layer['energy_kind']),
                    energy_source=str(layer['energy_source']))
            for row, layer in zip(rows, layers, strict=True))  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(f'layers in the profile are incomplete ({error}); make it again') from error

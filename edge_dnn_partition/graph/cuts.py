# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts: what has been computed so far, and the tensors on its frontier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.model import Model, TensorInfo
from edge_dnn_partition.graph.work import layer_operations

#: At so many shares of the work, and within so much of each, the candidates are as small as a cut can be.
SHARES: Final = 20
SHARE_TOLERANCE: Final = 0.05
#: What leaves less of the work than this before or after it is a cut in name only.
END_SHARE: Final = 1e-4
_ABOUT_EQUAL: Final = 1.02


@dataclass(frozen=True)
class Cut:
    """The cut after the first ``index`` layers, with the tensors that are still needed there."""

    index: int
    tensors: tuple[TensorInfo, ...]

    @property
    def bytes(self) -> int:
        """The size of the frontier."""
        return sum(tensor.bytes for tensor in self.tensors)


def frontier(model: Model, done: Collection[int]) -> tuple[str, ...]:
    """Return the tensors that a cut leaves alive: there already, and still needed.

    They are inputs of the model or results of layers in ``done``, and are read by
    layers outside it or are outputs of the model; in the order of their making.

    :param done: the indices of the layers computed so far, a down-closed set.
    :raises ModelError: a layer in ``done`` needs one that is not.
    """
    inside = _checked(model, done)
    present = set(model.inputs)
    for index in inside:
        present.update(model.layers[index].outputs)
    for index in inside:
        for name in model.layers[index].inputs:
            if name not in present:
                raise ModelError(f'layer {index} ({model.layers[index].name}) cannot be computed before {name} is: '
                                 'a cut holds all layers that its layers need')
    needed = set(model.outputs)
    for layer in model.layers:
        if layer.index not in inside:
            needed.update(layer.inputs)
    alive = [*model.inputs, *(name for index in sorted(inside) for name in model.layers[index].outputs)]
    return tuple(name for name in alive if name in needed)


def linear_cuts(model: Model) -> tuple[Cut, ...]:
    """Return the cuts along the model's topological order, before the first layer to after the last."""
    unread = dict.fromkeys(model.outputs, 1)
    for layer in model.layers:
        for name in layer.inputs:
            unread[name] = unread.get(name, 0) + 1
    alive = {name: model.tensors[name] for name in model.inputs if unread.get(name)}
    cuts = [Cut(0, tuple(alive.values()))]
    for layer in model.layers:
        for name in layer.inputs:
            unread[name] -= 1
            if not unread[name]:
                del alive[name]
        alive.update((name, model.tensors[name]) for name in layer.outputs)
        cuts.append(Cut(layer.index + 1, tuple(alive.values())))
    return tuple(cuts)


def candidate_boundaries(model: Model, *, limit: int = 20) -> tuple[int, ...]:
    """Return the indices of linear cuts worth cutting at, always with 0 and the last.

    For each of twenty shares of the model's arithmetic one of the cuts near it with the fewest bytes is there; of about equal
    ones that with the fewest tensors, which cost the runtime fusions. One cut serves as many shares as it can. What is left of
    ``limit`` spreads: the arithmetic is divided into ``limit - 2`` equal parts, and each without a cut gives the one with the
    fewest tensors and, among those, the fewest bytes, unless it has only cuts of several tensors and a part next to it, or
    next but one, has one of a single tensor. Cuts with no arithmetic between them are one place, of which the smallest is kept.

    :param limit: the most boundaries to return, 0 and the last among them; at least 2.
    """
    cuts = linear_cuts(model)
    last = len(cuts) - 1
    if limit < 2:
        raise ModelError(f'a model has at least two boundaries; set the limit above {limit}')
    shares = work_shares(model)
    inner = [cut for cut in cuts[1:last] if 0 < shares[cut.index] < 1]
    chosen = _cheapest([cut for cut in inner if END_SHARE <= shares[cut.index] <= 1 - END_SHARE], shares)[: limit - 2]
    parts = limit - 2

    def part_of(cut: Cut) -> int:
        return min(int(shares[cut.index] * parts), parts - 1)

    best: dict[int, Cut] = {}
    for cut in inner if parts else ():
        held = best.get(part_of(cut))
        if held is None or (len(cut.tensors), cut.bytes) < (len(held.tensors), held.bytes):
            best[part_of(cut)] = cut
    taken = {part_of(cut) for cut in chosen}
    single = {part for part, cut in best.items() if len(cut.tensors) == 1}
    for part, cut in sorted(best.items(), key=lambda item: (len(item[1].tensors), item[1].bytes, item[0])):
        lonely = part in single or not single & {part - 2, part - 1, part + 1, part + 2}
        if len(chosen) < parts and part not in taken and lonely:
            chosen.append(cut)
    kept: list[Cut] = []
    for cut in sorted(chosen, key=lambda cut: cut.index):
        if not kept or shares[kept[-1].index] != shares[cut.index]:
            kept.append(cut)
        elif cut.bytes < kept[-1].bytes:
            kept[-1] = cut
    return (0, *(cut.index for cut in kept), last)


def work_shares(model: Model) -> tuple[float, ...]:
    """Return for each linear cut the share of the model's arithmetic that is done there, 0 to 1."""
    done = [0.0, *accumulate(layer_operations(model))]
    return tuple(amount / done[-1] if done[-1] else 0.0 for amount in done)


def near_shares(shares: Sequence[float]) -> list[list[int]]:
    """Return for each of twenty shares of the work which places are near it.

    :param shares: of the places, 0 to 1.
    """
    middles = [(number + 0.5) / SHARES for number in range(SHARES)]
    return [[place for place, share in enumerate(shares) if abs(share - middle) <= SHARE_TOLERANCE] for middle in middles]


def _cheapest(cuts: Sequence[Cut], shares: Sequence[float]) -> list[Cut]:
    """Return few cuts, those that serve most shares first: near each share one of those with the fewest bytes (set cover)."""
    wanted = []
    for near in near_shares([shares[cut.index] for cut in cuts]):
        least = min((cuts[place].bytes for place in near), default=0)
        wanted.append({place for place in near if cuts[place].bytes <= _ABOUT_EQUAL * least})
    chosen: list[Cut] = []
    while wanted := [places for places in wanted if places]:
        counts = Counter(place for places in wanted for place in places)
        place = min(counts, key=lambda place: (-counts[place], len(cuts[place].tensors), cuts[place].bytes, place))
        chosen.append(cuts[place])
        wanted = [places for places in wanted if place not in places]
    return chosen


def _checked(model: Model, layers: Collection[int]) -> frozenset[int]:
    for index in layers:
        if not 0 <= index < len(model.layers):
            raise ModelError(f'there is no layer {index}: {model.name} has layers 0 to {len(model.layers) - 1}')
    return frozenset(layers)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts: what has been computed so far, and the tensors on its frontier."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.model import Model, TensorInfo
from edge_dnn_partition.graph.work import layer_operations


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

    The model's arithmetic is divided into ``limit - 2`` equal parts. Each part gives the
    cut with the fewest tensors and, among those, the fewest bytes; of equals the first.
    A part that only has cuts of several tensors gives none if a part next to it, or next
    but one, has one of a single tensor: several tensors cost the runtime fusions as well as the link bytes.
    Cuts with no arithmetic between them are one place, of which the smallest is kept.

    :param limit: the most boundaries to return, 0 and the last among them; at least 2.
    """
    cuts = linear_cuts(model)
    last = len(cuts) - 1
    if limit < 2:
        raise ModelError(f'a model has at least two boundaries; set the limit above {limit}')
    done = [0.0]
    for operations in layer_operations(model):
        done.append(done[-1] + operations)
    parts = limit - 2
    best: dict[int, Cut] = {}
    for cut in cuts[1:last]:
        if not 0 < done[cut.index] < done[-1]:
            continue
        part = min(int(done[cut.index] / done[-1] * parts), parts - 1) if parts else -1
        if part < 0:
            continue
        held = best.get(part)
        if held is None or (len(cut.tensors), cut.bytes) < (len(held.tensors), held.bytes):
            best[part] = cut
    single = {part for part, cut in best.items() if len(cut.tensors) == 1}
    inner: list[Cut] = []
    for part, cut in sorted(best.items()):
        if part not in single and single & {part - 2, part - 1, part + 1, part + 2}:
            continue
        if inner and done[inner[-1].index] == done[cut.index]:
            if cut.bytes < inner[-1].bytes:
                inner[-1] = cut
            continue
        inner.append(cut)
    return (0, *(cut.index for cut in inner), last)


def _checked(model: Model, layers: Collection[int]) -> frozenset[int]:
    for index in layers:
        if not 0 <= index < len(model.layers):
            raise ModelError(f'there is no layer {index}: {model.name} has layers 0 to {len(model.layers) - 1}')
    return frozenset(layers)

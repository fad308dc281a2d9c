# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a model is: layers between tensors."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_dnn_partition.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    import onnx

__all__ = ['Layer', 'Model', 'TensorInfo', 'load_model']


@dataclass(frozen=True)
class Layer:
    """A node of the prepared graph with the activations that follow it.

    ``inputs`` and ``outputs`` name the tensors that come from and go to other
    layers (or the model's ends), not weights. ``output_bytes`` is the size of all
    outputs, ``weight_bytes`` that of all weights read; a weight that two layers
    share is counted in both, since each stage needs it.
    """

    index: int
    name: str
    operators: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_bytes: int
    weight_bytes: int


@dataclass(frozen=True, eq=False)
class Model:
    """A prepared model.

    ``sha256`` identifies the user's file (with its external weights), ``key`` also
    the shapes and the version of the preparation. ``path`` is the prepared file in
    the cache. ``layers`` stand in a topological order that keeps frontiers small.
    """

    name: str
    sha256: str
    key: str
    path: Path
    source_path: Path
    layers: tuple[Layer, ...]
    tensors: Mapping[str, TensorInfo]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: For each layer, the positions of its nodes in ``proto.graph.node``, in that order.
    layer_nodes: tuple[tuple[int, ...], ...] = field(repr=False)
    #: Why the author's nodes were kept as they are; empty where they were optimised.
    remark: str = ''
    #: The kind of made-up inputs (`feeds.KINDS`) on which tensors have the sizes that depend on data.
    example: int = 0
    #: What is carried from frame to frame: outputs by the inputs that they become.
    states: Mapping[str, str] = field(default_factory=dict)
    #: Gives the file of a weight by its hash, where the model's own file is not here (`by_hash`); none: it is here.
    weights: Callable[[str], Path] | None = field(default=None, repr=False)
    #: Whether the weights are other numbers than the model's, of the same sizes.
    made_up: bool = False

    @functools.cached_property
    def proto(self) -> onnx.ModelProto:
        """The prepared graph without large weights, read when it is first asked for.

        :raises ModelError: the prepared file cannot be read.
        """
        from edge_dnn_partition.graph.prepare import load_prepared

        return load_prepared(self.path)


def load_model(path: str | os.PathLike[str], *, shapes: Mapping[str, Sequence[int]] | None = None,
               usual: Mapping[str, Sequence[int]] | None = None, states: Mapping[str, str] | None = None) -> Model:  # fmt: skip
    """Prepare a model (or take it from the cache) and find its layers.

    Where its file is missing and its parts are there (`by_hash`), it is the model that they say, with the shapes that it has there.

    :param shapes: for models with open dimensions, the shape of each open input; a batch is 1 without.
    :param usual: what is open of an input otherwise, such as the preprocessing's shape; see `shapes.fix_shapes`.
    :param states: outputs by the inputs that they become for the next frame; no cut parts the two.
    :raises ModelError: the file cannot be used; the message says what to do.
    """
    from edge_dnn_partition.graph.by_hash import load_parts, parts_folder
    from edge_dnn_partition.graph.layering import layering_of
    from edge_dnn_partition.graph.prepare import prepare
    from edge_dnn_partition.graph.source import read_source
    from edge_dnn_partition.graph.states import key_with

    path = Path(path)
    if not path.exists() and parts_folder(path).is_dir():
        return load_parts(path, dict(states or {}))
    source = read_source(path)
    states = dict(states or {})
    prepared = prepare(source, shapes, usual, states)
    key = key_with(prepared.key, states)
    found = layering_of(prepared.path, key, states)
    return Model(
        name=source.path.stem, sha256=source.sha256, key=key, path=prepared.path,
        source_path=source.path, layers=found.layers, tensors=found.tensors, inputs=found.inputs,
        outputs=found.outputs, layer_nodes=found.layer_nodes, remark=found.remark, example=found.example, states=states)

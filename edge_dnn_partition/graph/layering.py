# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a prepared model's layers and tensors are, kept beside it: to find them takes onnx and, for a large model, a second."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.cache import keep
from edge_dnn_partition.graph.model import Layer
from edge_dnn_partition.graph.tensor_info import TensorInfo

_VERSION: Final = 1
"""Raised when the layers of a prepared model change, or the file's form does."""


@dataclass(frozen=True)
class Layering:
    """The layers of a model in topological order, the nodes of each, and what else the graph says; see `Model`."""

    layers: tuple[Layer, ...]
    layer_nodes: tuple[tuple[int, ...], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, TensorInfo]
    remark: str
    example: int


def layering_of(path: Path, key: str, states: Mapping[str, str]) -> Layering:
    """Return the layers of a prepared model, from the file beside it or, where that is not there or no good, from the graph.

    :param path: of the prepared model.
    :param key: the model's, with its states.
    :raises ModelError: the graph cannot be read, the states do not fit it, or an output of it is no tensor.
    """
    file = path.with_name(f'layers_{key[:16]}.json')
    try:
        return _read(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    from edge_dnn_partition.graph.layers import build_layers
    from edge_dnn_partition.graph.prepare import load_prepared

    made = build_layers(load_prepared(path), states)
    keep(file, json.dumps(_written(made), separators=(',', ':')).encode())
    return made


def _written(made: Layering) -> dict[str, Any]:
    return {
        'version': _VERSION, 'layers': [astuple(layer) for layer in made.layers], 'layer_nodes': made.layer_nodes,
        'inputs': made.inputs, 'outputs': made.outputs, 'tensors': [astuple(tensor) for tensor in made.tensors.values()],
        'remark': made.remark, 'example': made.example,
    }  # fmt: skip


def _read(document: Any) -> Layering:
    if document['version'] != _VERSION:
        raise ValueError('of another version')
    layers = (
        Layer(index, name, tuple(operators), tuple(inputs), tuple(outputs), output_bytes, weight_bytes)
        for index, name, operators, inputs, outputs, output_bytes, weight_bytes in document['layers']
    )
    tensors = (TensorInfo(name, dtype, tuple(shape), observed) for name, dtype, shape, observed in document['tensors'])
    return Layering(
        tuple(layers), tuple(map(tuple, document['layer_nodes'])), tuple(document['inputs']), tuple(document['outputs']),
        {tensor.name: tensor for tensor in tensors}, document['remark'], document['example'],
    )  # fmt: skip

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""State: outputs of a model that become inputs of it for the next frame (docs/state.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from edge_dnn_partition.errors import ModelError, nearest
from edge_dnn_partition.graph.shapes import true_inputs
from edge_dnn_partition.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    from onnx import ModelProto

SMALL_BYTES: Final = 4096
"""A state that is no larger goes to the source with each frame ..."""
STATE_INTERVAL: Final = 10
"""... a larger one once in so many, unless a parameter says otherwise."""


def check_states(proto: ModelProto, tensors: Mapping[str, TensorInfo], states: Mapping[str, str]) -> dict[str, str]:
    """Return states whose two ends fit each other: outputs by the inputs that they become.

    An output may be longer than its input on one axis, as a key-value cache is to which a token was added: then its last part is
    carried on (`carried`).

    :raises ModelError: if an end does not exist, the two do not fit, or no output is left as a result.
    """
    inputs = [value.name for value in true_inputs(proto.graph)]
    outputs = [value.name for value in proto.graph.output]
    for name, output in states.items():
        for what, end, known in (('input', name, inputs), ('output', output, outputs)):
            if end not in known:
                raise ModelError(f'state {name!r}: the model has no {what} {end!r}{nearest(end, known)}')
        given, made = tensors.get(name), tensors.get(output)
        if given is None or made is None or made.observed or 0 in given.shape:
            raise ModelError(
                f'state {name!r}: the shapes of {name!r} and {output!r} must be known and hold values; give them in model.shapes'
            )
        fits = given.dtype == made.dtype and len(given.shape) == len(made.shape)
        longer = [axis for axis, (a, b) in enumerate(zip(given.shape, made.shape, strict=False)) if a != b]
        if not fits or len(longer) > 1 or any(made.shape[axis] < given.shape[axis] for axis in longer):
            raise ModelError(
                f'state {name!r}: {output!r} {list(made.shape)} cannot become {name!r} {list(given.shape)} of the next frame; '
                'give the input the shape of the output in model.shapes'
            )
    if states and not set(outputs) - set(states.values()):
        raise ModelError('every output of the model is state, so that no result is left; add an output, such as an Identity of one')
    return dict(states)


def key_with(key: str, states: Mapping[str, str]) -> str:
    """Return the key of a prepared model whose layers follow these states: they may differ from those without."""
    return hashlib.sha256(json.dumps([key, sorted(states.items())]).encode()).hexdigest() if states else key


def carried(made: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return what an output becomes for the next frame: itself, or its last part where it is longer than the input's shape."""
    if made.shape == shape:
        return made
    return made[tuple(slice(has - wants, None) for has, wants in zip(made.shape, shape, strict=True))]

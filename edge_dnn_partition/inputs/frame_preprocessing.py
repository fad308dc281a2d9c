# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From what a frame begins with to the model's inputs: each image by its own preprocessing, and the constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import TensorInfo
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.planning.plans.plan import IMAGE
from edge_dnn_partition.transport.tensors import DTYPES, Array

from .preprocess import Preprocessing


@dataclass(frozen=True, eq=False)
class FramePreprocessing:
    """How a worker makes a model's inputs of a frame's values.

    :param inputs: where they arise.
    :param images: the preprocessing of each image, by the model's input.
    :param constants: by the model's input.
    """

    inputs: ModelInputs
    images: Mapping[str, Preprocessing] = field(default_factory=dict)
    constants: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of_image(cls, name: str, preprocessing: Preprocessing) -> FramePreprocessing:
        """Return that of a model one input of which is made of an image."""
        return cls(ModelInputs({name: IMAGE}), {name: preprocessing})

    @property
    def first(self) -> Preprocessing | None:
        """The preprocessing of the first image; None if the model takes none."""
        return next((self.images[name] for name, image in self.inputs.images.items() if image == IMAGE), None)

    def apply(self, values: Mapping[str, Array], encodings: Mapping[str, str]) -> dict[str, Array]:
        """Return the values with the images replaced by the model's inputs, as the first stage of a plan does it.

        :param encodings: of the images' data, by the images' names.
        :raises WireError: if an image is broken.
        """
        made = dict(values)
        for name, image in self.inputs.images.items():
            made[name] = self.images[name].apply(made.pop(image), encodings.get(image, 'jpeg'))
        return made


def filled(given: Any, tensor: TensorInfo, what: str) -> Array:
    """Return a value from a fleet file as a tensor of the model.

    :param given: one number for all of it, nested lists, or an array; of the tensor's shape, or as many numbers in order.
    :param what: what to call it in an error.
    :raises PlanError: if it does not fit.
    """
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise PlanError(f'{what}: {tensor.name!r} has ONNX element type {tensor.dtype}, which cannot be given')
    try:
        array = np.asarray(given)
        numbers = array.astype(dtype)
        whole = array.dtype.kind in 'biuf' and (dtype.kind not in 'biu' or np.array_equal(numbers, array))
    except (ValueError, TypeError, OverflowError):
        raise PlanError(f'{what}: give numbers, or lists of them of equal lengths') from None
    if not whole:
        raise PlanError(f'{what}: {tensor.name!r} takes {dtype.name}, and not all of these are such numbers')
    if numbers.ndim == 0:
        return np.full(tensor.shape, numbers, dtype)
    if numbers.size != np.prod(tensor.shape):
        raise PlanError(f'{what}: {list(numbers.shape)} does not fit {tensor.name!r} {list(tensor.shape)}')
    return numbers.reshape(tensor.shape)


def array_in(path: Path, what: str) -> Array:
    """Return the array in a file of NumPy.

    :raises PlanError: if there is none.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PlanError(f'{what}: {path} cannot be read ({error}); write it with numpy.save') from None
    if not isinstance(found, np.ndarray):
        raise PlanError(f'{what}: {path} holds several arrays; write one with numpy.save')
    return found

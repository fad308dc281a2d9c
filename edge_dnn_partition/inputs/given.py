# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The values of a frame that somebody gives by name, checked against the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.errors import WireError, nearest
from edge_dnn_partition.graph.model import Model, TensorInfo
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.transport.tensors import DTYPES, Array

from .frame import CameraImage, InputValue

_ENCODINGS: Final = {('u1', 1): 'mono8', ('u1', 3): 'rgb8', ('u1', 4): 'rgba8', ('u2', 1): '16UC1', ('f4', 1): '32FC1'}
"""By the type and number of an array's channels."""


@dataclass(frozen=True)
class GivenInputs:
    """What a model takes of those who give values by name.

    :param inputs: where the model's inputs arise.
    """

    model: Model
    inputs: ModelInputs

    def values(self, arrays: Mapping[str, Array], image: CameraImage | None = None) -> dict[str, InputValue]:
        """Return a frame's values.

        :param arrays: by the model's input; of one that is made of an image: pixels, or the bytes of a JPEG or PNG, see
            `image_of`. One that lacks leading axes of 1 gets them; numbers of the same kind become the model's.
        :param image: the first image, unless it is among the arrays.
        :raises WireError: if one is missing, unknown or does not fit.
        """
        names = self.inputs.images
        values: dict[str, InputValue] = {}
        if image is not None:
            if not names:
                raise WireError(f'{self.model.name} takes no image; give the tensors {self._wanted()}')
            values[next(iter(names.values()))] = image
        for name, array in arrays.items():
            if name in names:
                if names[name] in values:
                    raise WireError(f'two images for {name!r}: give it as a tensor or as the image, not both')
                values[names[name]] = image_of(array, name)
            elif name in self.inputs.tensors:
                values[name] = fitted(array, self.model.tensors[name])
            elif name in self.inputs.kept:
                what = 'constant' if name in self.inputs.constants else 'state'
                raise WireError(f'input {name!r} is a {what} in the fleet file, and cannot be given')
            else:
                raise WireError(f'{self.model.name} has no input {name!r}{nearest(name, self.model.inputs)}; give {self._wanted()}')
        self.check(values)
        return values

    def check(self, names: Iterable[str]) -> None:
        """Raise if a value is missing.

        :param names: of the values that are there.
        :raises WireError: that names those that are not.
        """
        model_name = {image: name for name, image in self.inputs.images.items()}
        if missing := self.inputs.given.difference(names):
            words = ', '.join(sorted(repr(model_name.get(name, name)) for name in missing))
            raise WireError(f'{words} missing: give {self._wanted()}')

    def _wanted(self) -> str:
        tensors = (f'{name} {list(self.model.tensors[name].shape)}' for name in self.inputs.tensors)
        return ', '.join([*(f'{name} (an image)' for name in self.inputs.images), *tensors])


def image_of(array: Array, name: str) -> CameraImage:
    """Return the image in an array.

    :param array: ``[height, width]`` or ``[height, width, channels]`` of uint8 (gray, RGB or RGBA), uint16 (depth in
        millimetres) or float32 (depth in metres), or ``[bytes]`` of a JPEG or PNG.
    :param name: for the error.
    :raises WireError: if it is none of these.
    """
    if array.ndim == 1 and array.dtype == np.uint8:
        return CameraImage.of_bytes(array)
    channels = array.shape[2] if array.ndim == 3 else 1
    encoding = _ENCODINGS.get((array.dtype.str[1:], channels))
    if array.ndim not in (2, 3) or array.size == 0 or encoding is None:
        raise WireError(
            f'input {name!r} is made of an image, and this is {array.dtype} {list(array.shape)}; give uint8 [height, width] or '
            '[height, width, 3 (RGB)], depth as uint16 or float32 [height, width], or the bytes of a JPEG or PNG'
        )
    pixels = np.ascontiguousarray(array.reshape(*array.shape[:2], channels), array.dtype.newbyteorder('<'))
    return CameraImage(pixels.view(np.uint8).reshape(*array.shape[:2], -1), encoding)


def fitted(array: Array, tensor: TensorInfo) -> Array:
    """Return an array as an input of the model.

    :raises WireError: if its shape, or the kind of its numbers, is another.
    """
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise WireError(f'input {tensor.name!r} has ONNX element type {tensor.dtype}, which cannot be sent')
    shape, leading = list(array.shape), len(tensor.shape) - array.ndim
    if leading > 0 and all(size == 1 for size in tensor.shape[:leading]):
        array = array.reshape((1,) * leading + array.shape)
    if array.ndim != len(tensor.shape) or any(want not in (have, -1) for want, have in zip(tensor.shape, array.shape, strict=True)):
        raise WireError(f'input {tensor.name!r} has shape {shape}; give {list(tensor.shape)}')
    if array.dtype == dtype:
        return array
    made = array.astype(dtype) if np.can_cast(array.dtype, dtype, 'same_kind') else None
    if made is None or (dtype.kind != 'f' and not np.array_equal(made, array)):
        raise WireError(f'input {tensor.name!r} is {array.dtype}; give {dtype.name}')
    return made

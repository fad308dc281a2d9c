# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From a camera image to a model's input: decode, resize, normalise.

Every device must compute the same input from the same image, or a frame's result would
depend on the plan. Each step is therefore an exact one: libjpeg's integer transform, OpenCV's
bit-exact resizing (``linear`` is INTER_LINEAR_EXACT, ``nearest`` is INTER_NEAREST_EXACT), and
a table of the 256 normalised values of each channel in place of arithmetic that a compiler may
contract. ``area`` and ``cubic`` may differ between processor types in a pixel's last bit.

A JPEG that is at least twice as large as needed is decoded at 1/2, 1/4 or 1/8 of its size, never
below the size wanted, which costs a fraction and averages the pixels that a plain
bilinear resize would skip; what differs from a full decode is aliasing. ``reduced_decoding:
false`` turns that off.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np

from edge_dnn_partition.errors import ModelError, UserError, WireError
from edge_dnn_partition.graph.model import TensorInfo
from edge_dnn_partition.yaml_file import read_yaml

from .image import COMPRESSED, Pixels, decode_compressed, decode_raw, image_size, largest_reduction

_INTERPOLATION: Final = {'linear': cv2.INTER_LINEAR_EXACT, 'nearest': cv2.INTER_NEAREST_EXACT,
                         'area': cv2.INTER_AREA, 'cubic': cv2.INTER_CUBIC}
_DTYPES: Final = {'float32': (1, np.float32), 'uint8': (2, np.uint8), 'float16': (10, np.float16)}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    'layout': ('NCHW', 'NHWC'),
    'colour': ('rgb', 'bgr', 'gray'),
    'resize': ('stretch', 'letterbox', 'center_crop'),
    'interpolation': tuple(_INTERPOLATION),
    'dtype': tuple(_DTYPES),
}


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images.

    A value becomes ``(pixel * scale - mean) / std``, channel by channel in the order of
    ``colour``; an image of dtype uint8 is passed as it is.

    :param width: of the model's input, in pixels.
    :param height: of the model's input, in pixels.
    :param layout: ``NCHW`` or ``NHWC``; the batch is 1.
    :param colour: the channels' order, ``rgb``, ``bgr`` or ``gray``.
    :param dtype: ``float32``, ``float16`` or ``uint8``.
    :param scale: multiplies each pixel's 0 .. 255.
    :param mean: subtracted after scaling; one number or one for each channel.
    :param std: divides last; one number or one for each channel.
    :param resize: ``stretch`` to the size; ``letterbox`` keeps the aspect and pads;
        ``center_crop`` keeps the aspect and cuts off.
    :param interpolation: ``linear``, ``nearest``, ``area`` or ``cubic``.
    :param pad_value: the pixel value of a letterbox's border.
    :param reduced_decoding: let the JPEG decoder reduce large images.
    :raises UserError: if a value is out of its range.
    """

    width: int
    height: int
    layout: Literal['NCHW', 'NHWC'] = 'NCHW'
    colour: Literal['rgb', 'bgr', 'gray'] = 'rgb'
    dtype: Literal['float32', 'float16', 'uint8'] = 'float32'
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: Literal['stretch', 'letterbox', 'center_crop'] = 'stretch'
    interpolation: Literal['linear', 'nearest', 'area', 'cubic'] = 'linear'
    pad_value: int = 114
    reduced_decoding: bool = True

    def __post_init__(self) -> None:
        """Check every value's type and range."""
        for name in ('width', 'height', 'pad_value'):
            value = getattr(self, name)
            low, high = (0, 255) if name == 'pad_value' else (1, 16384)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UserError(f'preprocessing: {name}: {value!r} must be a whole number '
                                f'from {low} to {high}')
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UserError(f'preprocessing: {name}: {value!r} must be one of {", ".join(choices)}')
        if not isinstance(self.reduced_decoding, bool):
            raise UserError(f'preprocessing: reduced_decoding: {self.reduced_decoding!r} '
                            'must be true or false')
        for name in ('mean', 'std'):
            values = getattr(self, name)
            if len(values) not in (1, self.channels) or not all(map(_is_number, values)):
                raise UserError(f'preprocessing: {name}: {list(values)!r} must be 1 or '
                                f'{self.channels} finite numbers')
        if not _is_number(self.scale) or self.scale <= 0 or min(self.std) <= 0:
            raise UserError('preprocessing: scale and std must be finite numbers above 0')

    @property
    def channels(self) -> int:
        """The number of colour channels."""
        return 1 if self.colour == 'gray' else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of what ``apply`` returns."""
        if self.layout == 'NCHW':
            return (1, self.channels, self.height, self.width)
        return (1, self.height, self.width, self.channels)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from a mapping as it stands in YAML: ``size: [width, height]`` or both by name.

        :raises UserError: for a key that is unknown (the nearest one is named) or missing,
            or a value out of its range.
        """
        if not isinstance(values, Mapping):
            raise UserError('preprocessing: must be a mapping such as {size: [512, 288]}')
        keys = dict(values)
        if 'size' in keys:
            size = keys.pop('size')
            if not isinstance(size, (list, tuple)) or len(size) != 2:
                raise UserError(f'preprocessing: size: {size!r} must be [width, height]')
            if 'width' in keys or 'height' in keys:
                raise UserError('preprocessing: give size, or width and height, not both')
            keys['width'], keys['height'] = size
        known = [field.name for field in dataclasses.fields(cls)]
        for key in keys:
            if key not in known:
                near = difflib.get_close_matches(str(key), [*known, 'size'], 1, 0.0)[0]
                raise UserError(f'preprocessing: unknown key {key!r}; did you mean {near!r}?')
        for key in ('width', 'height'):
            if key not in keys:
                raise UserError('preprocessing: size: [width, height] is missing')
        for key in ('mean', 'std'):
            if key in keys:
                value = keys[key]
                keys[key] = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        return cls(**keys)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Preprocessing:
        """Read from a YAML file.

        :raises UserError: if it cannot be read, is no YAML, or has a wrong value.
        """
        values = read_yaml(Path(path), kind='preprocessing file')
        try:
            return cls.from_dict(values)
        except UserError as error:
            raise UserError(f'{path}: {error}') from error

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that ``from_dict`` reads."""
        values = dataclasses.asdict(self)
        return values | {'mean': list(self.mean), 'std': list(self.std)}

    def check(self, tensor: TensorInfo) -> None:
        """Refuse to prepare images for an input that they do not fit.

        :param tensor: the model's input; a size of -1 fits any.
        :raises ModelError: that names both shapes or dtypes.
        """
        fits = len(tensor.shape) == 4 and all(
            want in (-1, have) for want, have in zip(tensor.shape, self.shape, strict=True))
        if not fits:
            raise ModelError(f'preprocessing gives {list(self.shape)} ({self.layout}), but input '
                             f'{tensor.name!r} is {list(tensor.shape)}; correct size, layout or colour')
        if tensor.dtype != _DTYPES[self.dtype][0]:
            raise ModelError(f'preprocessing gives {self.dtype}, but input {tensor.name!r} has ONNX '
                             f'element type {tensor.dtype}; correct dtype')

    def apply(self, data: bytes | memoryview | np.ndarray[Any, Any], encoding: str, *,
              width: int | None = None, height: int | None = None, step: int | None = None
              ) -> np.ndarray[Any, Any]:
        """Turn one camera image into the model's input.

        :param data: the image's bytes, as ROS messages carry them.
        :param encoding: ``jpeg``, ``png``, or a raw one such as ``bgr8`` (image.ENCODINGS).
        :param width: of a raw image; may be left out where ``data`` is an array [h, w, …].
        :param height: of a raw image.
        :param step: bytes from one row of a raw image to the next.
        :returns: an array of ``shape`` and ``dtype``.
        :raises WireError: if the image is broken or its bytes do not fit its size.
        """
        flat = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
        if flat.dtype != np.uint8:
            raise WireError(f'an image must be uint8, not {flat.dtype}')
        if encoding in COMPRESSED:
            flat = flat.reshape(-1)
            reduction = 1
            if encoding == 'jpeg' and self.reduced_decoding:
                source = image_size(flat, encoding)
                reduction = largest_reduction(*source, *self._scaled_size(*source))
            pixels = decode_compressed(flat, encoding, reduction=reduction)
        else:
            if flat.ndim >= 2:
                width = flat.shape[1] if width is None else width
                height = flat.shape[0] if height is None else height
            if width is None or height is None:
                raise WireError(f'a raw image ({encoding}) needs a width and height')
            pixels = decode_raw(flat, encoding, width=width, height=height, step=step)
        return self._normalised(self._resized(pixels))

    def to_image(self, points: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
        """Return where points of the model's input lie in the camera's image.

        :param points: x and y in pixels of the input, ``[n, 2]``.
        :param size: the image's width and height.
        """
        factors, offsets = self._placement(size)
        return np.asarray((points - offsets) / factors)

    def from_image(self, points: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
        """Return where points of the camera's image lie in the model's input; see `to_image`."""
        factors, offsets = self._placement(size)
        return np.asarray(points * factors + offsets)

    def _placement(self, size: tuple[int, int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return by what an image is scaled in x and y, and where its corner comes to lie."""
        scaled = self._scaled_size(*size)
        offsets = ((self.width - scaled[0]) // 2, (self.height - scaled[1]) // 2)
        return np.array(scaled) / np.array(size), np.array(offsets, np.float64)

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size that the whole image is scaled to."""
        if self.resize == 'stretch':
            return self.width, self.height
        choose = min if self.resize == 'letterbox' else max
        factor = choose(self.width / width, self.height / height)
        return max(1, round(width * factor)), max(1, round(height * factor))

    def _resized(self, pixels: Pixels) -> Pixels:
        scaled = self._scaled_size(pixels.shape[1], pixels.shape[0])
        if scaled != (pixels.shape[1], pixels.shape[0]):
            pixels = np.asarray(cv2.resize(pixels, scaled, interpolation=_INTERPOLATION[self.interpolation]),
                                np.uint8)
        if scaled == (self.width, self.height):
            return pixels
        left, top = (self.width - scaled[0]) // 2, (self.height - scaled[1]) // 2
        if self.resize == 'center_crop':
            return pixels[-top:-top + self.height, -left:-left + self.width]
        result = np.full((self.height, self.width, 3), self.pad_value, np.uint8)
        result[top:top + scaled[1], left:left + scaled[0]] = pixels
        return result

    @cached_property
    def _tables(self) -> list[np.ndarray[Any, Any]]:
        """For each channel, what each pixel value becomes; computed in float64, rounded once."""
        values = np.arange(256, dtype=np.float64) * self.scale
        dtype = _DTYPES[self.dtype][1]
        means, stds = (list(v) * (self.channels // len(v)) for v in (self.mean, self.std))
        return [((values - mean) / std).astype(dtype) for mean, std in zip(means, stds, strict=True)]

    def _normalised(self, pixels: Pixels) -> np.ndarray[Any, Any]:
        if self.colour == 'gray':
            planes = [cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2GRAY)]
        else:
            planes = [pixels[:, :, channel] for channel in ((2, 1, 0) if self.colour == 'rgb' else (0, 1, 2))]
        result = np.empty(self.shape, _DTYPES[self.dtype][1])
        for index, plane in enumerate(planes):
            target = result[0, index] if self.layout == 'NCHW' else result[0, :, :, index]
            if self.dtype == 'uint8':
                target[...] = plane
            else:
                target[...] = self._tables[index][plane]
        return result


def limit_threads(threads: int) -> None:
    """Let OpenCV use so many threads in this process; 1 keeps its work on the calling thread."""
    cv2.setNumThreads(threads)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From a camera image to a model's input: decode, resize, normalise.

Every device must compute the same input from the same image, or a frame's result would
depend on the plan. Each step is therefore an exact one: libjpeg's integer transform, OpenCV's
bit-exact resizing (``linear`` is INTER_LINEAR_EXACT, ``nearest`` is INTER_NEAREST_EXACT), and
a table of the 256 normalised values of each channel in place of arithmetic that a compiler may
contract; the statistics of one image come from its histogram, in whole numbers. ``area`` and
``cubic`` may differ between processor types in a pixel's last bit.

With ``reduced_decoding`` a JPEG that is at least twice as large as needed is decoded at 1/2, 1/4
or 1/8 of its size, never below the size wanted, which costs a fraction of the time. It averages
pixels that a plain bilinear resize skips, so a raw image of the same scene gives another input,
and a detector other scores: it is off unless asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np

from edge_dnn_partition.errors import ModelError, UserError, WireError
from edge_dnn_partition.graph.model import TensorInfo
from edge_dnn_partition.yaml_file import read_yaml

from .image import COMPRESSED, Depth, Pixels, decode_compressed, decode_depth, decode_raw, image_size, largest_reduction, raw_size

_Image = TypeVar('_Image', Pixels, Depth)
_INTERPOLATION: Final = {'linear': 'LINEAR_EXACT', 'nearest': 'NEAREST_EXACT', 'area': 'AREA', 'cubic': 'CUBIC'}
_DTYPES: Final = {'float32': (1, np.float32), 'uint8': (2, np.uint8), 'int8': (3, np.int8), 'float16': (10, np.float16)}
_CUTTING: Final = ('center_crop', 'stretch')
_WHOLE: Final = ('uint8', 'int8')
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    'layout': ('NCHW', 'NHWC', 'CHW', 'HWC', 'NHW', 'HW'),
    'colour': ('rgb', 'bgr', 'gray', 'depth'),
    'resize': ('stretch', 'letterbox', 'center_crop', 'fit_height'),
    'align': ('center', 'top_left'),
    'standardise': ('none', 'image', 'channel'),
    'interpolation': tuple(_INTERPOLATION),
    'dtype': tuple(_DTYPES),
}


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images.

    A value becomes ``(pixel * scale - mean) / std``, channel by channel in the order of
    ``colour``. Without ``quantisation`` a uint8 input takes the pixel as it is, an int8 one the pixel less 128.

    :param width: of the model's input, in pixels.
    :param height: of the model's input, in pixels.
    :param layout: the axes: ``NCHW`` or ``NHWC`` (the batch is 1), ``CHW`` or ``HWC`` without a batch, and for one channel
        ``NHW`` or ``HW``.
    :param colour: the channels' order, ``rgb``, ``bgr`` or ``gray``; or ``depth``: the image is one of distances, and a pixel is
        metres, 0 where nothing was measured and in a border. Distances are never mixed: ``interpolation`` is nearest, which in
        YAML is then the default, as ``scale`` 1 is.
    :param dtype: ``float32``, ``float16``, ``uint8`` or ``int8``.
    :param scale: multiplies each pixel's 0 .. 255.
    :param mean: subtracted after scaling; one number or one for each channel.
    :param std: divides last; one number or one for each channel.
    :param quantisation: ``(scale, zero_point)`` of an integer input: the value becomes ``round(value / scale) + zero_point``,
        as ONNX's QuantizeLinear does it.
    :param standardise: take mean and standard deviation from each image, over all channels (``image``) or for each
        (``channel``), in place of ``mean`` and ``std``. The deviation counts as 1 / sqrt(values) at least
        (TensorFlow's per_image_standardization); a border is no part of it.
    :param resize: ``stretch`` to the size; ``letterbox`` keeps the aspect and pads; ``center_crop`` keeps the aspect and
        cuts off; ``fit_height`` scales to the height and lets the width follow up to ``width``, pads on the right, and
        squeezes what is wider (text recognition).
    :param crop_ratio: of ``center_crop`` and ``stretch``: the share of the scaled image's shorter side that is kept; 0.875 is
        torchvision's Resize(256) before CenterCrop(224), and timm's crop_pct.
    :param align: where a letterbox puts the image: ``center``, or ``top_left`` as YOLOX does.
    :param interpolation: ``linear``, ``nearest``, ``area`` or ``cubic``.
    :param pad_value: the pixel value of a border, 0 to 255; with a fraction where the input is not of whole pixels.
    :param reduced_decoding: let the JPEG decoder reduce large images: faster, but not the same input as a raw image gives.
    :raises UserError: if a value is out of its range.
    """

    width: int
    height: int
    layout: Literal['NCHW', 'NHWC', 'CHW', 'HWC', 'NHW', 'HW'] = 'NCHW'
    colour: Literal['rgb', 'bgr', 'gray', 'depth'] = 'rgb'
    dtype: Literal['float32', 'float16', 'uint8', 'int8'] = 'float32'
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    quantisation: tuple[float, int] | None = None
    standardise: Literal['none', 'image', 'channel'] = 'none'
    resize: Literal['stretch', 'letterbox', 'center_crop', 'fit_height'] = 'stretch'
    crop_ratio: float = 1.0
    align: Literal['center', 'top_left'] = 'center'
    interpolation: Literal['linear', 'nearest', 'area', 'cubic'] = 'linear'
    pad_value: float = 114
    reduced_decoding: bool = False

    def __post_init__(self) -> None:
        """Check every value's type and range, and that they go together."""
        for name in ('width', 'height'):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 16384:
                raise UserError(f'preprocessing: {name}: {value!r} must be a whole number from 1 to 16384')
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
        if not _is_number(self.pad_value) or not 0 <= self.pad_value <= 255:
            raise UserError(f'preprocessing: pad_value: {self.pad_value!r} must be a number from 0 to 255')
        if not _is_number(self.crop_ratio) or not 0 < self.crop_ratio <= 1:
            raise UserError(f'preprocessing: crop_ratio: {self.crop_ratio!r} must be a number above 0, up to 1')
        if self.colour == 'depth' and (self.interpolation, self.standardise) != ('nearest', 'none'):
            raise UserError('preprocessing: colour: depth needs interpolation: nearest, and no standardise')
        if self.colour == 'depth' and self.dtype in _WHOLE and self.quantisation is None:
            raise UserError(f'preprocessing: colour: depth with dtype {self.dtype} needs quantisation: [scale, zero point]')
        self._check_together()

    def _check_together(self) -> None:
        """Check the values that hold for some others only."""
        if 'C' not in self.layout and self.channels > 1:
            raise UserError(f'preprocessing: layout: {self.layout} has no channels; set colour: gray')
        if self.crop_ratio < 1 and self.resize not in _CUTTING:
            raise UserError('preprocessing: crop_ratio belongs to resize: center_crop or stretch')
        if self.align != 'center' and self.resize != 'letterbox':
            raise UserError('preprocessing: align belongs to resize: letterbox')
        if self.quantisation is not None:
            if self.dtype not in _WHOLE:
                raise UserError('preprocessing: quantisation belongs to dtype uint8 or int8')
            fits = len(self.quantisation) == 2 and all(map(_is_number, self.quantisation))
            low, high = (0, 255) if self.dtype == 'uint8' else (-128, 127)
            if not (fits and self.quantisation[0] > 0 and self.quantisation[1] in range(low, high + 1)):
                raise UserError(f'preprocessing: quantisation: {list(self.quantisation)!r} must be [scale above 0, zero point '
                                f'from {low} to {high}]')
        elif self.dtype in _WHOLE and self.pad_value != int(self.pad_value):
            raise UserError(f'preprocessing: pad_value: {self.pad_value!r} must be a whole number for dtype {self.dtype}')
        if self.standardise != 'none':
            if self.mean != (0.0,) or self.std != (1.0,):
                raise UserError('preprocessing: standardise takes mean and std from each image; leave mean and std out')
            if self.dtype in _WHOLE and self.quantisation is None:
                raise UserError(f'preprocessing: standardise with dtype {self.dtype} needs quantisation: [scale, zero point]')

    @property
    def channels(self) -> int:
        """The number of colour channels."""
        return 1 if self.colour in ('gray', 'depth') else 3

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what ``apply`` returns."""
        sizes = {'N': 1, 'C': self.channels, 'H': self.height, 'W': self.width}
        return tuple(sizes[axis] for axis in self.layout)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from a mapping as it stands in YAML: ``size: [width, height]`` or both by name.

        :raises UserError: for a key that is unknown (the nearest one is named) or missing,
            or a value out of its range.
        """
        if not isinstance(values, Mapping):
            raise UserError('preprocessing: must be a mapping such as {size: [512, 288]}')
        keys = dict(values)
        if keys.get('colour') == 'depth':
            keys = {'scale': 1.0, 'interpolation': 'nearest', **keys}
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
        if keys.get('quantisation') is not None:
            value = keys['quantisation']
            keys['quantisation'] = tuple(value) if isinstance(value, (list, tuple)) else (value,)
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
        for key in ('mean', 'std', 'quantisation'):
            if values[key] is not None:
                values[key] = list(values[key])
        return values

    def check(self, tensor: TensorInfo) -> None:
        """Refuse to prepare images for an input that they do not fit.

        :param tensor: the model's input; a size of -1 fits any.
        :raises ModelError: that names both shapes or dtypes.
        """
        fits = len(tensor.shape) == len(self.shape) and all(
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
        if encoding in COMPRESSED and self.colour == 'depth':
            return self._normalised(*self._resized(decode_depth(flat.reshape(-1), encoding, width=0, height=0)))
        if encoding in COMPRESSED:
            flat = flat.reshape(-1)
            reduction = 1
            if encoding == 'jpeg' and self.reduced_decoding:
                source = image_size(flat, encoding)
                reduction = largest_reduction(*source, *self._scaled_size(*source))
            pixels = decode_compressed(flat, encoding, reduction=reduction)
        else:
            if flat.ndim >= 2:
                size = raw_size(flat.shape, encoding)
                width, height = size[0] if width is None else width, size[1] if height is None else height
            if width is None or height is None:
                raise WireError(f'a raw image ({encoding}) needs a width and height')
            if self.colour == 'depth':
                return self._normalised(*self._resized(decode_depth(flat, encoding, width=width, height=height, step=step)))
            pixels = decode_raw(flat, encoding, width=width, height=height, step=step)
        return self._normalised(*self._resized(pixels))

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

    def intrinsics(self, matrix: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
        """Return the camera matrix of the model's input, ``[3, 3]``, for that of the camera's image.

        Pixels' centres have whole coordinates, as in ROS, and resizing keeps the places of pixels' edges, as OpenCV's does.

        :param size: the image's width and height.
        """
        factors, offsets = self._placement(size)
        shift = (factors - 1) / 2 + offsets
        placed = np.array([[factors[0], 0, shift[0]], [0, factors[1], shift[1]], [0, 0, 1]])
        return np.asarray(placed @ matrix.reshape(3, 3))

    def _placement(self, size: tuple[int, int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return by what an image is scaled in x and y, and where its corner comes to lie."""
        scaled = self._scaled_size(*size)
        return np.array(scaled) / np.array(size), np.array(self._offsets(scaled), np.float64)

    def _offsets(self, scaled: tuple[int, int]) -> tuple[int, int]:
        """Return where the corner of the scaled image comes to lie; negative where it is cut off."""
        if self.resize == 'fit_height' or self.align == 'top_left':
            return 0, 0
        return (self.width - scaled[0]) // 2, (self.height - scaled[1]) // 2

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size that the whole image is scaled to."""
        if self.resize == 'fit_height':
            return min(self.width, max(1, math.ceil(self.height * width / height))), self.height
        choose = min if self.resize == 'letterbox' else max
        wanted = math.floor(self.width / self.crop_ratio + 1e-9), math.floor(self.height / self.crop_ratio + 1e-9)
        if self.resize == 'stretch':
            return wanted
        factor = choose(want / side for want, side in zip(wanted, (width, height), strict=True))
        return max(1, round(width * factor)), max(1, round(height * factor))

    def _resized(self, pixels: _Image) -> tuple[_Image, tuple[int, int]]:
        """Return the part of the scaled image that the model sees, and where its corner lies in the input."""
        scaled = self._scaled_size(pixels.shape[1], pixels.shape[0])
        if scaled != (pixels.shape[1], pixels.shape[0]):
            import cv2

            interpolation = getattr(cv2, f'INTER_{_INTERPOLATION[self.interpolation]}')
            pixels = np.asarray(cv2.resize(pixels, scaled, interpolation=interpolation), pixels.dtype)
        left, top = self._offsets(scaled)
        if self.resize in _CUTTING:
            return pixels[-top:-top + self.height, -left:-left + self.width], (0, 0)
        return pixels, (left, top)

    def _value(self, pixel: np.ndarray[Any, Any] | float, mean: float, std: float) -> np.ndarray[Any, Any]:
        """Return what pixel values become; computed in float64, rounded once."""
        dtype = _DTYPES[self.dtype][1]
        if self.quantisation is None and self.dtype in _WHOLE:
            return np.asarray(pixel - (128 if self.dtype == 'int8' else 0)).astype(dtype)
        values = (np.asarray(pixel, np.float64) * self.scale - mean) / std
        if self.quantisation is not None:
            step, zero = self.quantisation
            limits = np.iinfo(np.int8 if self.dtype == 'int8' else np.uint8)
            values = np.clip(np.rint(values / step) + zero, limits.min, limits.max)
        return np.asarray(values.astype(dtype))

    @cached_property
    def _tables(self) -> list[np.ndarray[Any, Any]]:
        """For each channel, what each pixel value becomes, and behind them the border's."""
        means, stds = (list(v) * (self.channels // len(v)) for v in (self.mean, self.std))
        return [self._table(mean, std) for mean, std in zip(means, stds, strict=True)]

    def _table(self, mean: float, std: float) -> np.ndarray[Any, Any]:
        return self._value(np.append(np.arange(256, dtype=np.float64), self.pad_value), mean, std)

    def _tables_of(self, planes: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Return the tables of one image whose own statistics count."""
        counts = [np.bincount(plane.reshape(-1), minlength=256) for plane in planes]
        if self.standardise == 'image':
            counts = [np.asarray(sum(counts))] * len(counts)
        return [self._table(*self._statistics(count)) for count in counts]

    def _statistics(self, count: np.ndarray[Any, Any]) -> tuple[float, float]:
        """Return mean and deviation of scaled pixels from how often each value occurs."""
        total, levels = int(count.sum()), np.arange(256)
        first, second = int((count * levels).sum()), int((count * levels ** 2).sum())
        deviation = math.sqrt(total * second - first * first) / total
        return self.scale * first / total, max(self.scale * deviation, 1 / math.sqrt(total))

    def _normalised(self, pixels: Pixels | Depth, corner: tuple[int, int]) -> np.ndarray[Any, Any]:
        (left, top), (height, width) = corner, pixels.shape[:2]
        if self.colour == 'depth':
            metres = np.zeros((self.height, self.width))
            metres[top:top + height, left:left + width] = pixels
            return self._value(metres, self.mean[0], self.std[0]).reshape(self.shape)
        if self.colour == 'gray':
            import cv2

            planes = [np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2GRAY))]
        else:
            planes = [pixels[:, :, channel] for channel in ((2, 1, 0) if self.colour == 'rgb' else (0, 1, 2))]
        tables = self._tables if self.standardise == 'none' else self._tables_of(planes)
        result = np.empty(self.shape, _DTYPES[self.dtype][1])
        batch = result[0] if self.layout[0] == 'N' else result
        for index, (plane, table) in enumerate(zip(planes, tables, strict=True)):
            target = batch if 'C' not in self.layout else batch[index] if self.layout.endswith('HW') else batch[:, :, index]
            if (width, height) != (self.width, self.height):
                target[...] = table[256]
            target[top:top + height, left:left + width] = plane if self._passes_pixels else table[plane]
        return result

    @property
    def _passes_pixels(self) -> bool:
        return self.dtype == 'uint8' and self.quantisation is None


def limit_threads(threads: int) -> None:
    """Let OpenCV use so many threads in this process; 1 keeps its work on the calling thread."""
    import cv2

    cv2.setNumThreads(threads)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

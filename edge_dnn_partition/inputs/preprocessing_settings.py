# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a model wants its images, as a preprocessing file says it: the values, which of them go together, what input they fit."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from edge_dnn_partition.errors import ModelError, UserError
from edge_dnn_partition.graph.model import TensorInfo
from edge_dnn_partition.yaml_file import read_yaml

if TYPE_CHECKING:
    from typing_extensions import Self

INTERPOLATION: Final = {'linear': 'LINEAR_EXACT', 'nearest': 'NEAREST_EXACT', 'area': 'AREA', 'cubic': 'CUBIC'}
DTYPES: Final = {'float32': (1, np.float32), 'uint8': (2, np.uint8), 'int8': (3, np.int8), 'float16': (10, np.float16)}
CUTTING: Final = ('center_crop', 'stretch')
WHOLE: Final = ('uint8', 'int8')
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    'layout': ('NCHW', 'NHWC', 'CHW', 'HWC', 'NHW', 'HW'),
    'colour': ('rgb', 'bgr', 'gray', 'depth'),
    'resize': ('stretch', 'letterbox', 'center_crop', 'fit_height'),
    'align': ('center', 'top_left'),
    'standardise': ('none', 'image', 'channel'),
    'interpolation': tuple(INTERPOLATION),
    'dtype': tuple(DTYPES),
}


@dataclass(frozen=True)
class PreprocessingSettings:
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
        if self.colour == 'depth' and self.dtype in WHOLE and self.quantisation is None:
            raise UserError(f'preprocessing: colour: depth with dtype {self.dtype} needs quantisation: [scale, zero point]')
        self._check_together()

    def _check_together(self) -> None:
        """Check the values that hold for some others only."""
        if 'C' not in self.layout and self.channels > 1:
            raise UserError(f'preprocessing: layout: {self.layout} has no channels; set colour: gray')
        if self.crop_ratio < 1 and self.resize not in CUTTING:
            raise UserError('preprocessing: crop_ratio belongs to resize: center_crop or stretch')
        if self.align != 'center' and self.resize != 'letterbox':
            raise UserError('preprocessing: align belongs to resize: letterbox')
        if self.quantisation is not None:
            if self.dtype not in WHOLE:
                raise UserError('preprocessing: quantisation belongs to dtype uint8 or int8')
            fits = len(self.quantisation) == 2 and all(map(_is_number, self.quantisation))
            low, high = (0, 255) if self.dtype == 'uint8' else (-128, 127)
            if not (fits and self.quantisation[0] > 0 and self.quantisation[1] in range(low, high + 1)):
                raise UserError(f'preprocessing: quantisation: {list(self.quantisation)!r} must be [scale above 0, zero point '
                                f'from {low} to {high}]')
        elif self.dtype in WHOLE and self.pad_value != int(self.pad_value):
            raise UserError(f'preprocessing: pad_value: {self.pad_value!r} must be a whole number for dtype {self.dtype}')
        if self.standardise != 'none':
            if self.mean != (0.0,) or self.std != (1.0,):
                raise UserError('preprocessing: standardise takes mean and std from each image; leave mean and std out')
            if self.dtype in WHOLE and self.quantisation is None:
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
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
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
    def from_yaml(cls, path: str | Path) -> Self:
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
        if tensor.dtype != DTYPES[self.dtype][0]:
            raise ModelError(f'preprocessing gives {self.dtype}, but input {tensor.name!r} has ONNX '
                             f'element type {tensor.dtype}; correct dtype')


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

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

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from edge_dnn_partition.errors import WireError

from .image import COMPRESSED, Depth, Pixels, decode_compressed, decode_depth, decode_raw, image_size, largest_reduction, raw_size
from .preprocessing_settings import CUTTING, DTYPES, INTERPOLATION, WHOLE, PreprocessingSettings

_Image = TypeVar('_Image', Pixels, Depth)


@dataclass(frozen=True)
class Preprocessing(PreprocessingSettings):
    """Makes a model's input of an image, and knows where each point of the one lies in the other."""

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

            interpolation = getattr(cv2, f'INTER_{INTERPOLATION[self.interpolation]}')
            pixels = np.asarray(cv2.resize(pixels, scaled, interpolation=interpolation), pixels.dtype)
        left, top = self._offsets(scaled)
        if self.resize in CUTTING:
            return pixels[-top:-top + self.height, -left:-left + self.width], (0, 0)
        return pixels, (left, top)

    def _value(self, pixel: np.ndarray[Any, Any] | float, mean: float, std: float) -> np.ndarray[Any, Any]:
        """Return what pixel values become; computed in float64, rounded once."""
        dtype = DTYPES[self.dtype][1]
        if self.quantisation is None and self.dtype in WHOLE:
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
        result = np.empty(self.shape, DTYPES[self.dtype][1])
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

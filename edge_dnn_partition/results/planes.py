# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Values for each pixel of the model's input, brought to the camera's image: scaling, padding and cropping undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.inputs.preprocess import Preprocessing

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Resampling:
    """Where the middle of each column and row of the image lies in a plane ``[height, width]``, in pixels of it."""

    across: NDArray[np.float64]
    down: NDArray[np.float64]
    width: int
    height: int

    @classmethod
    def of(cls, shape: Sequence[int], size: tuple[int, int], preprocessing: Preprocessing | None) -> Resampling:
        """Return it for a plane of ``shape`` that covers the model's input.

        :param size: width and height of the image; both 0: there is none, and the input takes its place.
        """
        plane_height, plane_width = shape
        if size == (0, 0):
            size = (plane_width, plane_height) if preprocessing is None else (preprocessing.width, preprocessing.height)
            preprocessing = None
        width, height = size
        left, top, right, bottom, whole_width, whole_height = 0.0, 0.0, float(width), float(height), width, height
        if preprocessing is not None:
            (left, top), (right, bottom) = preprocessing.from_image(np.array([[0.0, 0.0], [width, height]]), size)
            whole_width, whole_height = preprocessing.width, preprocessing.height
        across = (np.arange(width) + 0.5) * (right - left) / width + left
        down = (np.arange(height) + 0.5) * (bottom - top) / height + top
        return cls(across * plane_width / whole_width, down * plane_height / whole_height, plane_width, plane_height)

    def part(self, rows: slice, columns: slice) -> Resampling:
        """Return it for a part of the image."""
        return Resampling(self.across[columns], self.down[rows], self.width, self.height)

    def seen(self) -> NDArray[np.bool_]:
        """Return which pixels of the image the model has seen, ``[height, width]``."""
        rows, columns = (self.down >= 0) & (self.down < self.height), (self.across >= 0) & (self.across < self.width)
        return rows[:, None] & columns[None, :]

    def nearest(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return the plane's values at the image's pixels; outside of it those at its edge."""
        rows = np.clip(np.floor(self.down).astype(int), 0, self.height - 1)
        columns = np.clip(np.floor(self.across).astype(int), 0, self.width - 1)
        return np.asarray(plane[rows[:, None], columns[None, :]])

    def linear(self, plane: Plane) -> Plane:
        """Return the plane's values at the image's pixels, bilinear between the middles of its own (torch: align_corners=False)."""
        upper, lower, row_share = _neighbours(self.down, self.height)
        left, right, column_share = _neighbours(self.across, self.width)
        wide = plane[:, left] * (1 - column_share) + plane[:, right] * column_share
        return np.asarray(wide[upper] * (1 - row_share)[:, None] + wide[lower] * row_share[:, None])

    def strongest(self, planes: Plane) -> NDArray[np.uint8]:
        """Return which of several planes ``[n, height, width]`` is the highest at each of the image's pixels, bilinear."""
        first, *others = _able_to_win(planes)
        best, which = self.linear(planes[first]), np.full((len(self.down), len(self.across)), first, np.uint8)
        for index in others:
            values = self.linear(planes[index])
            which[values > best] = index
            np.maximum(best, values, out=best)
        return which


def _able_to_win(planes: Plane) -> list[int]:
    """Return the planes that may be the highest somewhere between four neighbouring pixels: most classes are not in the image.

    There no plane is above its own highest of the four, and the best is at least as high as the lowest of any plane.
    """
    padded = np.pad(planes, ((0, 0), (0, 1), (0, 1)), mode='edge')
    rows = padded[:, :-1], padded[:, 1:]
    low, high = np.minimum(*rows), np.maximum(*rows)
    low, high = np.minimum(low[:, :, :-1], low[:, :, 1:]), np.maximum(high[:, :, :-1], high[:, :, 1:])
    able = np.flatnonzero((high >= low.max(axis=0)).any(axis=(1, 2))).tolist()
    return able or [0]  # nothing is higher than NaN


def _neighbours(places: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the two pixels between whose middles each place lies, and its share of the second."""
    at = np.clip(places - 0.5, 0, count - 1)
    first = np.floor(at).astype(np.int64)
    return first, np.minimum(first + 1, count - 1), (at - first).astype(np.float32)

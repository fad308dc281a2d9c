# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a model says of an image, drawn on the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np

from edge_dnn_partition.inputs.image import Pixels

from .postprocess import Box, Prediction

_MASK_SHARE: Final = 0.45
_LEAST_KEYPOINT: Final = 0.3
"""Points with a lower score are not drawn: the model does not see them."""


def class_colour(index: int) -> tuple[int, int, int]:
    """Return a class's colour, BGR; neighbours differ clearly (golden angle around the colour circle)."""
    hue = int(index * 137.508 / 2) % 180
    pixel = cv2.cvtColor(np.array([[[hue, 190, 235]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


def annotated(pixels: Pixels, prediction: Prediction, words: Sequence[str] = ()) -> Pixels:
    """Return a copy of an image with its mask or depth, boxes, keypoints, best classes and other words on it.

    :param pixels: BGR, ``[height, width, 3]``.
    :param words: lines above the classes.
    """
    result = np.ascontiguousarray(pixels).copy()
    height, width = result.shape[:2]
    unit = max(0.35, min(width, height) / 700)
    if prediction.depth is not None and prediction.depth.shape == (height, width):
        result = cv2.addWeighted(result, 1 - _MASK_SHARE, _depth_colours(prediction.depth), _MASK_SHARE, 0)
    if prediction.mask is not None and prediction.mask.shape == (height, width):
        table = np.array([(0, 0, 0), *(class_colour(index) for index in range(1, 256))], np.uint8)
        mixed = cv2.addWeighted(result, 1 - _MASK_SHARE, table[prediction.mask], _MASK_SHARE, 0)
        result = np.where((prediction.mask > 0)[:, :, None], mixed, result).astype(np.uint8)
    for box in reversed(prediction.boxes):
        colour = class_colour(box.what.index)
        corner = (round(box.left), round(box.top))
        cv2.polylines(result, [_outline(box)], True, colour, max(1, round(2 * unit)))
        for point in box.keypoints:
            if point.score >= _LEAST_KEYPOINT:
                cv2.circle(result, (round(point.x), round(point.y)), max(1, round(3 * unit)), colour, cv2.FILLED)
        _write(result, f'{box.what.label} {box.what.score:.2f}', corner[0], corner[1] - round(4 * unit), unit, colour)
    lines = [*words, *(f'{score.label} {score.score:.2f}' for score in prediction.scores)]
    for number, line in enumerate(lines, 1):
        _write(result, line, round(8 * unit), round(26 * unit * number), unit, (40, 40, 40))
    return result


def _outline(box: Box) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the corners of a box, which may be turned, ``[4, 2]``."""
    centre = np.array([box.left + box.right, box.top + box.bottom]) / 2
    corners = np.array([(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]) - centre
    cosine, sine = np.cos(box.angle), np.sin(box.angle)
    return np.asarray(np.rint(corners @ np.array([[cosine, sine], [-sine, cosine]]) + centre), np.int32)


def _depth_colours(depth: np.ndarray[Any, np.dtype[np.float32]]) -> Pixels:
    """Return near in warm and far in cold colours, of the range in this image; black where nothing is known."""
    known = np.isfinite(depth)
    near, far = (float(depth[known].min()), float(depth[known].max())) if known.any() else (0.0, 1.0)
    shares = np.where(known, (far - depth) / max(far - near, 1e-9) * 255, 0).astype(np.uint8)
    return np.asarray(np.where(known[:, :, None], cv2.applyColorMap(shares, cv2.COLORMAP_TURBO), 0), np.uint8)


def _write(pixels: Pixels, text: str, left: int, bottom: int, unit: float, ground: tuple[int, int, int]) -> None:
    """Write a line on a ground of its own, within the image."""
    scale, thick = 0.6 * unit, max(1, round(1.4 * unit))
    plain = text.encode('ascii', 'replace').decode()  # OpenCV's own font knows no other letters
    (width, height), below = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    left = max(0, min(left, pixels.shape[1] - width))
    bottom = max(height + below, min(bottom, pixels.shape[0] - below))
    cv2.rectangle(pixels, (left, bottom - height - below), (left + width, bottom + below), ground, cv2.FILLED)
    bright = sum(ground) > 380
    colour = (0, 0, 0) if bright else (255, 255, 255)
    cv2.putText(pixels, plain, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)

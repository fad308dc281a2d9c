# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes against each other: intersection over union, and non-maximum suppression, greedy or of turned boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


def overlaps(box: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """Return the intersection over union of one box with several; 0 where neither has an area.

    :param box: left, top, right, bottom.
    :param boxes: ``[n, 4]``.
    """
    width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    common = np.clip(width, 0, None) * np.clip(height, 0, None)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + area - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def suppressed(
    boxes: Boxes, scores: NDArray[np.float64], classes: NDArray[Any], most_overlap: float, most: int
) -> list[int]:
    """Return which boxes are left, best first: a box goes if a better one of its class overlaps it by more.

    Of equal scores the first counts as better.

    :param boxes: ``[n, 4]``, left, top, right, bottom.
    :param scores: ``[n]``.
    :param classes: ``[n]``; boxes of different classes do not touch each other.
    :param most_overlap: intersection over union.
    :param most: how many are left at most.
    """
    order = np.argsort(-scores, kind='stable')
    left: list[int] = []
    while order.size and len(left) < most:
        best, rest = int(order[0]), order[1:]
        left.append(best)
        rivals = (classes[rest] == classes[best]) & (overlaps(boxes[best], boxes[rest]) > most_overlap)
        order = rest[~rivals]
    return left


def suppressed_oriented(
    boxes: Boxes, scores: NDArray[np.float64], classes: NDArray[Any], most_overlap: float, most: int
) -> list[int]:
    """Return which turned boxes are left, best first: one goes if any better one of its class is more similar, left or not.

    Similarity is ProbIoU (Murrugarra-Llerena et al., 2021): 1 less the Hellinger distance of the boxes as Gaussians. Going by any
    better box is Fast NMS (Bolya et al., 2019).

    :param boxes: ``[n, 5]``, x and y of the centre, width, height, angle in radians.
    """
    order = np.argsort(-scores, kind='stable')
    left: list[int] = []
    for place, index in enumerate(order):
        better = order[:place][classes[order[:place]] == classes[index]]
        if not (probabilistic_overlaps(boxes[index], boxes[better]) > most_overlap).any():
            left.append(int(index))
        if len(left) == most:
            break
    return left


def probabilistic_overlaps(box: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """Return the ProbIoU of one turned box with several, 0 to 1."""
    tiny = 1e-7
    (x1, y1, *_), (a1, b1, c1) = box, _covariance(box)
    (x2, y2, *_), (a2, b2, c2) = boxes.T, _covariance(boxes.T)
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    spread = a * b - c**2
    distance = (a * (y1 - y2) ** 2 + b * (x1 - x2) ** 2) / (spread + tiny) / 4 + c * (x2 - x1) * (y1 - y2) / (spread + tiny) / 2
    product = np.clip(a1 * b1 - c1**2, 0, None) * np.clip(a2 * b2 - c2**2, 0, None)
    distance += np.log(spread / (4 * np.sqrt(product) + tiny) + tiny) / 2
    return np.asarray(1 - np.sqrt(1 - np.exp(-np.clip(distance, tiny, 100)) + tiny))


def _covariance(box: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """Return the covariance of the Gaussian with a turned box's spread: of x, of y, of both."""
    _, _, width, height, angle = box
    wide, high, cosine, sine = width**2 / 12, height**2 / 12, np.cos(angle), np.sin(angle)
    return wide * cosine**2 + high * sine**2, wide * sine**2 + high * cosine**2, (wide - high) * cosine * sine

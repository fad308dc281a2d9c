# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes against each other: intersection over union, and greedy non-maximum suppression."""

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

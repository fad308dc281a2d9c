# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Seeded outputs of heads, shaped as the common exports are; read by the tests and by what records other libraries' answers."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZE = 160  # of the model's input, both sides
IMAGE = (640, 480)  # letterboxed: a quarter, with 20 rows above and below
CELLS = sum((SIZE // stride) ** 2 for stride in (8, 16, 32))
CLASSES, PROTOTYPES, POINTS = 6, 8, 5


def boxes(seed: int, count: int = CELLS) -> np.ndarray[Any, Any]:
    """Return centres and sizes in pixels that overlap in groups, ``[count, 4]``."""
    random = np.random.default_rng(seed)
    groups = np.concatenate([random.uniform(15, 145, (12, 2)), random.uniform(12, 50, (12, 2))], axis=1)
    return groups[random.integers(0, 12, count)] + random.normal(0, 3, (count, 4)) * [1, 1, 0.7, 0.7]


def scores(seed: int, count: int = CELLS, classes: int = CLASSES) -> np.ndarray[Any, Any]:
    """Return probabilities, most of them low and no two equal, ``[count, classes]``."""
    random = np.random.default_rng(seed + 1000)
    return np.clip(random.beta(0.4, 4, (count, classes)), 0, 0.999)


def points(seed: int, count: int = CELLS) -> np.ndarray[Any, Any]:
    """Return keypoints x, y, score, ``[count, POINTS * 3]``."""
    random = np.random.default_rng(seed + 2000)
    return np.concatenate([random.uniform(5, 155, (count, POINTS, 2)), random.uniform(0, 1, (count, POINTS, 1))], 2).reshape(count, -1)


def rows(*parts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what YOLOv8's heads give: ``[1, values, boxes]``."""
    return np.concatenate(parts, axis=1).T[None].astype(np.float32)


def detect() -> np.ndarray[Any, Any]:
    """A detector."""
    return rows(boxes(1), scores(1))


def pose() -> np.ndarray[Any, Any]:
    """One class and keypoints."""
    return rows(boxes(2), scores(2, classes=1), points(2))


def segment() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mask coefficients, and the prototypes."""
    random = np.random.default_rng(3)
    planes = random.normal(0, 1, (PROTOTYPES, 10, 10)).repeat(4, 1).repeat(4, 2)
    return rows(boxes(3), scores(3), random.normal(0, 1, (CELLS, PROTOTYPES))), planes[None].astype(np.float32)


def oriented() -> np.ndarray[Any, Any]:
    """Turned boxes; groups keep their angle."""
    random = np.random.default_rng(4)
    return rows(boxes(4), scores(4), random.uniform(-0.7, 2.3, (CELLS, 1)))


def end_to_end() -> np.ndarray[Any, Any]:
    """Rows of left, top, right, bottom, score, class, best first, the last ones empty."""
    random = np.random.default_rng(5)
    found, best = boxes(5, 60), np.sort(random.uniform(0, 0.99, (60, 1)), axis=0)[::-1]
    corners = np.concatenate([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2], axis=1)
    full = np.concatenate([corners, best, random.integers(0, CLASSES, (60, 1))], axis=1)
    return np.concatenate([full, np.zeros((240, 6))])[None].astype(np.float32)


def queries() -> dict[str, np.ndarray[Any, Any]]:
    """DETR's outputs: logits and boxes as shares of the image."""
    random = np.random.default_rng(11)
    logits = random.normal(-1, 2, (1, 50, 8)).astype(np.float32)
    return {'logits': logits, 'pred_boxes': random.uniform(0.1, 0.4, (1, 50, 4)).astype(np.float32)}


def coco_queries() -> dict[str, np.ndarray[Any, Any]]:
    """RF-DETR's outputs with COCO's own numbers as classes, 0 to 90, the last one in front."""
    random = np.random.default_rng(21)
    logits = random.normal(-3, 2, (1, 50, 91)).astype(np.float32)
    logits[0, :5, 90] = random.uniform(2, 4, 5)
    return {'logits': logits, 'pred_boxes': random.uniform(0.1, 0.4, (1, 50, 4)).astype(np.float32)}


def objectness() -> np.ndarray[Any, Any]:
    """YOLOv5's and decoded YOLOX's rows: a box, whether there is anything, and scores, ``[1, CELLS, 5 + CLASSES]``."""
    there = np.random.default_rng(17).uniform(0.3, 1, (CELLS, 1))
    return np.concatenate([boxes(17), there, scores(17) ** 0.5], axis=1)[None].astype(np.float32)


def on_grid() -> np.ndarray[Any, Any]:
    """What YOLOX gives without its decoding: offsets in cells and logarithms of sizes, rows of cells, the finest grid first."""
    rows = objectness()[0]
    cells = np.array([(x, y, stride) for stride in (8, 16, 32) for y in range(SIZE // stride) for x in range(SIZE // stride)])
    centres, sizes = rows[:, :2] / cells[:, 2:] - cells[:, :2], np.log(np.maximum(rows[:, 2:4], 1) / cells[:, 2:])
    return np.concatenate([centres, sizes, rows[:, 4:]], axis=1)[None].astype(np.float32)


def yolov5_segment() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows with mask coefficients, and the prototypes."""
    values, prototypes = segment()
    return np.concatenate([objectness()[0], values[0].T[:, -PROTOTYPES:]], axis=1)[None], prototypes


def priors() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """SSD's boxes as corners in shares of the input, and logits of CLASSES with the background first."""
    found = boxes(18, 1200)
    corners = np.concatenate([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2], axis=1)
    logits = np.random.default_rng(18).normal([2.5] + [0] * (CLASSES - 1), 2, (1200, CLASSES))
    return (np.clip(corners, 0, SIZE) / SIZE)[None].astype(np.float32), logits[None].astype(np.float32)


def rcnn() -> dict[str, np.ndarray[Any, Any]]:
    """What torchvision's Mask and Keypoint R-CNN give: lists, best first; masks and points are of the whole input."""
    random = np.random.default_rng(19)
    found = boxes(19, 12)
    corners = np.clip(np.concatenate([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2], axis=1), 0, SIZE)
    points = random.uniform(5, 155, (12, POINTS, 3))
    points[:, :, 2] = 1
    masks = random.normal(0, 2, (12, 1, 20, 20)).repeat(8, 2).repeat(8, 3)
    return {name: values.astype(np.float32) for name, values in {
        'boxes': corners, 'scores': np.sort(random.uniform(0, 1, 12))[::-1], 'keypoints': points, 'masks': 1 / (1 + np.exp(-masks)),
    }.items()} | {'labels': random.integers(1, CLASSES + 1, 12)}  # fmt: skip


def google() -> dict[str, np.ndarray[Any, Any]]:
    """TensorFlow's Object Detection API: the best boxes, top first, and classes from 1."""
    lists = rcnn()
    return {
        'detection_boxes': lists['boxes'][None][:, :, [1, 0, 3, 2]] / SIZE, 'detection_scores': lists['scores'][None],
        'detection_classes': lists['labels'][None].astype(np.float32), 'num_detections': np.array([12], np.float32),
    }  # fmt: skip


def simcc() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """RTMPose's columns and rows for an input of SIZE, two values a pixel."""
    random = np.random.default_rng(20)
    return tuple(random.normal(0, 0.2, (1, POINTS, 2 * SIZE)).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


def planes(classes: int = 9) -> np.ndarray[Any, Any]:
    """Logits of a segmentation at an eighth of 120 x 160, ``[1, classes, 15, 20]``."""
    return np.random.default_rng(14).normal(0, 2, (1, classes, 15, 20)).astype(np.float32)


def heatmaps() -> np.ndarray[Any, Any]:
    """One bump for each point, ``[1, POINTS, 16, 12]``."""
    random = np.random.default_rng(15)
    down, across = np.mgrid[0:16, 0:12]
    places = random.uniform(2, 10, (POINTS, 2))
    bumps = [np.exp(-((across - x) ** 2 + (down - y) ** 2) / 4) for x, y in places]
    return (np.stack(bumps)[None] * random.uniform(0.5, 1, (1, POINTS, 1, 1))).astype(np.float32)


CHARACTERS = 'abcdefgh'


def steps() -> np.ndarray[Any, Any]:
    """Logits of a text recogniser with the blank first, ``[1, 40, characters + 1]``."""
    random = np.random.default_rng(16)
    return (random.normal(0, 2, (1, 20, len(CHARACTERS) + 1)) + np.eye(1, len(CHARACTERS) + 1)[0] * 3).repeat(2, axis=1).astype(np.float32)


def spaced_steps() -> np.ndarray[Any, Any]:
    """The same with the first character's logits last, where PaddleOCR has the space."""
    return steps()[:, :, [0, *range(2, len(CHARACTERS) + 1), 1]]

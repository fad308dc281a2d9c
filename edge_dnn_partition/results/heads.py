# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Heads of detectors: from their outputs to boxes, scores and classes, in pixels of the model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError

from .checks import Shapes, check_scores, numbers_named, refusal, shapes_of
from .postprocess import Arrays, output_named

Floats = NDArray[np.float64]

#: head -> the options that it stands for
HEADS: Final[dict[str, dict[str, Any]]] = {
    '': {},
    'yolov5': {'objectness': True},  # and YOLOv7
    'yolov8': {'transposed': True},  # and YOLOv9, 11, 12
    'yolox': {'objectness': True},  # exported without its decoding
    'end_to_end': {'corners': True, 'overlap': 1.0},  # YOLOv10, YOLO26, exports with NMS inside
    'detr': {'normalised': True, 'softmax': True, 'background': 'last', 'overlap': 1.0},  # and YOLOS
    'rt_detr': {'normalised': True, 'logits': True, 'overlap': 1.0},  # and D-FINE, Conditional and Deformable DETR
    'rf_detr': {'normalised': True, 'logits': True, 'background': 'last', 'overlap': 1.0},
    'ssd': {'normalised': True, 'corners': True, 'background': 'first'},
    'lists': {'corners': True, 'overlap': 1.0},  # torchvision's detectors: boxes, scores, labels
    'tensorflow': {'normalised': True, 'corners': True, 'overlap': 1.0, 'first_class': 1},  # Object Detection API
}
_PAIRS: Final = ('detr', 'rt_detr', 'rf_detr', 'ssd')
_LISTS: Final = ('lists', 'tensorflow')
_STRIDES: Final = (8, 16, 32)
_COCO_NUMBERS: Final = 91


@dataclass(frozen=True)
class Layout:
    """How a head's outputs are to be read; the fields are options of `Detection` and the kinds like it."""

    kind: str
    head: str
    output: str
    scores: str
    classes: str
    transposed: bool
    objectness: bool
    corners: bool
    normalised: bool
    logits: bool
    softmax: bool
    background: str
    first_class: int
    extras: int
    """Values of each row behind the class scores."""
    labels: int = 0
    """How many classes have names; 0: not known."""


@dataclass(frozen=True)
class Found:
    """What a head gives: ``boxes`` ``[n, 4]`` as left, top, right, bottom, or of turned ones a centre and a size.

    ``extras`` ``[n, values]`` are what a row has besides; of lists, the row's place in them.
    """

    boxes: Floats
    scores: Floats
    classes: NDArray[np.int64]
    extras: Floats
    count: int | None
    """The number of classes; None where the outputs do not tell."""


def read_head(layout: Layout, outputs: Arrays, least_score: float, size: tuple[int, int] | None, *, centres: bool = False) -> Found:
    """Return the boxes whose score is high enough, as they stand in the outputs' order.

    :param outputs: of the model, by name.
    :param size: width and height of the model's input; None: not known.
    :param centres: boxes are a centre and a size, and stay so (turned ones).
    :raises UserError: if the outputs do not have such a head.
    """
    shapes = shapes_of(outputs)
    if layout.head in _LISTS:
        found = _lists(layout, outputs, least_score)
    elif layout.head in _PAIRS:
        found = _pairs(layout, outputs, least_score)
    elif layout.head == 'end_to_end':
        found = _end_to_end(layout, outputs, least_score)
    else:
        found = _dense(layout, outputs, least_score, size)
    boxes = found.boxes
    if layout.normalised:
        if boxes.size and np.abs(boxes).max() > 16:
            raise refusal(f'a box at {np.abs(boxes).max():.4g} is no share of the input; leave out normalised', shapes, layout.kind)
        if size is None:
            raise UserError('postprocessing: normalised boxes need the preprocessing that says how large the input is')
        boxes = boxes * np.array([*size, *size])
    if not centres:
        boxes = boxes if layout.corners else corners_of(boxes)
        if (boxes[:, 2:] - boxes[:, :2] < -0.5).any():
            way = 'like a centre and a size: leave out corners' if layout.corners else 'grid-coded: use head: yolox'
            raise refusal(f'boxes whose right side is left of the left one look {way}', shapes, layout.kind)
    return Found(boxes, found.scores, found.classes, found.extras, found.count)


def corners_of(boxes: Floats) -> Floats:
    """Return left, top, right, bottom of centres and sizes, ``[n, 4]``."""
    half = boxes[:, 2:4] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _dense(layout: Layout, outputs: Arrays, least_score: float, size: tuple[int, int] | None) -> Found:
    """Rows of a box, perhaps objectness, and a score for each class: YOLO."""
    rows, shapes = numbers_named(outputs, layout.output, layout.kind), shapes_of(outputs)
    first = 5 if layout.objectness else 4
    if rows.ndim == 3 and rows.shape[0] == 1:
        rows = rows[0].T if layout.transposed else rows[0]
    if rows.ndim != 2 or rows.shape[1] <= first + layout.extras:
        raise refusal(
            f'an output of shape {list(rows.shape)} has no boxes of {first} values, scores and {layout.extras} more'
            if layout.extras
            else f'an output of shape {list(rows.shape)} has no boxes of {first} values and scores; see head, transposed and '
            'objectness, or name another output', shapes, layout.kind)  # fmt: skip
    count = rows.shape[1] - first - layout.extras
    scores = rows[:, first : first + count]
    scores = sigmoid(scores) if layout.logits else scores
    check_scores(scores, shapes, layout.kind)
    if layout.objectness:
        there = sigmoid(rows[:, 4]) if layout.logits else rows[:, 4]
        check_scores(there, shapes, layout.kind)
        scores = scores * there[:, None]
    if layout.head == 'yolox':
        rows = _on_grid(rows, size, shapes)
    elif not layout.normalised and size is not None:
        _check_pixels(rows, size, layout, shapes)
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(rows)), classes]
    kept = np.flatnonzero(best >= least_score)
    return Found(rows[kept, :4], best[kept], classes[kept], rows[kept, first + count :], count)


def _check_pixels(rows: Floats, size: tuple[int, int], layout: Layout, shapes: Shapes) -> None:
    """Refuse boxes that are said to be in pixels and lie in a corner, though the rows of such a head cover the whole input."""
    most = np.abs(rows[:, :4]).max()
    if len(rows) < 100 or layout.corners or most == 0 or most > max(size) / 8:
        return
    advice = 'shares of the input; set normalised: true' if most <= 1.5 else 'grid-coded; use head: yolox'
    raise refusal(f'all boxes lie within {most:.3g} pixels, as if they were {advice}', shapes, layout.kind)


def _on_grid(rows: Floats, size: tuple[int, int] | None, shapes: Shapes) -> Floats:
    """Decode YOLOX's boxes: offsets in cells and logarithms of sizes (its demo_postprocess)."""
    if size is None:
        raise UserError('postprocessing: head: yolox needs the preprocessing that says how large the input is')
    grids = [np.stack(np.meshgrid(np.arange(size[0] // s), np.arange(size[1] // s)), -1).reshape(-1, 2) for s in _STRIDES]
    strides = np.concatenate([np.full((len(grid), 1), s) for grid, s in zip(grids, _STRIDES, strict=True)])
    if len(strides) != len(rows):
        problem = f'YOLOX has {len(strides)} boxes for an input of {size[0]} x {size[1]}, the output {len(rows)}'
        raise refusal(problem, shapes, 'detection')
    result = rows.copy()
    result[:, :2] = (rows[:, :2] + np.concatenate(grids)) * strides
    result[:, 2:4] = np.exp(np.minimum(rows[:, 2:4], 20)) * strides
    return result


def _end_to_end(layout: Layout, outputs: Arrays, least_score: float) -> Found:
    """Rows of left, top, right, bottom, score and class, then what each box has besides."""
    rows, shapes = numbers_named(outputs, layout.output, layout.kind), shapes_of(outputs)
    rows = rows[0] if rows.ndim == 3 and rows.shape[0] == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != 6 + layout.extras:
        more = f' and {layout.extras} more' if layout.extras else ''
        raise refusal(f'rows of an end-to-end head are four sides, score, class{more}', shapes, layout.kind)
    check_scores(rows[:, 4], shapes, layout.kind)
    rows = rows[rows[:, 4] >= least_score]
    return Found(rows[:, :4], rows[:, 4], _whole(rows[:, 5], layout, shapes), rows[:, 6:], None)


def _pairs(layout: Layout, outputs: Arrays, least_score: float) -> Found:
    """Boxes ``[1, n, 4]`` in one output and scores ``[1, n, classes]`` in another: DETR and its relatives, SSD."""
    shapes = shapes_of(outputs)
    box_name, score_name = _pair_names(layout, outputs)
    boxes, scores = (numbers_named(outputs, name, layout.kind) for name in (box_name, score_name))
    boxes, scores = (values[0] if values.ndim == 3 and values.shape[0] == 1 else values for values in (boxes, scores))
    if boxes.ndim != 2 or scores.ndim != 2 or len(boxes) != len(scores) or boxes.shape[1] != 4:
        raise refusal(f'{box_name!r} and {score_name!r} are no boxes and scores of the same number', shapes, layout.kind)
    if layout.softmax:
        scores = softmax(scores)
    elif layout.logits:
        scores = sigmoid(scores)
    check_scores(scores, shapes, layout.kind, '; it looks like logits: set softmax: true or logits: true')
    if scores.shape[1] < 2 and layout.background != 'none':
        raise refusal('one class is too few where one of them is the background', shapes, layout.kind)
    background = layout.background
    if layout.head == 'rf_detr' and scores.shape[1] == _COCO_NUMBERS and layout.labels != _COCO_NUMBERS - 1:
        background = 'none'  # weights with COCO's own numbers as classes: the last one is its 90th
    scores = scores[:, :-1] if background == 'last' else scores[:, 1:] if background == 'first' else scores
    if layout.head == 'detr':
        classes = scores.argmax(axis=1)
        at = np.flatnonzero(scores.max(axis=1) >= least_score) if scores.size else np.zeros(0, np.int64)
        classes = classes[at]
    else:  # a box may be of several classes; DETR's relatives keep as many as they have boxes
        best = np.argsort(-scores, axis=None, kind='stable')[: None if layout.head == 'ssd' else len(scores)]
        best = best[scores.reshape(-1)[best] >= least_score]
        at, classes = np.divmod(best, scores.shape[1])
    return Found(boxes[at], scores[at, classes], classes, np.zeros((len(at), 0)), scores.shape[1])


def _pair_names(layout: Layout, outputs: Arrays) -> tuple[str, str]:
    """Return which output holds boxes and which scores: by option, by name, by shape."""
    shapes = shapes_of(outputs)
    boxes = layout.output or next((name for name in ('pred_boxes', 'dets', 'boxes', 'bboxes') if name in outputs), '')
    scores = layout.scores or next((name for name in ('logits', 'pred_logits', 'scores', 'labels') if name in outputs), '')
    for name in (boxes, scores):
        output_named(outputs, name)
    fours = [name for name, shape in shapes.items() if len(shape) in (2, 3) and shape[-1] == 4 and name != scores]
    boxes = boxes or (fours[0] if len(fours) == 1 else '')
    like = [name for name, shape in shapes.items() if boxes and name != boxes and tuple(shape[:-1]) == tuple(shapes[boxes][:-1])]
    scores = scores or (like[0] if len(like) == 1 else '')
    if not boxes or not scores:
        raise refusal('boxes and scores cannot be told apart; name them with output and scores', shapes, layout.kind)
    return boxes, scores


def _lists(layout: Layout, outputs: Arrays, least_score: float) -> Found:
    """Boxes ``[n, 4]``, scores ``[n]`` and classes ``[n]``, after suppression."""
    shapes, tensorflow = shapes_of(outputs), layout.head == 'tensorflow'
    defaults = ('detection_boxes', 'detection_scores', 'detection_classes') if tensorflow else ('boxes', 'scores', 'labels')
    names = [given or next((name for name in outputs if name.split(':')[0] == default), '')
             for given, default in zip((layout.output, layout.scores, layout.classes), defaults, strict=True)]
    if not all(names):
        raise refusal(f'boxes, scores and classes are not called {", ".join(defaults)}; name them with output, scores and classes',
                      shapes, layout.kind)
    boxes, scores, classes = (np.asarray(output_named(outputs, name), np.float64) for name in names)
    boxes = boxes.reshape(-1, boxes.shape[-1])
    scores, classes = scores.reshape(-1), classes.reshape(-1)
    if boxes.shape[-1] != 4 or not len(boxes) == len(scores) == len(classes):
        raise refusal('boxes, scores and classes are not of the same number', shapes, layout.kind)
    check_scores(scores, shapes, layout.kind)
    kept = np.flatnonzero(scores >= least_score)
    whole = _whole(classes[kept] - layout.first_class, layout, shapes)
    sides = boxes[kept][:, [1, 0, 3, 2]] if tensorflow else boxes[kept]
    return Found(sides, scores[kept], whole, kept[:, None].astype(np.float64), None)


def _whole(classes: Floats, layout: Layout, shapes: Shapes) -> NDArray[np.int64]:
    whole = np.rint(classes)
    if classes.size and (np.abs(classes - whole).max() > 1e-2 or whole.min() < 0):
        raise refusal('classes are not whole numbers from 0', shapes, layout.kind)
    return whole.astype(np.int64)


def sigmoid(values: Floats) -> Floats:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -50, 50))))


def softmax(values: Floats) -> Floats:
    """Return probabilities along the last axis."""
    shares = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))

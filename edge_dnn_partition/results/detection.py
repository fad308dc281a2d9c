# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Kinds that find objects: boxes, and boxes with masks, with keypoints, or turned."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing

from .boxes import suppressed, suppressed_oriented
from .checks import check_classes, check_scores, refusal, shapes_of
from .heads import HEADS, Floats, Found, Layout, read_head
from .planes import Resampling
from .postprocess import Arrays, Box, Keypoint, Prediction, Score, name_of, output_named

_BACKGROUNDS: Final = ('none', 'first', 'last')
_WITH_EXTRAS: Final = ('', 'yolov5', 'yolov8', 'end_to_end', 'lists')


@dataclass(frozen=True)
class Detection:
    """Boxes. ``head`` names a known head; the other options say one by one what it stands for, and may change it.

    :param labels: path of a text file, one class a line.
    :param head: one of `heads.HEADS`; empty: rows ``[1, boxes, values]`` of a box in pixels of the input and class scores.
    :param output: the output with the boxes; empty: the first one, or that of the head's usual name.
    :param scores: the output with the scores, of heads that have one.
    :param classes: the output with the classes, of heads that have one.
    :param transposed: the output is ``[1, values, boxes]`` (YOLOv8 and newer).
    :param objectness: the fifth value says whether there is anything, and multiplies the scores (YOLOv5, YOLOX).
    :param corners: the first four values are left, top, right, bottom instead of a centre and a size.
    :param normalised: they are shares of the input's width and height instead of pixels.
    :param logits: objectness and scores go through a sigmoid first.
    :param softmax: scores go through a softmax first.
    :param background: which class is nothing: ``none``, ``first`` or ``last``.
    :param first_class: the number of the first label, where the model gives classes as numbers.
    :param least_score: boxes below it are left out.
    :param overlap: of two boxes of a class whose intersection over union is above it, the better one stays.
    :param agnostic: boxes of different classes count as of one (YOLOX's demo).
    :param most: how many boxes at most.
    """

    topics: ClassVar[tuple[str, ...]] = ('detections',)

    labels: str = ''
    head: str = ''
    output: str = ''
    scores: str = ''
    classes: str = ''
    transposed: bool = False
    objectness: bool = False
    corners: bool = False
    normalised: bool = False
    logits: bool = False
    softmax: bool = False
    background: str = 'none'
    first_class: int = 0
    least_score: float = 0.25
    overlap: float = 0.45
    agnostic: bool = False
    most: int = 100
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='detection', init=False)

    def __post_init__(self) -> None:
        for name in ('least_score', 'overlap'):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f'postprocessing: {name}: {getattr(self, name)} must be from 0 to 1')
        if self.most < 1:
            raise UserError(f'postprocessing: most: {self.most} must be at least 1')
        heads = tuple(HEADS) if type(self) is Detection else _WITH_EXTRAS
        for name, choices in (('head', heads), ('background', _BACKGROUNDS)):
            if getattr(self, name) not in choices:
                raise UserError(f'postprocessing: {name}: {getattr(self, name)!r} is none of {", ".join(filter(None, choices))}')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the boxes that are left, best first."""
        found = self._found(outputs, preprocessing, 0)
        stay = suppressed(found.boxes, found.scores, self._rivals(found), self.overlap, self.most)
        return Prediction(self.kind, boxes=self._boxes(found, stay, size, preprocessing), labels=self.names)

    def _found(self, outputs: Arrays, preprocessing: Preprocessing | None, extras: int, *, centres: bool = False) -> Found:
        """Return what the head gives, in pixels of the model's input."""
        layout = Layout(
            self.kind, self.head, self.output, self.scores, self.classes, self.transposed, self.objectness, self.corners,
            self.normalised, self.logits, self.softmax, self.background, self.first_class, extras, len(self.names),
        )  # fmt: skip
        whole = None if preprocessing is None else (preprocessing.width, preprocessing.height)
        found = read_head(layout, outputs, self.least_score, whole, centres=centres)
        if found.count is not None:
            check_classes(found.count, self.names, shapes_of(outputs), self.kind)
        elif self.names and found.classes.size and found.classes.max() >= len(self.names):
            check_classes(int(found.classes.max()) + 1, self.names, shapes_of(outputs), self.kind)
        return found

    def _rivals(self, found: Found) -> NDArray[np.int64]:
        """Return numbers that are equal for boxes of which only one may stand at a place."""
        return np.zeros_like(found.classes) if self.agnostic else found.classes

    def _boxes(
        self, found: Found, stay: list[int], size: tuple[int, int], preprocessing: Preprocessing | None
    ) -> tuple[Box, ...]:
        """Return boxes in the image's pixels, cut off at its edges."""
        boxes = placed(found.boxes[stay].reshape(-1, 2), size, preprocessing).reshape(-1, 4)
        return tuple(
            Box(left, top, right, bottom, score)
            for (left, top, right, bottom), score in zip(boxes.tolist(), self._scores(found, stay), strict=True)
        )

    def _scores(self, found: Found, stay: list[int]) -> list[Score]:
        pairs = zip(found.classes[stay].tolist(), found.scores[stay].tolist(), strict=True)
        return [Score(number, name_of(number, self.names), score) for number, score in pairs]


@dataclass(frozen=True)
class InstanceSegmentation(Detection):
    """Boxes, each with a mask: made of prototypes (YOLOv5's, YOLOv8's and YOLO11's segmentation), or given whole (Mask R-CNN).

    :param prototypes: the output ``[1, prototypes, height, width]``; empty: the one with four axes. Of ``lists``: that of the
        masks, ``[n, 1, height, width]`` with probabilities, which cover the input; empty: ``masks``.
    """

    topics: ClassVar[tuple[str, ...]] = ('detections', 'mask')

    head: str = 'yolov8'
    prototypes: str = ''
    kind: str = field(default='instance_segmentation', init=False)

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the boxes whose mask is not empty, best first, and for each pixel the place of its object, from 1."""
        planes, found = self._planes(outputs, preprocessing)
        stay = suppressed(found.boxes, found.scores, self._rivals(found), self.overlap, self.most)
        boxes = self._boxes(found, stay, size, preprocessing)
        resampling = Resampling.of(planes.shape[-2:], size, preprocessing)
        seen = resampling.seen()
        kept: list[Box] = []
        mask = np.zeros(seen.shape, np.uint8)
        for index, box in zip(stay, boxes, strict=True):
            rows, columns = (slice(math.ceil(low), math.ceil(high)) for low, high in ((box.top, box.bottom), (box.left, box.right)))
            extras = found.extras[index]
            values = planes[int(extras[0]), 0] - 0.5 if self.head == 'lists' else np.tensordot(extras.astype(np.float32), planes, 1)
            inside = (resampling.part(rows, columns).linear(values) > 0) & seen[rows, columns]
            if inside.any() and len(kept) < np.iinfo(np.uint8).max:
                kept.append(box)
                part = mask[rows, columns]
                part[inside & (part == 0)] = len(kept)
        return Prediction(self.kind, boxes=tuple(kept), mask=mask, labels=self.names)

    def _planes(self, outputs: Arrays, preprocessing: Preprocessing | None) -> tuple[NDArray[np.float32], Found]:
        """Return prototypes ``[prototypes, height, width]``, or the masks of all boxes, and what the head gives."""
        if self.head == 'lists':
            planes = np.asarray(output_named(outputs, self.prototypes or 'masks'), np.float32)
            found = self._found(outputs, preprocessing, 0)
            if planes.ndim != 4 or planes.shape[1] != 1 or (found.extras.size and found.extras.max() >= len(planes)):
                raise refusal('masks of lists are one output [boxes, 1, height, width]', shapes_of(outputs), self.kind)
            check_scores(planes, shapes_of(outputs), self.kind)
            return planes, found
        fours = [name for name, values in outputs.items() if values.ndim == 4 and values.shape[0] == 1]
        if not self.prototypes and len(fours) != 1:
            raise refusal('prototypes of masks are one output [1, prototypes, height, width]', shapes_of(outputs), self.kind)
        planes = np.asarray(output_named(outputs, self.prototypes or fours[0])[0], np.float32)
        rest = {name: values for name, values in outputs.items() if values is not outputs[self.prototypes or fours[0]]}
        return planes, self._found(rest, preprocessing, planes.shape[0])


@dataclass(frozen=True)
class Pose(Detection):
    """Boxes, each with keypoints: YOLOv8's and YOLO11's pose; of ``lists`` Keypoint R-CNN's, in the output ``keypoints``.

    :param keypoints: how many.
    :param keypoint_values: 3: x, y and a score each; 2: x and y.
    """

    head: str = 'yolov8'
    keypoints: int = 17
    keypoint_values: int = 3
    kind: str = field(default='pose', init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keypoints < 1 or self.keypoint_values not in (2, 3):
            raise UserError('postprocessing: keypoints must be at least 1, keypoint_values 2 or 3')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the boxes that are left with their keypoints, best first."""
        values = self.keypoints * self.keypoint_values
        found = self._found(outputs, preprocessing, 0 if self.head == 'lists' else values)
        stay = suppressed(found.boxes, found.scores, self._rivals(found), self.overlap, self.most)
        extras = found.extras[stay]
        if self.head == 'lists':
            points = np.asarray(output_named(outputs, 'keypoints'), np.float64)
            if points.shape[1:] != (self.keypoints, self.keypoint_values) or (len(extras) and extras.max() >= len(points)):
                problem = f'keypoints of lists are one output [boxes, {self.keypoints}, {self.keypoint_values}]'
                raise refusal(problem, shapes_of(outputs), self.kind)
            extras = points[extras[:, 0].astype(int)]
        rows = extras.reshape(-1, self.keypoint_values)
        keypoints = keypoints_at(rows[:, :2], rows[:, 2] if self.keypoint_values == 3 else None, size, preprocessing)
        starts = range(0, len(keypoints), self.keypoints)
        boxes = tuple(
            Box(box.left, box.top, box.right, box.bottom, box.what, keypoints=keypoints[at : at + self.keypoints])
            for at, box in zip(starts, self._boxes(found, stay, size, preprocessing), strict=True)
        )
        return Prediction(self.kind, boxes=boxes, labels=self.names)


@dataclass(frozen=True)
class OrientedDetection(Detection):
    """Turned boxes: YOLOv8's and YOLO11's obb."""

    head: str = 'yolov8'
    kind: str = field(default='oriented_detection', init=False)

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the boxes that are left, best first; they may reach beyond the image."""
        found = self._found(outputs, preprocessing, 1, centres=True)
        turned = np.concatenate([found.boxes, found.extras], axis=1)
        stay = suppressed_oriented(turned, found.scores, self._rivals(found), self.overlap, self.most) if self.overlap < 1 else (
            np.argsort(-found.scores, kind='stable')[: self.most].tolist()
        )
        boxes = _turned_in_image(turned[stay], size, preprocessing)
        result = tuple(
            Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2, score, angle)
            for (x, y, width, height, angle), score in zip(boxes.tolist(), self._scores(found, stay), strict=True)
        )
        return Prediction(self.kind, boxes=result, labels=self.names)


def placed(points: Floats, size: tuple[int, int], preprocessing: Preprocessing | None) -> Floats:
    """Return points ``[n, 2]`` of the model's input in the image, cut off at its edges; as they are where there is no image."""
    if size == (0, 0):
        return points
    return np.clip(points if preprocessing is None else preprocessing.to_image(points, size), 0, np.array(size, np.float64))


def keypoints_at(
    points: Floats, scores: Floats | None, size: tuple[int, int], preprocessing: Preprocessing | None
) -> tuple[Keypoint, ...]:
    """Return keypoints in the image from points ``[n, 2]`` of the model's input."""
    given = [1.0] * len(points) if scores is None else scores.tolist()
    return tuple(Keypoint(x, y, score) for (x, y), score in zip(placed(points, size, preprocessing).tolist(), given, strict=True))


def _turned_in_image(boxes: Floats, size: tuple[int, int], preprocessing: Preprocessing | None) -> Floats:
    """Return centre, size and angle in the image; each side keeps its direction's stretch."""
    if preprocessing is None or size == (0, 0):
        return boxes
    result, angle = boxes.copy(), boxes[:, 4]
    result[:, :2] = preprocessing.to_image(boxes[:, :2], size)
    origin, ones = preprocessing.to_image(np.array([[0.0, 0.0], [1.0, 1.0]]), size)
    cosine, sine = np.cos(angle), np.sin(angle)
    across, along = ((ones - origin) * np.stack(pair, axis=1) for pair in ((cosine, sine), (-sine, cosine)))
    result[:, 2] *= np.hypot(*across.T)
    result[:, 3] *= np.hypot(*along.T)
    uniform = np.isclose(*(ones - origin))
    result[:, 4] = angle if uniform else np.arctan2(across[:, 1], across[:, 0])
    return result

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of postprocessing that come with this package: classification, detection, segmentation, raw, action_chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing

from .action_chunk import action_chunk
from .boxes import suppressed
from .postprocess import Arrays, Box, Postprocessor, Prediction, Score, name_of, output_named, read_labels, read_options


@dataclass(frozen=True)
class Classification:
    """The classes with the highest scores.

    :param labels: path of a text file, one class a line.
    :param top: how many.
    :param output: the output's name; empty: the first one. It holds one score for each class, ``[…, classes]``.
    :param softmax: the output holds logits, which become probabilities.
    """

    labels: str = ''
    top: int = 5
    output: str = ''
    softmax: bool = True
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='classification', init=False)

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f'postprocessing: top: {self.top} must be at least 1')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:  # noqa: ARG002
        """Return the best classes, best first."""
        scores = np.asarray(output_named(outputs, self.output), np.float64)
        if scores.size != scores.shape[-1]:
            raise UserError(f'postprocessing: an output of shape {list(scores.shape)} is no list of classes; name another output')
        scores = scores.reshape(-1)
        if self.softmax:
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        order = np.argsort(-scores, kind='stable')[: self.top]
        best = tuple(Score(int(i), name_of(int(i), self.names), float(scores[i])) for i in order)
        return Prediction(self.kind, scores=best, labels=self.names)


@dataclass(frozen=True)
class Detection:
    """Boxes of a YOLO-like head: rows of ``[x, y, width, height, (objectness,) class scores…]`` in pixels of the model's input.

    :param labels: path of a text file, one class a line.
    :param output: the output's name; empty: the first one. ``[1, boxes, values]``, or transposed.
    :param transposed: the output is ``[1, values, boxes]`` (YOLOv8 and newer).
    :param objectness: the fifth value says whether there is anything, and multiplies the scores (YOLOv5, YOLOX).
    :param corners: the first four values are left, top, right, bottom instead of a centre and a size.
    :param normalised: they are shares of the input's width and height instead of pixels.
    :param logits: objectness and scores go through a sigmoid first.
    :param least_score: boxes below it are left out.
    :param overlap: of two boxes of a class whose intersection over union is above it, the better one stays.
    :param most: how many boxes at most.
    """

    labels: str = ''
    output: str = ''
    transposed: bool = False
    objectness: bool = False
    corners: bool = False
    normalised: bool = False
    logits: bool = False
    least_score: float = 0.25
    overlap: float = 0.45
    most: int = 100
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='detection', init=False)

    def __post_init__(self) -> None:
        for name in ('least_score', 'overlap'):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f'postprocessing: {name}: {getattr(self, name)} must be from 0 to 1')
        if self.most < 1:
            raise UserError(f'postprocessing: most: {self.most} must be at least 1')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the boxes that are left, best first."""
        rows = np.asarray(output_named(outputs, self.output), np.float64)
        first = 5 if self.objectness else 4
        if rows.ndim == 3 and rows.shape[0] == 1:
            rows = rows[0].T if self.transposed else rows[0]
        if rows.ndim != 2 or rows.shape[1] <= first:
            raise UserError(
                f'postprocessing: an output of shape {list(rows.shape)} has no boxes of {first} values and scores; '
                'see transposed and objectness, or name another output'
            )
        if preprocessing is None and self.normalised:
            raise UserError('postprocessing: normalised boxes need the preprocessing that says how large the input is')
        scores = _sigmoid(rows[:, first:]) if self.logits else rows[:, first:]
        if self.objectness:
            there = _sigmoid(rows[:, 4]) if self.logits else rows[:, 4]
            scores = scores * there[:, None]
        classes = scores.argmax(axis=1)
        best = scores[np.arange(len(rows)), classes]
        kept = np.flatnonzero(best >= self.least_score)
        boxes = self._in_image(rows[kept, :4], size, preprocessing)
        stay = suppressed(boxes, best[kept], classes[kept], self.overlap, self.most)
        found = tuple(
            Box(left, top, right, bottom, Score(number, name_of(number, self.names), score))
            for (left, top, right, bottom), number, score in zip(
                boxes[stay].tolist(), classes[kept][stay].tolist(), best[kept][stay].tolist(), strict=True
            )
        )
        return Prediction(self.kind, boxes=found, labels=self.names)

    def _in_image(
        self, values: NDArray[np.float64], size: tuple[int, int], preprocessing: Preprocessing | None
    ) -> NDArray[np.float64]:
        """Return corners in the image's pixels, cut off at its edges."""
        boxes = values.copy()
        if not self.corners:
            boxes[:, :2] = values[:, :2] - values[:, 2:] / 2
            boxes[:, 2:] = values[:, :2] + values[:, 2:] / 2
        if preprocessing is not None:
            if self.normalised:
                boxes *= np.array([preprocessing.width, preprocessing.height] * 2)
            boxes = preprocessing.to_image(boxes.reshape(-1, 2), size).reshape(-1, 4)
        return np.clip(boxes, 0, np.array([*size, *size], np.float64))


@dataclass(frozen=True)
class Segmentation:
    """A class for each pixel of the image.

    :param labels: path of a text file, one class a line.
    :param output: the output's name; empty: the first one. Scores ``[1, classes, height, width]``, or classes
        ``[1, height, width]``.
    """

    labels: str = ''
    output: str = ''
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='segmentation', init=False)

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the mask; pixels that the preprocessing cut away are of class 0."""
        values = output_named(outputs, self.output)
        if values.ndim == 4 and values.shape[0] == 1:
            classes = values[0].argmax(axis=0) if values.shape[1] > 1 else values[0, 0]
        elif values.ndim == 3 and values.shape[0] == 1:
            classes = values[0]
        else:
            raise UserError(f'postprocessing: an output of shape {list(values.shape)} is no mask; name another output')
        mask = np.ascontiguousarray(np.clip(classes, 0, 255), np.uint8)
        if preprocessing is None:
            whole = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
            return Prediction(self.kind, mask=whole, labels=self.names)
        width, height = size
        corners = np.array([[0.0, 0.0], [width, height]])
        (left, top), (right, bottom) = preprocessing.from_image(corners, size)
        across = (np.arange(width) + 0.5) * (right - left) / width + left
        down = (np.arange(height) + 0.5) * (bottom - top) / height + top
        columns = np.floor(across * mask.shape[1] / preprocessing.width).astype(int)
        rows = np.floor(down * mask.shape[0] / preprocessing.height).astype(int)
        whole = mask[np.clip(rows, 0, mask.shape[0] - 1)[:, None], np.clip(columns, 0, mask.shape[1] - 1)[None, :]]
        whole[(rows < 0) | (rows >= mask.shape[0]), :] = 0
        whole[:, (columns < 0) | (columns >= mask.shape[1])] = 0
        return Prediction(self.kind, mask=whole, labels=self.names)


@dataclass(frozen=True)
class Raw:
    """Nothing: the outputs are in the result as they are."""

    kind: str = field(default='raw', init=False)

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:  # noqa: ARG002
        """Return an empty prediction."""
        return Prediction(self.kind)


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -50, 50))))


def classification(values: Mapping[str, Any], base: Path) -> Postprocessor:
    """Return a `Classification`; see `postprocess.Factory`."""
    return _labelled(Classification(**read_options(Classification, values)), base)


def detection(values: Mapping[str, Any], base: Path) -> Postprocessor:
    """Return a `Detection`; see `postprocess.Factory`."""
    return _labelled(Detection(**read_options(Detection, values)), base)


def segmentation(values: Mapping[str, Any], base: Path) -> Postprocessor:
    """Return a `Segmentation`; see `postprocess.Factory`."""
    return _labelled(Segmentation(**read_options(Segmentation, values)), base)


def raw(values: Mapping[str, Any], _base: Path) -> Postprocessor:
    """Return a `Raw`; see `postprocess.Factory`."""
    return Raw(**read_options(Raw, values))


def _labelled(made: Any, base: Path) -> Postprocessor:
    object.__setattr__(made, 'names', read_labels(made.labels, base))
    return made  # type: ignore[no-any-return]


BUILT_IN: Final = {
    'classification': classification, 'detection': detection, 'segmentation': segmentation, 'raw': raw,
    'action_chunk': action_chunk,
}  # fmt: skip

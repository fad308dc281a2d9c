# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of postprocessing that come with this package, by name, and those of them that read a few values or points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing

from .action_chunk import action_chunk
from .checks import check_classes, check_scores, numbers_named, refusal, shapes_of
from .dense import Depth, Segmentation
from .detection import Detection, InstanceSegmentation, OrientedDetection, Pose, keypoints_at
from .heads import HEADS, Floats, sigmoid, softmax
from .postprocess import (
    Arrays,
    Box,
    Postprocessor,
    Prediction,
    Score,
    name_of,
    read_labels,
    read_lines,
    read_options,
)


@dataclass(frozen=True)
class Classification:
    """The classes with the highest scores.

    :param labels: path of a text file, one class a line.
    :param top: how many.
    :param output: the output's name; empty: the first one. It holds one score for each class; other axes are 1.
    :param softmax: the output holds logits, which become probabilities.
    :param logits: the output holds logits of classes that do not exclude each other: a sigmoid for each, in place of softmax.
    """

    topics: ClassVar[tuple[str, ...]] = ('classification',)

    labels: str = ''
    top: int = 5
    output: str = ''
    softmax: bool = True
    logits: bool = False
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='classification', init=False)

    def __post_init__(self) -> None:
        _check_top(self.top)

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:  # noqa: ARG002
        """Return the best classes, best first."""
        scores, shapes = numbers_named(outputs, self.output, self.kind), shapes_of(outputs)
        if not scores.size or scores.size != max(scores.shape):
            problem = f'an output of shape {list(scores.shape)} is no list of classes; name another output'
            raise refusal(problem, shapes, self.kind)
        scores = scores.reshape(-1)
        if len(self.names) > len(scores) or len(self.names) == len(scores) - 1:  # one more is a background, and moves all names
            check_classes(len(scores), self.names, shapes, self.kind)
        if self.logits:
            scores = sigmoid(scores)
        elif self.softmax:
            if len(scores) > 2 and scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
                raise refusal('the scores are probabilities already (their sum is 1); set softmax: false', shapes, self.kind)
            scores = softmax(scores)
        else:
            check_scores(scores, shapes, self.kind, '; if these are logits leave softmax: false out')
        return Prediction(self.kind, scores=_best(scores, self.top, self.names), labels=self.names)


@dataclass(frozen=True)
class Keypoints:
    """Points of one object that the image shows: its pose, a face's landmarks. They come as one box that holds them.

    :param labels: path of a text file with the points' names, one a line; they are checked, not sent.
    :param form: ``heatmaps`` ``[1, points, height, width]``, each point the highest value, moved by a quarter towards its higher
        neighbours (HRNet); ``simcc``: two outputs, ``[1, points, columns]`` and ``[1, points, rows]``, each point the highest
        value of both (RTMPose); ``coordinates`` ``[1, points, 2 or 3]``: x, y and a score in pixels of the input.
    :param output: the output's name, of ``simcc`` that of the columns; empty: the first one.
    :param rows: of ``simcc``: the name of the output with the rows; empty: the second one.
    :param normalised: ``coordinates`` are shares of the input's width and height.
    """

    topics: ClassVar[tuple[str, ...]] = ('detections',)

    labels: str = ''
    form: str = 'heatmaps'
    output: str = ''
    rows: str = ''
    normalised: bool = False
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='keypoints', init=False)

    def __post_init__(self) -> None:
        if self.form not in _FORMS:
            raise UserError(f'postprocessing: form: {self.form!r} is none of {", ".join(_FORMS)}')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return one box around the points, with the mean of their scores."""
        shapes = shapes_of(outputs)
        if preprocessing is None and (self.form != 'coordinates' or self.normalised):
            raise UserError('postprocessing: keypoints need the preprocessing that says how large the input is')
        values = numbers_named(outputs, self.output, self.kind)
        if self.form == 'heatmaps':
            points, scores = _of_heatmaps(values, shapes)
        elif self.form == 'simcc':
            other = self.rows or next((name for name in list(outputs)[1:] if name != self.output), '')
            points, scores = _of_simcc(values, numbers_named(outputs, other, self.kind), shapes)
        else:
            rows = values[0] if values.ndim == 3 and len(values) == 1 else values
            if rows.ndim != 2 or rows.shape[1] not in (2, 3):
                raise refusal('coordinates of points are [1, points, 2 or 3]', shapes, self.kind)
            points, scores = rows[:, :2], rows[:, 2] if rows.shape[1] == 3 else np.ones(len(rows))
        check_classes(len(points), self.names, shapes, self.kind)
        if preprocessing is not None and (self.form != 'coordinates' or self.normalised):
            points = points * (preprocessing.width, preprocessing.height)
        found = keypoints_at(points, scores, size, preprocessing)
        across, down = [point.x for point in found], [point.y for point in found]
        score = Score(0, name_of(0, ()), float(np.mean(scores)))
        box = Box(min(across), min(down), max(across), max(down), score, keypoints=found)
        return Prediction(self.kind, boxes=(box,), labels=self.names)


_FORMS: Final = ('heatmaps', 'simcc', 'coordinates')


def _of_heatmaps(values: Floats, shapes: Any) -> tuple[Floats, Floats]:
    """Return points as shares of the input, and scores."""
    if values.ndim != 4 or len(values) != 1 or not values.size:
        raise refusal('heatmaps of points are [1, points, height, width]', shapes, 'keypoints')
    _, count, height, width = values.shape
    flat = values.reshape(count, -1)
    down, across = np.divmod(flat.argmax(axis=1), width)
    padded = np.pad(values[0], ((0, 0), (1, 1), (1, 1)), mode='edge')
    at = np.arange(count)
    right, left = padded[at, down + 1, across + 2], padded[at, down + 1, across]
    below, above = padded[at, down + 2, across + 1], padded[at, down, across + 1]
    inside_x, inside_y = (across > 0) & (across < width - 1), (down > 0) & (down < height - 1)
    x = across + 0.25 * np.sign(right - left) * (inside_x & inside_y)
    y = down + 0.25 * np.sign(below - above) * (inside_x & inside_y)
    return np.stack([x / width, y / height], axis=1), flat.max(axis=1)


def _of_simcc(columns: Floats, rows: Floats, shapes: Any) -> tuple[Floats, Floats]:
    """Return points as shares of the input, and scores: the lesser of both maxima."""
    if columns.ndim != 3 or rows.ndim != 3 or columns.shape[:2] != rows.shape[:2] or len(rows) != 1 or not rows.shape[1]:
        raise refusal('simcc is two outputs, [1, points, columns] and [1, points, rows]', shapes, 'keypoints')
    x, y = columns[0].argmax(axis=1) / columns.shape[2], rows[0].argmax(axis=1) / rows.shape[2]
    return np.stack([x, y], axis=1), np.minimum(columns[0].max(axis=1), rows[0].max(axis=1))


@dataclass(frozen=True)
class Embedding:
    """A vector that stands for the image, or the known things that it is nearest to.

    :param output: the output's name; empty: the first one. ``[1, values]``, ``[1, values, 1, 1]``, or ``[1, tokens, values]``.
    :param pool: of tokens: their ``mean``, or the ``first`` (a class token).
    :param normalise: divide by the length, so that a product of two is their cosine.
    :param gallery: path of an .npy file ``[things, values]``; the nearest by cosine become classes, with the cosine as score.
    :param labels: path of a text file with the gallery's names, one a line.
    :param top: how many of the gallery.
    """

    output: str = ''
    pool: str = 'mean'
    normalise: bool = True
    gallery: str = ''
    labels: str = ''
    top: int = 5
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    known: NDArray[np.float64] | None = field(default=None, init=False, repr=False, compare=False)
    kind: str = field(default='embedding', init=False)

    @property
    def topics(self) -> tuple[str, ...]:
        """Where predictions go: see `postprocess.topics_of`."""
        return ('embedding', 'classification') if self.gallery else ('embedding',)

    def __post_init__(self) -> None:
        _check_top(self.top)
        if self.pool not in ('mean', 'first'):
            raise UserError(f'postprocessing: pool: {self.pool!r} is none of mean, first')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:  # noqa: ARG002
        """Return the vector, and the nearest of the gallery, nearest first."""
        values, shapes = numbers_named(outputs, self.output, self.kind), shapes_of(outputs)
        if values.ndim == 3 and len(values) == 1 and values.shape[1]:
            values = values[0].mean(axis=0) if self.pool == 'mean' else values[0, 0]
        if not values.size or values.size != max(values.shape):
            raise refusal(f'an output of shape {list(values.shape)} is no vector', shapes, self.kind)
        values = values.reshape(-1)
        unit = values / max(float(np.linalg.norm(values)), 1e-12)
        scores: tuple[Score, ...] = ()
        if self.known is not None:
            if len(unit) != self.known.shape[1]:
                raise refusal(f'the gallery has vectors of {self.known.shape[1]} values, the output {len(unit)}', shapes, self.kind)
            scores = _best(self.known @ unit, self.top, self.names)
        vector = np.asarray(unit if self.normalise else values, np.float32)
        return Prediction(self.kind, scores=scores, vector=vector, labels=self.names)


@dataclass(frozen=True)
class Text:
    """One line of text, read by connectionist temporal classification (CRNN, PaddleOCR): a class whose label is the text.

    :param labels: path of a text file with the characters, one a line, in the order of the model's output, without the blank.
    :param output: the output's name; empty: the first one. ``[1, steps, characters]``, or ``[steps, 1, characters]``.
    :param softmax: the output holds logits, which become probabilities.
    :param blank: where the class is that stands for no character: ``first`` (PaddleOCR) or ``last``.
    :param space: a space follows the last character of the file (PaddleOCR's use_space_char).
    """

    topics: ClassVar[tuple[str, ...]] = ('classification',)

    labels: str
    output: str = ''
    softmax: bool = False
    blank: str = 'first'
    space: bool = False
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='text', init=False)

    def __post_init__(self) -> None:
        if self.blank not in ('first', 'last'):
            raise UserError(f'postprocessing: blank: {self.blank!r} is none of first, last')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:  # noqa: ARG002
        """Return the text, with the mean probability of its characters; no class where there is none."""
        values, shapes = numbers_named(outputs, self.output, self.kind), shapes_of(outputs)
        if values.ndim == 3 and 1 in values.shape[:2]:
            values = values.reshape(-1, values.shape[2])
        characters = self.names + ((' ',) if self.space else ())
        if values.ndim != 2 or values.shape[1] != len(characters) + 1:
            raise refusal(
                f'an output of shape {list(values.shape)} is no row of {len(characters)} characters and a blank; '
                'see labels and space', shapes, self.kind)  # fmt: skip
        scores = softmax(values) if self.softmax else values
        check_scores(scores, shapes, self.kind, '; if the output is a logit set softmax: true')
        best = scores.argmax(axis=1)
        blank = 0 if self.blank == 'first' else len(characters)
        kept = (best != blank) & np.append(True, best[1:] != best[:-1]) if len(best) else np.zeros(0, bool)
        text = ''.join(characters[index - (blank == 0)] for index in best[kept].tolist())
        if not text:
            return Prediction(self.kind)
        return Prediction(self.kind, scores=(Score(0, text, float(scores.max(axis=1)[kept].mean())),))


@dataclass(frozen=True)
class Raw:
    """Nothing: the outputs are in the result as they are."""

    kind: str = field(default='raw', init=False)

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:  # noqa: ARG002
        """Return an empty prediction."""
        return Prediction(self.kind)


def _check_top(top: int) -> None:
    if top < 1:
        raise UserError(f'postprocessing: top: {top} must be at least 1')


def _best(scores: Floats, top: int, names: tuple[str, ...]) -> tuple[Score, ...]:
    order = np.argsort(-scores, kind='stable')[:top].tolist()
    return tuple(Score(index, name_of(index, names), float(scores[index])) for index in order)


def _factory(kind: type[Any]) -> Callable[[Mapping[str, Any], Path], Postprocessor]:
    """Return what makes a postprocessor of a kind from its keys; see `postprocess.Factory`."""

    def make(values: Mapping[str, Any], base: Path) -> Postprocessor:
        options = read_options(kind, values)
        head = options.get('head', getattr(kind, 'head', ''))
        made = kind(**{**HEADS.get(head, {}), **options})
        if getattr(made, 'labels', ''):
            object.__setattr__(made, 'names', read_labels(made.labels, base))
        return made  # type: ignore[no-any-return]

    return make


classification = _factory(Classification)
detection = _factory(Detection)
instance_segmentation = _factory(InstanceSegmentation)
pose = _factory(Pose)
oriented_detection = _factory(OrientedDetection)
segmentation = _factory(Segmentation)
depth = _factory(Depth)
keypoints = _factory(Keypoints)
raw = _factory(Raw)


def embedding(values: Mapping[str, Any], base: Path) -> Postprocessor:
    """Return an `Embedding` with its gallery; see `postprocess.Factory`."""
    made = _factory(Embedding)(values, base)
    assert isinstance(made, Embedding)
    if made.gallery:
        object.__setattr__(made, 'known', _gallery(base / made.gallery, made.names))
    return made


def _gallery(path: Path, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the vectors of a gallery, each of length 1."""
    try:
        known = np.asarray(np.load(path, allow_pickle=False), np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f'postprocessing: gallery: {path} cannot be read; give an .npy file [things, values]') from error
    if known.ndim != 2 or not known.size or (names and len(names) != len(known)):
        raise UserError(f'postprocessing: gallery: {path} holds {list(known.shape)}, not one vector for each line of labels')
    return np.asarray(known / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-12))


def text(values: Mapping[str, Any], base: Path) -> Postprocessor:
    """Return a `Text` with its characters, blanks and all; see `postprocess.Factory`."""
    if not values.get('labels'):
        raise UserError('postprocessing: text needs labels: a text file with one character a line')
    made = Text(**read_options(Text, values))
    characters = tuple(read_lines(base / made.labels))
    if not characters:
        raise UserError(f'postprocessing: labels: {base / made.labels} is empty; give one character a line')
    object.__setattr__(made, 'names', tuple(line.removesuffix('\r') for line in characters))
    return made


#: kind -> what makes a postprocessor from its keys
BUILT_IN: Final[dict[str, Callable[[Mapping[str, Any], Path], Postprocessor]]] = {
    'classification': classification,
    'detection': detection,
    'instance_segmentation': instance_segmentation,
    'pose': pose,
    'oriented_detection': oriented_detection,
    'segmentation': segmentation,
    'depth': depth,
    'keypoints': keypoints,
    'embedding': embedding,
    'text': text,
    'action_chunk': action_chunk,
    'raw': raw,
}

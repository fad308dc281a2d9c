# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Kinds that say something of each pixel of the image: its class, or its depth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing

from .checks import check_classes, check_scores, refusal, shapes_of
from .heads import sigmoid
from .planes import Resampling
from .postprocess import Arrays, Prediction, output_named

_LAYOUTS: Final = ('NCHW', 'NHWC')


@dataclass(frozen=True)
class Segmentation:
    """A class for each pixel of the image.

    :param labels: path of a text file, one class a line.
    :param output: the output's name; empty: the first one. Scores ``[1, classes, height, width]``, which are brought to the
        image's size before the highest is taken (SegFormer, DeepLab); one probability ``[1, 1, height, width]``; or classes
        ``[1, height, width]``.
    :param layout: ``NHWC`` for scores ``[1, height, width, classes]``.
    :param logits: a single probability goes through a sigmoid first.
    :param threshold: of a single probability: class 1 from there on.
    """

    topics: ClassVar[tuple[str, ...]] = ('mask',)

    labels: str = ''
    output: str = ''
    layout: str = 'NCHW'
    logits: bool = False
    threshold: float = 0.5
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    kind: str = field(default='segmentation', init=False)

    def __post_init__(self) -> None:
        if self.layout not in _LAYOUTS:
            raise UserError(f'postprocessing: layout: {self.layout!r} is none of {", ".join(_LAYOUTS)}')
        if not 0 < self.threshold < 1:
            raise UserError(f'postprocessing: threshold: {self.threshold} must be between 0 and 1')

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the mask; pixels that the preprocessing cut away are of class 0."""
        planes, shapes = output_named(outputs, self.output), shapes_of(outputs)
        if planes.ndim == 4 and self.layout == 'NHWC':
            planes = planes.transpose(0, 3, 1, 2)
        if planes.ndim not in (3, 4) or planes.shape[0] != 1 or not planes.size:
            raise refusal(f'an output of shape {list(planes.shape)} is no mask; name another output', shapes, self.kind)
        planes = planes[0] if planes.ndim == 4 else planes
        self._check_axes(planes.shape, preprocessing, shapes)
        resampling = Resampling.of(planes.shape[1:], size, preprocessing)
        if len(planes) > 1:
            check_classes(len(planes), self.names, shapes, self.kind)
            mask = resampling.strongest(planes.astype(np.float32, copy=False))
        elif self.logits or not _whole(planes):
            scores = sigmoid(planes[0].astype(np.float64)) if self.logits else planes[0]
            check_scores(scores, shapes, self.kind, '; if the output is a logit set logits: true')
            mask = (resampling.linear(scores.astype(np.float32)) >= self.threshold).astype(np.uint8)
        else:
            mask = resampling.nearest(np.clip(planes[0], 0, 255).astype(np.uint8))
        mask[~resampling.seen()] = 0
        return Prediction(self.kind, mask=mask, labels=self.names)

    def _check_axes(self, shape: tuple[int, ...], preprocessing: Preprocessing | None, shapes: Any) -> None:
        """Refuse planes whose axes are others than declared: too many classes, or another aspect than the input."""
        count, height, width = shape
        if count > 256:
            raise refusal(f'a mask has 256 classes at most, not {count}; is the layout not {self.layout}?', shapes, self.kind)
        if preprocessing is not None and count > 1 and not _same_aspect((height, width), preprocessing):
            raise refusal(
                f'planes of {height} x {width} have another aspect than the input, {preprocessing.height} x {preprocessing.width}; '
                f'is the layout not {self.layout}?', shapes, self.kind)  # fmt: skip


@dataclass(frozen=True)
class Depth:
    """A distance for each pixel of the image, ``[1, height, width]`` or ``[1, 1, height, width]``, brought to its size bilinearly.

    :param output: the output's name; empty: the first one.
    :param inverse: the output is inverse depth (disparity: MiDaS, DPT, Depth Anything): a pixel becomes
        ``1 / (value * scale + offset)``, NaN where that is not above 0.
    :param scale: multiplies each value; metres where the model is metric.
    :param offset: added last, before the inverse.
    """

    topics: ClassVar[tuple[str, ...]] = ('depth',)

    output: str = ''
    inverse: bool = False
    scale: float = 1.0
    offset: float = 0.0
    kind: str = field(default='depth', init=False)

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return the depth; NaN where the preprocessing cut the image away."""
        plane = output_named(outputs, self.output)
        sides = [side for side in plane.shape if side != 1]
        if plane.ndim not in (3, 4) or len(sides) != 2:
            raise refusal(f'an output of shape {list(plane.shape)} is no depth of one value a pixel', shapes_of(outputs), self.kind)
        resampling = Resampling.of(sides, size, preprocessing)
        depth = resampling.linear(plane.reshape(sides).astype(np.float32)) * np.float32(self.scale) + np.float32(self.offset)
        if self.inverse:
            depth = np.divide(1, depth, out=np.full_like(depth, np.nan), where=depth > 0)
        depth[~resampling.seen()] = np.nan
        return Prediction(self.kind, depth=depth)


def _whole(planes: NDArray[Any]) -> bool:
    return planes.dtype.kind in 'iub' or bool((planes == np.rint(planes)).all())


def _same_aspect(sides: tuple[int, int], preprocessing: Preprocessing) -> bool:
    down, across = preprocessing.height / sides[0], preprocessing.width / sides[1]
    return abs(down - across) <= 0.2 * max(down, across)

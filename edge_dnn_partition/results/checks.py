# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether outputs fit their declared kind, and what they look like where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError

from .postprocess import Arrays, output_named

Shapes = Mapping[str, Sequence[int]]

_TOLERANCE: Final = 1e-3
"""By how much a probability may leave 0 .. 1; float16 rounds to half of that."""


def refusal(problem: str, shapes: Shapes, kind: str) -> UserError:
    """Return the error for outputs that do not fit: what is wrong, and what they look like."""
    outputs = ', '.join(f'{name!r} {list(shape)}' for name, shape in shapes.items())
    likely = likely_kind(shapes) or {}
    tells = likely.get('kind', kind) != kind or 'head' in likely
    keys = ', '.join(f'{key}: {value}' for key, value in likely.items())
    hint = f'that looks like {{{keys}}}' if tells else 'docs/seeing.md has the kinds and their keys'
    if _are_grids(shapes):
        hint = "that looks like a detector's raw grids: export the model with its decoding"
    return UserError(f'postprocessing: {kind}: {problem}; the model gives {outputs}; {hint}')


def shapes_of(outputs: Arrays) -> Shapes:
    """Return the outputs' shapes by name."""
    return {name: values.shape for name, values in outputs.items()}


def numbers_named(outputs: Arrays, name: str, kind: str) -> NDArray[np.float64]:
    """Return one output as float64; the first one if the name is empty.

    :raises UserError: if there is none of that name, or it holds whole numbers or text: labels, or quantised values.
    """
    values = output_named(outputs, name)
    if values.dtype.kind in 'iubOSU':
        what = f'the output holds {values.dtype}: classes or quantised values; name another output, or export it as float'
        raise refusal(what, shapes_of(outputs), kind)
    return np.asarray(values, np.float64)


def check_scores(scores: NDArray[Any], shapes: Shapes, kind: str, advice: str = '') -> None:
    """Refuse scores that are no probabilities: they are something else, read wrongly.

    :raises UserError: that says what the outputs look like.
    """
    if not scores.size:
        return
    least, most = float(scores.min()), float(scores.max())
    if not (least >= -_TOLERANCE and most <= 1 + _TOLERANCE):
        worst = most if not most <= 1 + _TOLERANCE else least
        raise refusal(f'a score of {worst:.4g} is no probability{advice}', shapes, kind)


def check_classes(count: int, labels: Sequence[str], shapes: Shapes, kind: str) -> None:
    """Refuse a head that has another number of classes than the labels file has lines.

    :raises UserError: that says what the outputs look like.
    """
    if labels and count != len(labels):
        raise refusal(f'the output has room for {count} classes, the labels file has {len(labels)} lines', shapes, kind)


def likely_kind(shapes: Shapes) -> dict[str, Any] | None:
    """Return what outputs of such shapes most often are, as keys of ``postprocessing``; None: they do not tell.

    A guess: YOLOv5 and YOLOX, or DETR and RT-DETR, have the same shapes.
    """
    by_name = {name.lower(): tuple(shape) for name, shape in shapes.items()}
    if not by_name or any(not shape for shape in by_name.values()) or _are_grids(shapes):
        return None
    flat = [shape for shape in by_name.values() if len(shape) == 3]
    planes = [shape for shape in by_name.values() if len(shape) == 4]
    if 'logits' in by_name and 'pred_boxes' in by_name:
        return {'kind': 'detection', 'head': 'detr'}
    if 'dets' in by_name and 'labels' in by_name:
        return {'kind': 'detection', 'head': 'rf_detr'}
    if any('detection_boxes' in name for name in by_name):
        return {'kind': 'detection', 'head': 'tensorflow'}
    if {'boxes', 'scores', 'labels'} <= set(by_name):
        return _of_lists(by_name)
    first = next(iter(by_name.values()))
    if len(by_name) == 2 and len(flat) == 1 and len(planes) == 1:
        return {'kind': 'instance_segmentation', 'head': _head_of_rows(flat[0])} if _head_of_rows(flat[0]) else None
    if len(by_name) == 2 and len(flat) == 2 and {shape[1] for shape in flat} == {flat[0][1]} and 4 in (flat[0][2], flat[1][2]):
        return {'kind': 'detection', 'head': 'ssd'} if flat[0][1] > 1000 else {'kind': 'detection', 'head': 'detr'}
    if len(first) == 3:
        return _rows(first) if 'depth' not in next(iter(by_name)) else {'kind': 'depth'}
    if len(first) == 4 and 'depth' in next(iter(by_name)):
        return {'kind': 'depth'}
    if len(first) == 4 and min(first[2:]) > 8:
        return {'kind': 'segmentation'}
    if len(first) == 4 and min(first[1:3]) > 8:
        return {'kind': 'segmentation', 'layout': 'NHWC'}
    if len(first) == 2:
        return {'kind': 'classification'}
    return None


def _of_lists(by_name: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return what torchvision's lists hold besides boxes."""
    if len(by_name.get('masks', ())) == 4:
        return {'kind': 'instance_segmentation', 'head': 'lists'}
    points = by_name.get('keypoints', ())
    if len(points) == 3 and points[1] and points[2] == 3:
        return {'kind': 'pose', 'head': 'lists', 'keypoints': points[1]}
    return {'kind': 'detection', 'head': 'lists'}


def _are_grids(shapes: Shapes) -> bool:
    """Return whether outputs are grids of several sizes, or of several anchors, as YOLO heads without their decoding give."""
    planes = [shape for shape in shapes.values() if len(shape) == 4]
    grids = {tuple(shape[2:]) for shape in planes}
    alike = len({shape[1] for shape in planes}) == 1 and planes[0][1] % 3 == 0 and planes[0][1] > 15  # three anchors of a grid
    return len(grids) > 2 or (len(grids) == 2 and alike) or any(len(shape) == 5 for shape in shapes.values())


def _covers_grids(rows: int) -> bool:
    """Return whether there are as many rows as places on a detector's grids; a transformer's tokens are hardly so many.

    Strides of 8, 16 and 32 make 21 places for each of the coarsest, those of 4 or 64 besides 85, those of 16 and 32 alone 5.
    """
    return rows == 0 or rows % 21 == 0 or rows % 85 == 0 or (rows > 1000 and rows % 5 == 0)


def _head_of_rows(shape: Sequence[int]) -> str:
    if shape[2] in (6, 7) or (shape[1] in (100, 300) and shape[2] > 7 and (shape[2] % 3 == 0 or shape[2] == 38)):
        return 'end_to_end'
    if not _covers_grids(max(shape[1:])):
        return ''
    return 'yolov8' if 0 < shape[1] < shape[2] else 'yolov5' if 0 < shape[2] < shape[1] else ''


def _rows(shape: Sequence[int]) -> dict[str, Any] | None:
    head = _head_of_rows(shape)
    values = shape[1] if head == 'yolov8' else shape[2]
    if head == 'end_to_end':
        points = values - 6
        if points == 0:
            return {'kind': 'detection', 'head': head}
        if points == 1:
            return {'kind': 'oriented_detection', 'head': head}
        return {'kind': 'pose', 'head': head, 'keypoints': points // 3} if points % 3 == 0 else None
    if head == 'yolov8' and values == 56:
        return {'kind': 'pose', 'head': head, 'keypoints': 17}
    if head == 'yolov8' and values == 20:
        return {'kind': 'oriented_detection', 'head': head}  # DOTA's 15 classes
    return {'kind': 'detection', 'head': head} if head and values > 4 else None

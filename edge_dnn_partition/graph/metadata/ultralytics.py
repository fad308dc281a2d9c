# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What ultralytics' exporter (YOLOv5 to 26) writes into the file: task, names, imgsz, args, head.

Values are Python's text of what they were: ``{0: 'person'}``, ``[640, 640]``, ``None`` where the exporter knew none.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final

from .ends import Ends
from .facts import Facts, facts, interpolation

_KINDS: Final = {
    'detect': 'detection', 'segment': 'instance_segmentation', 'pose': 'pose', 'obb': 'oriented_detection',
    'classify': 'classification',
}  # fmt: skip
_MASKS: Final = 32
"""Coefficients of a mask in each row of a segmenting head."""


def read(ends: Ends) -> Facts | None:
    """Return what the exporter says; None if the file is of another one."""
    said = ends.properties
    if not {'names', 'stride'} <= said.keys():
        return None
    origin = f'ultralytics {said["version"]}' if said.get('version') else 'ultralytics'
    names, task = _names(said['names']), said.get('task', '')
    unknown = []
    if not names:
        unknown.append('labels: the exporter wrote no names; write one a line, in the order of the data set it was trained on')
    if task not in _KINDS:
        task = _task(ends)
        unknown.append(f'postprocessing: the exporter wrote no task; the outputs look like {task}')
    preprocessing = facts(origin, colour='gray' if _value(said.get('channels', '')) == 1 else 'rgb', scale=1 / 255)
    if task == 'classify':
        preprocessing |= facts(f'{origin}: classifiers see the middle', resize='center_crop') | interpolation(origin, 'bilinear')
    else:
        preprocessing |= facts(f'{origin}: LetterBox', resize='letterbox', pad_value=114)
    return Facts(
        source=f"{origin}'s metadata in {ends.path.name}", preprocessing=preprocessing, size=_size(said.get('imgsz', '')),
        postprocessing=facts(origin, **_meaning(ends, said, task, len(names))), labels=names, unknown=tuple(unknown),
    )  # fmt: skip


def _task(ends: Ends) -> str:
    """Return the task that the outputs look like: YOLOv5 wrote names and stride alone."""
    shapes = [end.shape for end in ends.outputs]
    if len(shapes[0]) == 2:
        return 'classify'
    return 'segment' if any(len(shape) == 4 for shape in shapes[1:]) else 'detect'


def _meaning(ends: Ends, said: Mapping[str, str], task: str, classes: int) -> dict[str, Any]:
    """Return kind and keys; the head has NMS in it, is that of YOLOv5 (rows with an objectness), or of YOLOv8 and newer."""
    meaning: dict[str, Any] = {'kind': _KINDS[task]}
    if task == 'classify':
        return meaning | {'softmax': 'task' not in said}  # newer exports end in a softmax
    shape = ends.outputs[0].shape
    args = _value(said.get('args', ''))
    if said.get('end2end') == 'True' or (isinstance(args, Mapping) and args.get('nms')):
        meaning['head'] = 'end_to_end'
    elif said.get('head') == 'RTDETRDecoder':
        meaning |= {'normalised': True, 'overlap': 1.0}  # boxes and scores in one output, [1, boxes, 4 + classes]
    else:
        rows = len(shape) == 3 and shape[2] and shape[2] in (5 + classes, 5 + classes + _MASKS)
        meaning['head'] = 'yolov5' if rows and shape[1] != shape[2] else 'yolov8'
    points = _value(said.get('kpt_shape', ''))
    if task == 'pose' and isinstance(points, list) and points:
        meaning['keypoints'] = int(points[0])
        if points[1:] == [2]:
            meaning['keypoint_values'] = 2
    return meaning


def _size(text: str) -> tuple[int, int] | None:
    """Return width and height of ``imgsz``: one number, or height and width."""
    value = _value(text)
    if isinstance(value, int) and value > 0:
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(side, int) and side > 0 for side in value):
        return value[1], value[0]
    return None


def _names(text: str) -> tuple[str, ...]:
    value = _value(text)
    if isinstance(value, Mapping):
        try:
            numbered = {int(key): str(name) for key, name in value.items()}
        except (TypeError, ValueError):
            return ()
        return tuple(numbered.get(index, f'class {index}') for index in range(max(numbered, default=-1) + 1))
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


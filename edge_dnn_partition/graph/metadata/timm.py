# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What timm's ``config.json`` says: ``pretrained_cfg`` with the input's size, mean, std and how an image is cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .ends import Ends
from .facts import Fact, Facts, facts, interpolation
from .sidecars import beside, read_table

_CROP_RATIO: Final = 0.875
"""What timm takes where the file says nothing."""


def read(ends: Ends) -> Facts | None:
    """Return what the file says; None if there is none of timm's."""
    for path in beside(ends.path, 'config.json'):
        table = read_table(path)
        config = table.get('pretrained_cfg')
        if isinstance(config, Mapping):
            return _facts(ends, f'pretrained_cfg in {path.name}', table, config)
    return None


def _facts(ends: Ends, origin: str, table: Mapping[str, Any], config: Mapping[str, Any]) -> Facts:
    unknown = []
    mean, std = (config.get(key) for key in ('mean', 'std'))
    preprocessing = facts(origin, colour='rgb', scale=1 / 255)
    if mean and std:
        preprocessing |= facts(origin, mean=list(mean), std=list(std))
    else:
        unknown.append(f'preprocessing: {origin} lacks mean and std; see the page of the weights')
    mode, ratio = config.get('crop_mode', 'center'), config.get('crop_pct')
    if mode == 'squash':
        preprocessing |= facts(origin, resize='stretch', crop_ratio=float(ratio or 1.0))
    elif mode == 'border':
        preprocessing |= facts(origin, resize='letterbox') | facts(f'{origin}: the mean colour', pad_value=_grey(mean))
        if ratio and ratio < 1:
            unknown.append(f'preprocessing: crop_pct {ratio} of crop_mode border cannot be said here; the image is not cut')
    else:
        preprocessing |= facts(origin, resize='center_crop')
        preprocessing['crop_ratio'] = Fact(float(ratio or _CROP_RATIO), origin if ratio else "timm's default, for lack of crop_pct")
    preprocessing |= interpolation(origin, str(config.get('interpolation', 'bicubic')).removesuffix('-tv'))
    size = config.get('input_size')
    labels = _labels({**table, **config})
    classes = ends.outputs[0].shape[-1] if ends.outputs[0].shape else 0
    post: dict[str, Fact] = {}
    if table.get('num_classes', config.get('num_classes', classes)) == 0:
        post = facts(origin, kind='embedding')
    else:
        post = facts(origin, kind='classification')
        if not labels:
            unknown.append(f'labels: {origin} has no label_names; the {classes or ""} classes are called "class 0", "class 1", …')
    return Facts(
        source=origin, preprocessing=preprocessing,
        size=(int(size[2]), int(size[1])) if isinstance(size, (list, tuple)) and len(size) == 3 else None,
        postprocessing=post, labels=labels, unknown=tuple(unknown),
    )  # fmt: skip


def _grey(mean: Any) -> int:
    values = [float(value) for value in mean or (0.5,)]
    return round(255 * sum(values) / len(values))


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the classes' names, in words where the file has descriptions of the names."""
    names, words = config.get('label_names'), config.get('label_descriptions')
    if not isinstance(names, (list, tuple)):
        return ()
    described = words if isinstance(words, Mapping) else {}
    return tuple(str(described.get(name, name)) for name in names)

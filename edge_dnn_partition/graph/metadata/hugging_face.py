# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a folder of Hugging Face says: ``config.json`` (architecture, id2label) and ``preprocessor_config.json``.

The steps are those of transformers' image processors: resize, crop, rescale, normalise, pad, in that order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .ends import Ends
from .facts import Fact, Facts, facts, interpolation
from .sidecars import beside, read_table

_KINDS: Final[tuple[tuple[str, str], ...]] = (
    ('ForImageClassification', 'classification'), ('ForObjectDetection', 'detection'), ('ForSemanticSegmentation', 'segmentation'),
    ('ForDepthEstimation', 'depth'), ('VisionModelWithProjection', 'embedding'),
)  # fmt: skip
"""By how an architecture's name ends."""
_OTHER_TASKS: Final = re.compile(r'For[A-Z]\w+|LMHeadModel|Decoder')
_SIGMOID: Final = re.compile(r'RTDetr|DFine|Deformable|ConditionalDetr|GroundingDino|Deta')
"""Architectures whose logits are one sigmoid a class, without a class for nothing."""
_RELATIVE: Final = re.compile(r'DepthAnything|DPT')
"""Architectures that give inverse depth, unless their configuration says that they are metric."""
_RESAMPLE: Final = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming'}
_PLACEHOLDER: Final = re.compile(r'LABEL_\d+')
_WARPED: Final = 384
"""ConvNext's processor stretches images for inputs of this size and more, and cuts the middle out for smaller ones."""


def read(ends: Ends) -> Facts | None:
    """Return what the folder says; None if it is none of Hugging Face's."""
    config, image = _config(ends), _processor(ends)
    if config is None and image is None:
        return None
    labels, unknown = _labels(config or {})
    meaning = _meaning(config or {}, ends)
    if not meaning and config is not None:
        names = ', '.join(map(str, config.get('architectures') or ())) or config.get('model_type', 'no architecture')
        unknown.append(f'postprocessing: what the outputs of {names} mean is not known here; the result has them as they are')
    if meaning.get('inverse'):
        unknown.append('postprocessing: the depth is inverse and has no unit; scale and offset (docs/seeing.md) make metres of it')
    if meaning.get('kind', '') not in ('classification', 'detection', 'segmentation'):
        labels, unknown = (), [line for line in unknown if not line.startswith('labels')]
    preprocessing, size = _steps(image, ends, unknown) if image is not None else ({}, None)
    if image is None and ends.images:
        unknown.append('preprocessing: preprocessor_config.json is not beside the model; download it from where the model is from')
    sources = [name for name, found in (('config.json', config), ('preprocessor_config.json', image)) if found is not None]
    return Facts(
        source=' and '.join(sources), preprocessing=preprocessing, size=size,
        postprocessing=facts('config.json', **meaning), labels=labels, unknown=tuple(unknown),
    )  # fmt: skip


def _config(ends: Ends) -> Mapping[str, Any] | None:
    for path in beside(ends.path, 'config.json'):
        table = read_table(path)
        if 'pretrained_cfg' not in table and ('architectures' in table or 'model_type' in table):
            return table
    return None


def _processor(ends: Ends) -> Mapping[str, Any] | None:
    for path in beside(ends.path, 'preprocessor_config.json', 'processor_config.json'):
        table = read_table(path)
        table = table['image_processor'] if isinstance(table.get('image_processor'), Mapping) else table
        if any(key in table for key in ('image_mean', 'do_resize', 'size', 'image_processor_type')):
            return table
    return None


def _labels(config: Mapping[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """Return the classes' names, and what is to be said of them."""
    given = config.get('id2label')
    if not isinstance(given, Mapping) or not all(str(key).isdigit() for key in given):
        return (), ['labels: config.json has no id2label; write the classes, one a line']
    numbered = {int(key): str(name) for key, name in given.items()}
    labels = tuple(numbered.get(index, f'class {index}') for index in range(max(numbered, default=-1) + 1))
    if all(_PLACEHOLDER.fullmatch(name) for name in labels):
        return (), ['labels: id2label in config.json has only LABEL_0, LABEL_1, …; write the classes, one a line']
    return labels, []


def _meaning(config: Mapping[str, Any], ends: Ends) -> dict[str, Any]:
    """Return kind and keys for an architecture; nothing if it is not known."""
    name = next(iter(config.get('architectures') or ()), '')
    kind = next((kind for ending, kind in _KINDS if name.endswith(ending)), '')
    if not kind and (not ends.images or not name.endswith('Model') or _OTHER_TASKS.search(name)):
        return {}
    if kind == 'detection':
        return {'kind': kind, 'head': 'rt_detr' if _SIGMOID.match(name) else 'detr'}
    if kind == 'depth' and _RELATIVE.match(name) and config.get('depth_estimation_type') != 'metric':
        return {'kind': kind, 'inverse': True}
    return {'kind': kind or 'embedding'}


def _steps(image: Mapping[str, Any], ends: Ends, unknown: list[str]) -> tuple[dict[str, Fact], tuple[int, int] | None]:
    """Return the keys of the preprocessing that do what the processor does, and the size that it gives."""
    origin = 'preprocessor_config.json'
    made = facts(origin, colour='bgr' if image.get('do_flip_channel_order') else 'rgb', scale=1.0)
    if image.get('do_rescale', True):
        made |= facts(origin, scale=float(image.get('rescale_factor', 1 / 255)))
    mean, std = image.get('image_mean'), image.get('image_std')
    shift = 1.0 if image.get('rescale_offset') else 0.0
    twice = _type(image).startswith('EfficientNet') and image.get('include_top', True)  # it divides by std again
    if image.get('do_normalize', not _type(image).startswith('MobileViT')) and mean and std:
        deviations = [value**2 if twice else value for value in _list(std)]
        made |= facts(origin, mean=[value + shift for value in _list(mean)], std=deviations)
    elif image.get('do_normalize'):
        unknown.append("preprocessing: do_normalize is true and image_mean or image_std is missing; see its processor's defaults")
    elif shift:
        made |= facts(f'{origin}: rescale_offset', mean=[shift])
    wanted = ends.images[0].size if ends.images and all(ends.images[0].size) else None
    resize, size = _resize(image, wanted, origin, unknown)
    resample = image.get('resample', 2)
    return made | resize | interpolation(origin, _RESAMPLE.get(resample, str(resample))), size


def _resize(image: Mapping[str, Any], wanted: tuple[int, int] | None, origin: str, unknown: list[str],
            ) -> tuple[dict[str, Fact], tuple[int, int] | None]:  # fmt: skip
    """Return how the image gets its size, and which.

    :param wanted: width and height that the model's input settles; None: it leaves them open.
    """
    if not image.get('do_resize', True):
        unknown.append('preprocessing: its processor does not resize; images of another size than the input are stretched here')
        return facts('its processor does not resize', resize='stretch'), wanted
    size, crop = _sides(image.get('size'), keeps=_keeps_shape(image)), _sides(image.get('crop_size'))
    shortest, longest = size.get('shortest_edge', 0), size.get('longest_edge', 0)
    exact = (size['width'], size['height']) if {'width', 'height'} <= size.keys() else None
    if image.get('crop_pct') and shortest:
        if shortest < _WARPED:
            return facts(origin, resize='center_crop', crop_ratio=float(image['crop_pct'])), (shortest, shortest)
        return facts(f'{origin}: from {_WARPED} on', resize='stretch'), (shortest, shortest)
    if image.get('do_center_crop') and crop:
        cut = (crop.get('width') or crop.get('shortest_edge', 0), crop.get('height') or crop.get('shortest_edge', 0))
        if shortest and min(cut) <= shortest:
            ratio = min(cut) / (int(256 / 224 * shortest) if _type(image).startswith('Levit') else shortest)
            return facts(origin, resize='center_crop', crop_ratio=ratio), cut
        if exact and cut[0] * exact[1] == cut[1] * exact[0] and cut[0] <= exact[0]:
            return facts(origin, resize='stretch', crop_ratio=cut[0] / exact[0]), cut
        unknown.append(f'preprocessing: size {size} with a crop of {crop} cannot be said here; the image is stretched')
        return facts(f'{origin} says more than that', resize='stretch'), cut
    if exact:
        return facts(origin, resize='stretch'), exact
    if image.get('do_pad') and wanted and (shortest or longest):
        return facts(f'{origin}: do_pad', resize='letterbox', align='top_left', pad_value=_black(image)), wanted
    if shortest and wanted and wanted[0] != wanted[1]:
        unknown.append(f"preprocessing: its processor keeps the image's shape (shortest edge {shortest}), the input is fixed")
    elif shortest:
        unknown.append(
            f"preprocessing: its processor keeps the image's shape (shortest edge {shortest}); a square of it is cut out here, "
            'stretch sees all of it'
        )
        return facts(f'a guess: {origin} keeps the shape', resize='center_crop'), (shortest, shortest)
    return {'resize': Fact('stretch', f'a guess: {origin} keeps the shape', guess=True)}, wanted


def _black(image: Mapping[str, Any]) -> float:
    """Return the pixel value of a border of zeros after normalising."""
    mean = _list(image.get('image_mean') or [0.0])
    factor = float(image.get('rescale_factor', 1 / 255)) if image.get('do_rescale', True) else 1.0
    return round(min(255.0, max(0.0, sum(mean) / len(mean) / factor)), 1)


def _type(image: Mapping[str, Any]) -> str:
    return str(image.get('image_processor_type') or image.get('feature_extractor_type') or '')


def _keeps_shape(image: Mapping[str, Any]) -> bool:
    """Return whether a size of one number is of the shortest edge, as processors mean it that then cut or pad."""
    crops = image.get('do_center_crop') and not _type(image).startswith('DeiT')
    return bool(crops or image.get('crop_pct') or image.get('max_size'))


def _sides(size: Any, *, keeps: bool = False) -> dict[str, int]:
    """Return a size as a table, as new processors write it."""
    if isinstance(size, Mapping):
        return {key: int(value) for key, value in size.items() if isinstance(value, (int, float))}
    if isinstance(size, int) and not isinstance(size, bool):
        return {'shortest_edge': size} if keeps else {'width': size, 'height': size}
    return {'width': int(size[1]), 'height': int(size[0])} if isinstance(size, (list, tuple)) and len(size) == 2 else {}


def _list(values: Any) -> list[float]:
    return [float(value) for value in values] if isinstance(values, (list, tuple)) else [float(values)]

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What PaddleOCR's exports say: the characters of a text recogniser, in the file or in ``inference.yml`` beside it.

RapidOCR keeps the characters as the property ``character`` (``dictionary`` in older files), one a line; a line may hold a space
or another white character, so nothing is stripped. PaddleX has them as a list in ``inference.yml``. Index 0 of the output is
the blank of CTC; most recognisers have a space after the last character.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .ends import Ends
from .facts import Facts, facts
from .sidecars import beside, read_table

_PROPERTIES: Final = ('character', 'dictionary')
_FILES: Final = ('inference.yml', 'inference.yaml')


def read(ends: Ends) -> Facts | None:
    """Return what the export says; None if the model reads no text."""
    for name in _PROPERTIES:
        if name in ends.properties:
            return _text(ends, f'the property {name} in {ends.path.name}', tuple(_lines(ends.properties[name])))
    for path in beside(ends.path, *_FILES):
        post = read_table(path).get('PostProcess')
        characters = post.get('character_dict') if isinstance(post, Mapping) else None
        if isinstance(characters, list):
            return _text(ends, path.name, tuple(map(str, characters)))
        if isinstance(post, Mapping) and str(post.get('name', '')).startswith('DB'):
            return _boxes(path.name, post)
    return None


def _lines(text: str) -> list[str]:
    lines = [line.removesuffix('\r') for line in text.split('\n')]
    return lines[:-1] if lines and not lines[-1] else lines


def _text(ends: Ends, origin: str, characters: tuple[str, ...]) -> Facts:
    """Return what a recogniser of lines of text wants and gives: PaddleOCR's RecResizeImg and CTCLabelDecode."""
    usual = 'PaddleOCR: RecResizeImg'
    classes = ends.outputs[0].shape[-1] if ends.outputs[0].shape else 0
    meaning: dict[str, Any] = {'kind': 'text'}
    unknown = []
    if classes:
        extra = classes - len(characters)
        if extra not in (1, 2):
            unknown.append(
                f'labels: {origin} has {len(characters)} characters and the output {classes} classes, where the characters, '
                'a blank before them and perhaps a space after them were expected; give the list that the model was trained with'
            )
        elif extra == 2:
            meaning['space'] = True
    else:
        unknown.append(f'labels: whether a space follows the {len(characters)} characters is not known, for the output is open')
    return Facts(
        source=origin, labels=characters, unknown=tuple(unknown), size=(320, 48),
        preprocessing=facts(usual, colour='bgr', resize='fit_height', pad_value=127.5, scale=1 / 255, mean=[0.5], std=[0.5]),
        postprocessing=facts(origin, **meaning),
    )  # fmt: skip


def _boxes(origin: str, post: Mapping[str, Any]) -> Facts:
    """Return what a detector of text wants and gives: PaddleOCR's DBNet, whose output is a probability for each pixel."""
    usual = 'PaddleOCR: NormalizeImage'
    return Facts(
        source=origin,
        preprocessing=facts(
            usual, colour='bgr', resize='stretch', scale=1 / 255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
        ),
        size=(960, 960),
        postprocessing=facts(origin, kind='segmentation', threshold=float(post.get('thresh', 0.3))), labels=('nothing', 'text'),
    )  # fmt: skip

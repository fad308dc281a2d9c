# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From a model's outputs to what they mean: plugins by entry point, chosen in the fleet file.

A plugin is registered in the entry point group ``edge_dnn_partition.postprocessing`` under the name that stands in
``postprocessing: {kind: NAME, …}``; the entry point is a function that takes the other keys, and the folder that relative
paths in them start from, and returns a `Postprocessor`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol, get_type_hints

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing

from .actions import Actions

GROUP: Final = 'edge_dnn_partition.postprocessing'
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Score:
    """One class; ``index`` is its place in the model's output, ``score`` a probability where the model gives one."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Keypoint:
    """One point of an object, in pixels of the camera's image; ``score`` is 1 where the model gives none."""

    x: float
    y: float
    score: float


@dataclass(frozen=True)
class Box:
    """One object, in pixels of the camera's image: left, top, right, bottom.

    ``angle`` turns the box about its centre, in radians from x to y (clockwise on the screen).
    """

    left: float
    top: float
    right: float
    bottom: float
    what: Score
    angle: float = 0.0
    keypoints: tuple[Keypoint, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image; what its kind does not tell is empty.

    ``mask`` holds for each pixel of the image its class (segmentation), or the place of its object in ``boxes``, from 1, and 0
    where there is none (instance segmentation), uint8 ``[height, width]``. ``depth`` is float32 ``[height, width]``, NaN where
    nothing is known, and ``vector`` an embedding, float32 ``[values]``.
    """

    kind: str
    scores: tuple[Score, ...] = ()
    boxes: tuple[Box, ...] = ()
    mask: NDArray[np.uint8] | None = None
    actions: Actions | None = None
    depth: NDArray[np.float32] | None = None
    vector: NDArray[np.float32] | None = None
    labels: tuple[str, ...] = field(default=(), repr=False)


class Postprocessor(Protocol):
    """Turns outputs into their meaning.

    It may have an attribute ``topics``, a tuple of those on which its predictions are published: ``classification`` (scores),
    ``detections`` (boxes), ``mask``, ``depth``, ``embedding`` (vector), ``actions``; see `topics_of`.
    """

    @property
    def kind(self) -> str:
        """The name of the plugin that it is of, such as ``classification``, ``detection`` or ``raw``."""

    def __call__(self, outputs: Arrays, size: tuple[int, int], preprocessing: Preprocessing | None) -> Prediction:
        """Return what the outputs mean.

        :param outputs: by name.
        :param size: width and height of the camera's image.
        :param preprocessing: what was done to the image; None: nothing.
        :raises UserError: if the outputs do not have the form that this kind reads.
        """


def topics_of(postprocessor: Postprocessor) -> tuple[str, ...]:
    """Return the topics on which a postprocessor's predictions are published; none for one that does not say."""
    return tuple(getattr(postprocessor, 'topics', ()))


Factory = Callable[[Mapping[str, Any], Path], Postprocessor]


@cache
def kinds() -> Mapping[str, Any]:
    """Return the entry points of the plugins that are installed, by name; this package's own are always among them."""
    from .postprocess_kinds import BUILT_IN

    return {**BUILT_IN, **{point.name: point for point in entry_points(group=GROUP) if point.name not in BUILT_IN}}


def postprocessor_of(values: Mapping[str, Any], base: Path) -> Postprocessor:
    """Return the postprocessor that a fleet file asks for.

    :param values: as they stand in YAML: ``kind`` and the keys of that kind.
    :param base: the folder that relative paths start from.
    :raises UserError: for a kind or key that is unknown (the nearest one is named), or a value that does not fit.
    """
    keys = dict(values)
    kind = keys.pop('kind', None)
    known = kinds()
    if kind not in known:
        what = f'there is no {kind!r}' if kind else 'is missing'
        raise UserError(f'postprocessing: kind: {what}; {_nearest(str(kind or ""), list(known))}')
    found = known[kind]
    factory: Factory = found.load() if hasattr(found, 'load') else found
    return factory(keys, base)


def read_options(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the keys and types of a plugin's options against the fields of its dataclass; return them.

    Fields that the dataclass fills itself (``init=False``) are no options.

    :raises UserError: for an unknown key, a missing one or one of another type.
    """
    fields = {name: f for name, f in kind.__dataclass_fields__.items() if f.init}
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key not in fields:
            raise UserError(f'postprocessing: unknown key {key!r}; {_nearest(str(key), ["kind", *fields])}')
        wanted = hints[key]
        fits = isinstance(value, (int, float)) if wanted is float else isinstance(value, wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise UserError(f'postprocessing: {key}: {value!r} is not {_WORDS[wanted]}')
    return dict(values)


_WORDS: Final = {int: 'a whole number', float: 'a number', str: 'text', bool: 'true or false'}


def read_labels(text: str, base: Path) -> tuple[str, ...]:
    """Return the lines of a labels file, one class each in the order of the model's output; nothing for an empty path.

    An empty line among them is a class without a name; those at the end are none. A byte-order mark is no part of a name.

    :raises UserError: if it cannot be read or is empty.
    """
    if not text:
        return ()
    labels = [line.strip() for line in read_lines(base / text)]
    while labels and not labels[-1]:
        labels.pop()
    if not labels:
        raise UserError(f'postprocessing: labels: {base / text} is empty; give one class a line')
    return tuple(labels)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a labels file without what ends them (LF or CRLF).

    :raises UserError: if it cannot be read.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'postprocessing: labels: {path} cannot be read; give a text file with one class a line') from error
    lines = text.split('\n')
    return lines[:-1] if lines[-1] == '' else lines


def name_of(index: int, labels: Sequence[str]) -> str:
    """Return a class's label, or its number where it has none."""
    return labels[index] if index < len(labels) and labels[index] else f'class {index}'


def output_named(outputs: Arrays, name: str) -> NDArray[Any]:
    """Return one output; the first one if the name is empty.

    :raises UserError: if there is none of that name.
    """
    if name and name not in outputs:
        raise UserError(f'postprocessing: output: the model has no {name!r}; {_nearest(name, list(outputs))}')
    return outputs[name] if name else next(iter(outputs.values()))


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f'did you mean {close[0]!r}?' if close else f'known are {", ".join(known)}'

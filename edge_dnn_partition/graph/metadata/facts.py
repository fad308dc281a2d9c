# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What was found out about a model, each fact with where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fact:
    """One value, and where it is from in a few words; a guess may be wrong."""

    value: Any
    origin: str = ''
    guess: bool = False


@dataclass(frozen=True)
class Facts:
    """What one source says of a model.

    :param source: its name for people.
    :param preprocessing: keys of a preprocessing file, without those that the model's own input settles (size, layout, dtype).
    :param size: width and height of the image, for an input that leaves them open.
    :param postprocessing: ``kind`` and keys of the fleet file's postprocessing; empty: unknown.
    :param labels: the classes' names, in the order of the output; for text the characters.
    :param unknown: what a person has to look up or to know, a sentence each.
    """

    source: str
    preprocessing: Mapping[str, Fact] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    postprocessing: Mapping[str, Fact] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def facts(origin: str, **values: Any) -> dict[str, Fact]:
    """Return facts of one origin."""
    return {name: Fact(value, origin) for name, value in values.items()}


def interpolation(origin: str, name: str) -> dict[str, Fact]:
    """Return what comes closest to PIL's resizing of a name: it averages what it makes smaller, and OpenCV only by area.

    Off by 1.4 of 255 on average where linear is off by 5.8 and cubic by 6.8 (bicubic, a photograph of 1408 x 939 to 224).
    """
    if name == 'nearest':
        return facts(origin, interpolation=name)
    return facts(f"{origin}: PIL's {name}, which averages as area does", interpolation='area')

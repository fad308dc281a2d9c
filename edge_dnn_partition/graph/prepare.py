# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Preparing a model once, by onnxruntime's BASIC optimisation, and keeping the result.

BASIC is the level whose result stays portable: EXTENDED adds operators of
onnxruntime's own and ALL binds the file to one instruction set. The prepared
file has the original's IR version and operator sets. Its large weights lie in
a file beside it, so that reading it again costs no more than reading the graph.
What the optimisation made is loaded and compared with the original on made-up
input before it is kept.

A process that finds the result in the cache loads neither onnx nor onnxruntime.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.cache import needed
from edge_dnn_partition.cache_limit import hold, limit_cache
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.isolation import call_isolated
from edge_dnn_partition.graph.source import Source, weights_file
from edge_dnn_partition.graph.states import key_with

if TYPE_CHECKING:
    import onnx

#: Raised when the result of the preparation changes, so that old files in the cache are not taken for new ones.
PREPARATION_VERSION = 6
#: Weights in external files of more bytes than this are never loaded while a model is prepared.
DETACH_ABOVE_BYTES = 1 << 28
WEIGHTS_FILE = 'prepared.weights'


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared model: its file, which holds its graph without large weights, and its key in the cache."""

    path: Path
    key: str


def prepare(source: Source, shapes: Mapping[str, Sequence[int]] | None = None,
            usual: Mapping[str, Sequence[int]] | None = None, states: Mapping[str, str] | None = None) -> Prepared:  # fmt: skip
    """Prepare a model and find its layers, or take the result from the cache.

    The key is made of the model's hash, onnxruntime's version, this module's
    version and the shapes of the inputs.

    :param shapes: of open inputs; ``usual``: what they are otherwise (`fix_shapes`).
    :param states: outputs by the inputs that they become for the next frame.
    :raises ModelError: shapes are missing, or onnxruntime refuses the model, crashes or does not come to an end with it.
    """
    given, otherwise = ({name: list(shape) for name, shape in (sizes or {}).items()} for sizes in (shapes, usual))
    key = _key(source, given, otherwise)

    def make(path: Path) -> None:
        temporary = Path(tempfile.mkdtemp(dir=path.parent.parent, prefix='.new-'))
        try:
            call_isolated(prepare_into, about=str(source.path), folder=str(temporary), path=str(source.path), sha256=source.sha256,
                          shapes=given, usual=otherwise, states=dict(states or {}), key=key_with(key, states or {}))
            _publish(temporary, path.parent)
            limit_cache()
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    path = needed(make, 'prepared', key, 'model.onnx')
    while not hold(path.parent):  # another process has just deleted it
        path = needed(make, 'prepared', key, 'model.onnx')
    return Prepared(path=path, key=key)


def prepared_weights(prepared_folder: Path, source_path: Path, location: str) -> Path:
    """Return the file of an external location of a prepared model."""
    return prepared_folder / location if location == WEIGHTS_FILE else weights_file(source_path, location)


def _key(source: Source, shapes: Mapping[str, list[int]], usual: Mapping[str, list[int]]) -> str:
    parts = [source.sha256, onnxruntime_version(), PREPARATION_VERSION, DETACH_ABOVE_BYTES, shapes, usual]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _publish(temporary: Path, folder: Path) -> None:
    try:
        os.rename(temporary, folder)
    except OSError:
        if not (folder / 'model.onnx').exists():  # an incomplete leftover, not another process's result
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(temporary, folder)


def load_prepared(path: Path) -> onnx.ModelProto:
    """Read a prepared model's graph.

    :raises ModelError: if it cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelError(f'the prepared model {path} cannot be read ({error}): delete its folder') from None
    return proto


@functools.cache
def onnxruntime_version() -> str:
    """Return the version of the onnxruntime that is installed; it is read from its file, which importing takes 20 MB."""
    found = importlib.util.find_spec('onnxruntime')
    if found is not None and found.origin is not None:
        with suppress(OSError):
            text = Path(found.origin).read_text(encoding='utf-8')
            if said := re.search(r"""^__version__ *= *['"]([^'"]+)['"]""", text, re.MULTILINE):
                return said[1]
    import onnxruntime

    return str(onnxruntime.__version__)


def prepare_into(*, folder: str, key: str, states: Mapping[str, str], **arguments: Any) -> None:
    """Prepare a model into an empty folder and find its layers, in a process of its own: that loads onnx, onnxruntime and scipy."""
    from edge_dnn_partition.graph import by_hash, layering, preparation

    preparation.prepare_into(folder, **arguments)
    layering.layering_of(Path(folder, 'model.onnx'), key, states)
    by_hash.write(Path(folder), Path(arguments['path']))

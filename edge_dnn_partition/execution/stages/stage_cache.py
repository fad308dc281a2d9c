# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Stages of a model as files, kept from one use to the next: cut out once, and optimised for the machine that runs them.

onnxruntime's full optimisation rewrites a graph for one instruction set, so its result must
not travel; kept on its own device it saves the optimisation at each load.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import platform
import shutil
import threading
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import onnxruntime

from edge_dnn_partition import __version__
from edge_dnn_partition.cache import cache_dir, cannot_write, check_room, needed
from edge_dnn_partition.cache_limit import limit_cache
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.stages import StageFile, extract_stage, stage_boundary

#: Of a model with its weights; a copy of one that is larger would push all others out.
_LARGEST_BYTES: Final = 2 << 30
#: How a TensorProto whose values lie in another file begins to say so.
_EXTERNAL: Final = b'\x0a\x08location'
_LARGE_BYTES: Final = 64 << 20
"""Room that is taken to be needed where a copy could not be written."""
_EMBED_AT_MOST: Final = 1 << 20
"""Weights beside the file are mapped, not read, which is less memory and time where a stage is cut out, optimised and loaded."""


def stage_file(model: Model, layers: Collection[int]) -> StageFile:
    """Return the file of a stage, which is extracted if it is missing.

    :param model: the prepared model.
    :param layers: the stage's layers, a convex set.
    :raises ModelError: if they are no stage of the model.
    """
    inputs, outputs = stage_boundary(model, layers)

    def extract(path: Path) -> None:
        extract_stage(model, layers, path, embed_at_most=_EMBED_AT_MOST)

    path = needed(extract, 'stages', _folder(model), f'{_name(layers)}.onnx')
    with contextlib.suppress(OSError):
        os.utime(path)
    return StageFile(path, tuple(inputs), tuple(outputs))


def has_stage_file(model: Model, layers: Collection[int]) -> bool:
    """Return whether a stage's file is here, in which its weights are."""
    return (cache_dir('stages', _folder(model)) / f'{_name(layers)}.onnx').exists()


def optimised_file(path: Path, providers: Sequence[str], optimise: Callable[[Path], None]) -> Path | None:
    """Return the optimised copy of a model file, which is made if it is missing.

    :param path: the model file.
    :param providers: the execution providers that it is to run on.
    :param optimise: writes the optimised model to the path that it is given, and its weights there or to what
        `weights_beside` names, or raises.
    :returns: the copy's path; None where there can be none: weights in other files than the one beside it, more
        than 2 GiB, a provider whose compiled nodes cannot be written, a cache that is full or may not be written.
    """
    try:
        key = _key(path, providers)
        if key is None:
            return None
        folder = cache_dir('optimised')
        target, failed = folder / f'{key}.onnx', folder / f'{key}.failed'
        if target.exists():
            with contextlib.suppress(OSError):  # a cache that may not be written
                os.utime(target)
            return target
        if failed.exists():
            return None
        temporary = folder / f'.{key}.{os.getpid()}.{threading.get_ident()}' / target.name  # the model has its weights' name inside
        temporary.parent.mkdir(exist_ok=True)
        try:
            optimise(temporary)
            if weights_beside(temporary).exists():
                os.replace(weights_beside(temporary), weights_beside(target))
            os.replace(temporary, target)
        except Exception:  # noqa: BLE001 (a copy is a convenience: the original is loaded instead)
            check_room(temporary.parent, 2 * _size(path))
            failed.touch()
            return None
        finally:
            shutil.rmtree(temporary.parent, ignore_errors=True)
        limit_cache()
    except ValueError:  # an empty file cannot be mapped
        return None
    except OSError as error:
        folder = cache_dir('optimised')
        if error.filename is None or Path(error.filename).is_relative_to(folder):
            cannot_write(folder, error, 'models are optimised anew each time they are loaded', _LARGE_BYTES)
        return None
    return target


def weights_beside(path: Path) -> Path:
    """Return the file of a model's weights that are not in it."""
    return path.with_name(f'{path.name}.data')


def forget_optimised(path: Path) -> None:
    """Delete a copy that does not load, so that it is made again."""
    try:
        path.unlink(missing_ok=True)
        weights_beside(path).unlink(missing_ok=True)
    except OSError:
        return


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """Return the processor's model and instruction set extensions, as one line of text."""
    lines: dict[str, str] = {}
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as stream:
            for line in stream:
                name, _, value = line.partition(':')
                lines.setdefault(name.strip(), value.strip())
    except OSError:
        return f'{platform.machine()} {platform.processor()}'
    names = ('model name', 'CPU implementer', 'CPU part', 'flags', 'Features')
    return ' '.join([platform.machine(), *(lines[name] for name in names if name in lines)])


def _size(path: Path) -> int:
    weights = weights_beside(path)
    return path.stat().st_size + (weights.stat().st_size if weights.exists() else 0)


def _key(path: Path, providers: Sequence[str]) -> str | None:
    weights = weights_beside(path)
    location = weights.name.encode()
    beside = _EXTERNAL + b'\x12' + bytes([len(location)]) + location if len(location) < 128 else None
    if not 0 < _size(path) <= _LARGEST_BYTES:
        return None
    digest = hashlib.sha256()
    with open(path, 'rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = 0
        while (at := content.find(_EXTERNAL, found)) >= 0:
            if beside is None or content[at : at + len(beside)] != beside:
                return None
            found = at + len(beside)
        digest.update(content)
    if found:
        with open(weights, 'rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            digest.update(content)
    for text in (onnxruntime.__version__, ','.join(providers), cpu_model()):
        digest.update(text.encode() + b'\0')
    return digest.hexdigest()[:32]


def _folder(model: Model) -> str:
    return f'{model.key[:16]}-{__version__}'


def _name(layers: Collection[int]) -> str:
    ordered = sorted(layers)
    if ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f'{ordered[0]}-{ordered[-1] + 1}'
    return hashlib.sha256(','.join(map(str, ordered)).encode()).hexdigest()[:16]

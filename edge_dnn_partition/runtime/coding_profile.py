# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what encodings make of a model's tensors on this device: bytes, seconds, and the error in the model's output.

The tensors are those of one picture (or of a made-up input). A lossy encoding's error is found by running the rest of the
model on what comes out of it. The tensors of the fewest bytes come first, since cuts are made there; what the time limit
leaves no room for is not measured, and is sent raw.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.encodings import REDUCTIONS, TensorCoding, is_lossy, parts

from .engine import Engine
from .span_timing import ProfilingCancelledError
from .stage_cache import stage_file
from .tensor_codec import available, decode, encode
from .tensors import DTYPES, Array, Coded

_QUICK_SECONDS: Final = 0.01
_ROUNDS: Final = 4
"""Of which the fastest counts, where one is quick."""
_LEAST_BYTES: Final = 64
"""A smaller tensor is not worth an encoding."""


def measure_codings(
    model: Model, boundaries: Sequence[int], *, providers: Sequence[str], threads: int,
    picture: Callable[[], object] | None = None, limit_seconds: float = 6.0, cancelled: Callable[[], bool] = lambda: False,
) -> tuple[TensorCoding, ...]:  # fmt: skip
    """Return the encodings of the tensors between a model's segments, those that save no bytes left out.

    :param boundaries: cut indices between which the segments lie.
    :param picture: gives the model's input; None: it is made up.
    :raises ProfilingCancelledError: if ``cancelled`` says so.
    :raises ModelError: if a segment cannot be extracted or run.
    """
    deadline = time.monotonic() + limit_seconds
    engines = [
        Engine(stage_file(model, range(start, stop)).path, providers=providers, threads=threads)
        for start, stop in itertools.pairwise(boundaries)
    ]
    values = _inputs(engines, picture)
    home = dict.fromkeys(values, 0)
    for number, engine in enumerate(engines, 1):
        values.update(_run(engine, values))
        home.update((tensor.name, number) for tensor in engine.outputs)
    found: list[TensorCoding] = []
    for name in sorted(home, key=lambda n: (values[n].nbytes, n)):
        if values[name].dtype not in DTYPES.values() or values[name].nbytes < _LEAST_BYTES:
            continue
        errors: dict[str, tuple[float, bool]] = {'': (0.0, False)}
        for reduction in REDUCTIONS:
            if cancelled():
                raise ProfilingCancelledError('profiling was cancelled')
            if time.monotonic() > deadline:
                return tuple(found)
            coded = encode(values[name], reduction)
            if isinstance(coded, Coded):
                changed = values | {name: decode(coded)}
                for engine in engines[home[name] :]:
                    changed.update(_run(engine, changed))
                errors[reduction] = compare(values, changed, model.outputs)
        found += _time(name, values[name], errors)
    return tuple(found)


def _inputs(engines: Iterable[Engine], picture: Callable[[], object] | None) -> dict[str, Array]:
    """Return the model's inputs: the prepared picture, or values made up as in profiling."""
    random = np.random.default_rng(0)
    values: dict[str, Array] = {}
    known: set[str] = set()
    given = picture() if picture is not None else None
    for engine in engines:
        for name, ones in engine.made_up_feeds().items():
            if name in known:
                continue
            known.add(name)
            if isinstance(given, np.ndarray) and not values and (given.shape, given.dtype) == (ones.shape, ones.dtype):
                values[name] = given
            elif np.issubdtype(ones.dtype, np.floating):
                values[name] = random.standard_normal(ones.shape).astype(ones.dtype)
            else:
                values[name] = ones
        known.update(tensor.name for tensor in engine.outputs)
    return values


def _run(engine: Engine, values: Mapping[str, Array]) -> dict[str, Array]:
    return engine.run({tensor.name: values[tensor.name] for tensor in engine.inputs})


def compare(exact: Mapping[str, Array], changed: Mapping[str, Array], outputs: Sequence[str]) -> tuple[float, bool]:
    """Return the largest difference in a model's outputs as a share of each one's range, and whether a top class changes.

    An output of ``(1, classes)`` has a top class. An error that is not finite counts as 1e9.
    """
    largest, top_changed = 0.0, False
    for name in outputs:
        one, other = np.asarray(exact[name]), np.asarray(changed[name])
        if not one.size or one.dtype.kind not in 'fiu':
            continue
        a, b = one.astype(np.float64), other.astype(np.float64)
        finite = np.isfinite(a)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return 1e9, top_changed
        if finite.any():
            span = float(a[finite].max() - a[finite].min())
            difference = float(np.abs(b[finite] - a[finite]).max())
            if difference > 0:
                share = difference / span if span > 0 else 1e9
                largest = max(largest, share if np.isfinite(share) else 1e9)
        if one.ndim == 2 and one.shape[0] == 1 and one.shape[1] > 1:
            top_changed |= bool(a.argmax() != b.argmax())
    return largest, top_changed


def _time(name: str, value: Array, errors: Mapping[str, tuple[float, bool]]) -> list[TensorCoding]:
    found = []
    for encoding in available():
        reduction = parts(encoding)[0]
        coded = encode(value, encoding)
        if not isinstance(coded, Coded) or coded.encoding != encoding or coded.data.nbytes >= value.nbytes:
            continue
        if is_lossy(encoding) and reduction not in errors:
            continue
        encoding_seconds = _fastest(partial(encode, value, encoding))
        decoding_seconds = _fastest(partial(decode, coded))
        error, top_changed = errors[reduction]
        found.append(
            TensorCoding(name, encoding, int(coded.data.nbytes), encoding_seconds, decoding_seconds, error, top_changed)
        )
    return found


def _fastest(work: Callable[[], Any]) -> float:
    """Return the least CPU seconds of a few rounds, which no other process adds to."""
    least = np.inf
    for _ in range(_ROUNDS):
        begin = time.thread_time()
        work()
        least = min(least, time.thread_time() - begin)
        if least > _QUICK_SECONDS:
            break
    return float(least)

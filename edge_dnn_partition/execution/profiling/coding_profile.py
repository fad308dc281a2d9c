# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what encodings make of a model's tensors on this device: bytes, seconds, and the error in the model's output.

Bytes and seconds are those of the first image's tensors (or of a made-up input's). A lossy encoding's error is found by
running the rest of the model on what comes out of it: for every encoding on the first image, then on the others, and the
largest counts. The tensors of the fewest bytes come first, since cuts are made there; what the time limit leaves no room for
is not measured, and is sent raw. The other images have as much time again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from edge_dnn_partition.execution.stages.engine import Engine, model_feeds
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.encodings import REDUCTIONS, TensorCoding, is_lossy, parts
from edge_dnn_partition.transport.tensor_codec import available, decode, encode
from edge_dnn_partition.transport.tensors import DTYPES, Array, Coded

from .spans import ProfilingCancelledError

_QUICK_SECONDS: Final = 0.01
_ROUNDS: Final = 4
"""Of which the fastest counts, where one is quick."""
_LEAST_BYTES: Final = 64
"""A smaller tensor is not worth an encoding."""


class Segments:
    """A model's segments, loaded, one after another.

    :param boundaries: cut indices between which the segments lie.
    :raises ModelError: if a segment cannot be extracted.
    """

    def __init__(self, model: Model, boundaries: Sequence[int], *, providers: Sequence[str], threads: int) -> None:
        self._model = model
        self.outputs = model.outputs
        self._engines = [
            Engine(stage_file(model, range(start, stop)).path, providers=providers, threads=threads)
            for start, stop in itertools.pairwise(boundaries)
        ]
        made = {tensor.name: number for number, engine in enumerate(self._engines, 1) for tensor in engine.outputs}
        self.home = {name: made.get(name, 0) for name in (*model.inputs, *made)}
        """The segments that have run before a tensor is there."""

    def inputs(self, given: Mapping[str, Array], seed: int = 0) -> dict[str, Array]:
        """Return the model's inputs: what is given of them, by name, where it fits, else values made up as in profiling.

        :param given: `FIRST_INPUT` names the first.
        """
        return model_feeds(self._model, given, seed)

    def run(self, values: Mapping[str, Array], first: int = 0) -> dict[str, Array]:
        """Return the tensors with those that the segments from ``first`` on make.

        :raises ModelError: if a segment cannot be run.
        """
        found = dict(values)
        for engine in self._engines[first:]:
            found.update(engine.run({tensor.name: found[tensor.name] for tensor in engine.inputs}))
        return found


def measure_codings(
    segments: Segments, prepared: Sequence[Mapping[str, Array]] = (), *, limit_seconds: float = 6.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[TensorCoding, ...]:  # fmt: skip
    """Return the encodings of the tensors between a model's segments, those that save no bytes left out.

    :param prepared: the model's inputs for each image, see `Segments.inputs`; none: two are made up.
    :param limit_seconds: for the first image, and again for all others.
    :raises ProfilingCancelledError: if ``cancelled`` says so.
    :raises ModelError: if a segment cannot be run.
    """
    found: dict[tuple[str, str], TensorCoding] = {}
    deadline = time.monotonic() + limit_seconds
    for number, given in enumerate(prepared or ({}, {})):
        values = segments.run(segments.inputs(given, number))
        for name in sorted(values, key=lambda n: (values[n].nbytes, n)):
            if values[name].dtype not in DTYPES.values() or values[name].nbytes < _LEAST_BYTES:
                continue
            if number and not any(key[0] == name for key in found):
                continue  # time did not suffice for it on the first image
            errors: dict[str, tuple[float, bool]] = {'': (0.0, False)}
            for reduction in REDUCTIONS:
                if cancelled():
                    raise ProfilingCancelledError('profiling was cancelled')
                if time.monotonic() > deadline:
                    break
                coded = encode(values[name], reduction)
                if isinstance(coded, Coded):
                    changed = segments.run(values | {name: decode(coded)}, segments.home[name])
                    errors[reduction] = compare(values, changed, segments.outputs)
            if time.monotonic() > deadline:
                break
            if number == 0:
                found.update(((name, c.encoding), c) for c in _time(name, values[name], errors))
            else:
                found.update((key, _worst(c, *errors[parts(c.encoding)[0]])) for key, c in found.items()
                             if key[0] == name and parts(c.encoding)[0] in errors)  # fmt: skip
        if number == 0:
            deadline = time.monotonic() + limit_seconds
    return tuple(found.values())


def _worst(coding: TensorCoding, error: float, top_changed: bool) -> TensorCoding:
    return replace(coding, error=max(coding.error, error), top_changed=coding.top_changed or top_changed)


def compare(exact: Mapping[str, Array], changed: Mapping[str, Array], outputs: Sequence[str]) -> tuple[float, bool]:
    """Return the largest difference in a model's outputs as a share of each one's range, and whether a top class changes.

    An output of ``(1, classes)`` has a top class. An error that is not finite, or another shape, counts as 1e9.
    """
    largest, top_changed = 0.0, False
    for name in outputs:
        one, other = np.asarray(exact[name]), np.asarray(changed[name])
        if one.shape != other.shape:  # another number of detections, say
            return 1e9, top_changed
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
        encoding_seconds = fastest(partial(encode, value, encoding))
        decoding_seconds = fastest(partial(decode, coded))
        error, top_changed = errors[reduction]
        found.append(
            TensorCoding(name, encoding, int(coded.data.nbytes), encoding_seconds, decoding_seconds, error, top_changed)
        )
    return found


def fastest(work: Callable[[], Any]) -> float:
    """Return the least CPU seconds of a few rounds, which no other process adds to."""
    least = np.inf
    for _ in range(_ROUNDS):
        begin = time.thread_time()
        work()
        least = min(least, time.thread_time() - begin)
        if least > _QUICK_SECONDS:
            break
    return float(least)

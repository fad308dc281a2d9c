# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The model as its author wrote it, run by onnxruntime: what any other form of it has to compute."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import protos
from edge_dnn_partition.graph.difference import compare, tolerance_for
from edge_dnn_partition.graph.tensors import example_feeds, input_infos, read_tensors
from edge_dnn_partition.graph.trial import onnxruntime_message, open_session, run_once


class Reference:
    """An original.

    :param whole: its graph, with the shapes of its inputs fixed.
    :param weights_at: gives the file of an external location.
    :param about: the file that errors name.
    """

    def __init__(self, whole: ModelProto, weights_at: protos.Locate, *, about: str) -> None:
        self._whole, self._weights_at, self._about = whole, weights_at, about

    @functools.cached_property
    def loads(self) -> bool:
        """Whether onnxruntime takes it at all."""
        try:
            open_session(self._whole, self._weights_at)
        except Exception:  # onnxruntime's own exceptions share no base class but this one  # noqa: BLE001
            return False
        return True

    def objection(self, prepared: ModelProto, weights_at: protos.Locate) -> str:
        """Return why another form of it cannot take its place; empty if it can, or the original does not run on made-up input.

        :param prepared: annotated.
        :param weights_at: gives the file of an external location of that form.
        :raises ModelError: the original does not end.
        """
        inputs = input_infos(prepared)
        feeds = example_feeds(prepared, inputs)
        try:
            expected = self._run(self._whole, self._weights_at, feeds)
        except ModelError:
            raise
        except Exception:  # an index that is out of range, say  # noqa: BLE001
            expected = {}
        try:
            found = self._run(prepared, weights_at, feeds if expected else None)
        except Exception as error:  # as above  # noqa: BLE001
            return f'onnxruntime cannot run what it made of it: {onnxruntime_message(error)[:300]}'
        dtypes = [tensor.dtype for tensor in read_tensors(prepared).values()]
        comparison = compare(expected, found, tolerance_for(dtypes)) if expected else None
        if comparison is None or comparison.passed:
            return ''
        if not compare(expected, self._run(self._whole, self._weights_at, feeds)).exact:
            return ''  # random by itself
        worst = max(comparison.outputs, key=lambda output: output.relative)
        return f'what onnxruntime made of it computes another {worst.name} (difference {worst.relative:.2g} of its range)'

    def _run(self, proto: ModelProto, weights_at: protos.Locate, feeds: Mapping[str, np.ndarray] | None) -> dict[str, Any]:
        """Open a form and run it, only open it without feeds; return the outputs that are tensors."""
        session = open_session(proto, weights_at)
        if feeds is None:
            return {}
        names = [value.name for value in self._whole.graph.output]
        values = run_once(session, names, feeds, about=self._about)
        return {name: value for name, value in zip(names, values, strict=True) if isinstance(value, np.ndarray)}

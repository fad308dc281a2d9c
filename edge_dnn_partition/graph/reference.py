# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The model as its author wrote it, run by onnxruntime: what any other form of it has to compute."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto
from onnxruntime import GraphOptimizationLevel as Level

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

    def objection(self, prepared: ModelProto, weights_at: protos.Locate, *, runs: bool = True) -> str:
        """Return why another form of it cannot take its place; empty if it can, or the original does not run on made-up input.

        :param prepared: annotated.
        :param weights_at: gives the file of an external location of that form.
        :param runs: compare the two; otherwise the other form is only loaded, without reading its weights.
        :raises ModelError: the original does not end.
        """
        feeds = example_feeds(prepared, input_infos(prepared)) if runs else {}
        try:
            expected = self._run(self._whole, self._weights_at, feeds) if runs else {}
        except ModelError:
            raise
        except Exception:  # an index that is out of range, say  # noqa: BLE001
            expected = {}
        try:
            if not expected:
                open_session(prepared, weights_at, Level.ORT_ENABLE_ALL if runs else Level.ORT_DISABLE_ALL)
                return ''
            found = self._run(prepared, weights_at, feeds)
        except Exception as error:  # as above  # noqa: BLE001
            return f'onnxruntime cannot run what it made of it: {onnxruntime_message(error)[:300]}'
        dtypes = [tensor.dtype for tensor in read_tensors(prepared).values()]
        comparison = compare(expected, found, tolerance_for(dtypes))
        if comparison.passed:
            return ''
        if not compare(expected, self._run(self._whole, self._weights_at, feeds)).exact:
            return ''  # random by itself
        worst = max(comparison.outputs, key=lambda output: output.relative)
        return f'what onnxruntime made of it computes another {worst.name} (difference {worst.relative:.2g} of its range)'

    def _run(self, proto: ModelProto, weights_at: protos.Locate, feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Open a form and run it; return the outputs that are tensors."""
        session = open_session(proto, weights_at)
        names = [value.name for value in self._whole.graph.output]
        values = run_once(session, names, feeds, about=self._about)
        return {name: value for name, value in zip(names, values, strict=True) if isinstance(value, np.ndarray)}

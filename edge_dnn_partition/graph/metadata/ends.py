# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A model's inputs and outputs as its file declares them, without preparing it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto

from edge_dnn_partition.graph.shapes import proposed_shape
from edge_dnn_partition.graph.source import read_source

_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16)
_PIXELS: Final = (*_FLOATS, TensorProto.UINT8, TensorProto.INT8)
_CHANNELS: Final = (1, 3)
_LEAST_SIDE: Final = 8
_IMAGE_NAME: Final = re.compile(r'ima?ge?|pixel|depth|gr[ae]y|mono|camera')
_SAME: Final = re.compile(r'past_key_values|past|present|cache|hidden|state|prev|next|new|out|in|put|_|\.|\d*$')


@dataclass(frozen=True)
class End:
    """An input or output.

    :param dtype: a number of ``TensorProto.DataType``.
    :param shape: 0 where the size is open.
    :param sizes: the names of open sizes, such as ``height``; empty for the others.
    :param proposal: a shape that it may well have.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    sizes: tuple[str, ...] = ()
    proposal: tuple[int, ...] = ()

    @property
    def layout(self) -> str:
        """The axes if this may be an image, such as ``NCHW``; empty if it is none."""
        shape = self.shape
        if self.dtype not in _PIXELS or len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] not in (0, 1)):
            return ''
        batch, rest = shape[:-3], shape[-3:]
        if not batch and _CHANNELS[0] in (rest[0], rest[2]) and not _IMAGE_NAME.search(self.name.lower()):
            return ''  # a batch of one matrix, as spectrograms are
        for axes, channels, sides in (('CHW', rest[0], rest[1:]), ('HWC', rest[2], rest[:2])):
            likely = channels in _CHANNELS or (channels == 0 and bool(batch) and self._may_be_open(axes))
            if likely and all(side == 0 or side >= _LEAST_SIDE for side in sides):
                return 'N' * len(batch) + axes
        return ''

    def _may_be_open(self, axes: str) -> bool:
        """Return whether open sizes are those of an image: by their names, or NCHW where none has a name that tells."""
        name = self.sizes[1 + axes.index('C')].lower() if self.sizes else ''
        return 'chan' in name or (axes == 'CHW' and self.name.lower() in ('pixel_values', 'image', 'images', 'input', 'x'))

    @property
    def channels(self) -> int:
        """Of an image; 3 where they are open."""
        return self.shape[self.layout.index('C')] or 3

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of an image; 0 where they are open."""
        return self.shape[self.layout.index('W')], self.shape[self.layout.index('H')]


@dataclass(frozen=True)
class Ends:
    """The ends of a model and what its file says beside the graph."""

    path: Path
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    properties: Mapping[str, str]

    @cached_property
    def images(self) -> tuple[End, ...]:
        """The inputs that may be images."""
        return tuple(end for end in self.inputs if end.layout)

    @cached_property
    def states(self) -> dict[str, str]:
        """Inputs that an output of the same shape and a name of the same kind seems to be carried to, with that output."""
        found: dict[str, str] = {}
        for given in self.inputs:
            alike = [
                made.name for made in self.outputs
                if made.dtype == given.dtype and len(made.shape) == len(given.shape) and _fits(made.shape, given.shape)
                and _stem(made.name) == _stem(given.name) and made.name not in found.values()
            ]  # fmt: skip
            if len(alike) == 1 and not given.layout:
                found[given.name] = alike[0]
        return found


def _stem(name: str) -> tuple[str, ...]:
    """Return what two names of one state have in common: ``h_in`` and ``h_out``, ``past.0.key`` and ``present.0.key``."""
    return tuple(filter(None, _SAME.split(name.lower()))) + tuple(re.findall(r'\d+', name))


def _fits(made: tuple[int, ...], given: tuple[int, ...]) -> bool:
    return all(one == other or 0 in (one, other) for one, other in zip(made, given, strict=True))


def read_ends(path: str | Path) -> Ends:
    """Read the ends of a model's file.

    :raises ModelError: if it is no ONNX file that could be split.
    """
    source = read_source(path)
    graph = source.proto.graph
    weights = {tensor.name for tensor in graph.initializer}

    def end(value: onnx.ValueInfoProto) -> End:
        sizes = value.type.tensor_type.shape.dim
        return End(
            value.name, value.type.tensor_type.elem_type, tuple(max(0, size.dim_value) for size in sizes),
            tuple(size.dim_param for size in sizes), proposed_shape(value, source.proto),
        )  # fmt: skip

    return Ends(
        path=source.path, inputs=tuple(end(value) for value in graph.input if value.name not in weights),
        outputs=tuple(map(end, graph.output)), properties={entry.key: entry.value for entry in source.proto.metadata_props},
    )  # fmt: skip

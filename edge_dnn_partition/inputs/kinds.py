# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of inputs that a frame may have: how each is checked, encoded for the wire and kept on disk.

An image that comes as pixels is sent as ``jpeg`` (baseline, quality `JPEG_QUALITY`, OpenCV's default subsampling of colour),
so that it arrives as a camera with a JPEG of its own would have sent it, or without loss as ``zstd`` or ``lz4``, as depth
always is. An image that is compressed already goes as it is.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from edge_dnn_partition.errors import PlanError, WireError
from edge_dnn_partition.planning.plans.encodings import COMPRESSORS, IMAGE_ENCODINGS, JPEG, RAW
from edge_dnn_partition.transport import tensor_codec
from edge_dnn_partition.transport.tensors import DTYPES, Array, Coded, dtype_number

from . import images
from .frame import CameraImage, FrameInputs, InputValue
from .image import check_image, is_depth


class InputKind(ABC):
    """One kind of input; a new one is added to `KINDS` and its type to `InputValue`."""

    name: ClassVar[str]
    """Under which it is kept on disk."""
    type: ClassVar[type]
    """Of its values."""

    @abstractmethod
    def check(self, value: Any) -> None:
        """Raise if no worker could take a value.

        :raises WireError: with the reason.
        """

    @abstractmethod
    def is_encoded(self, value: Any, encoding: str) -> bool:
        """Return whether a value is sent under an encoding without any work."""

    @abstractmethod
    def encode(self, value: Any, encoding: str) -> tuple[Array | Coded, str]:
        """Return a value as it is sent, and the encoding that the receiver takes it for.

        :raises PlanError: if the encoding is not one of this kind.
        :raises WireError: if the value cannot be encoded.
        """

    @abstractmethod
    def describe(self, value: Any) -> dict[str, Any]:
        """Return, for JSON, what `restore` needs beside the bytes of `Array.tobytes`."""

    @abstractmethod
    def bytes_of(self, value: Any) -> bytes:
        """Return a value's bytes."""

    @abstractmethod
    def restore(self, about: Mapping[str, Any], data: bytes) -> InputValue:
        """Return the value of a description and its bytes.

        :raises ValueError: if they do not fit; also KeyError and TypeError.
        """


class ImageKind(InputKind):
    """A camera's image, which the preprocessing makes a model's input of."""

    name = 'image'
    type = CameraImage

    def check(self, value: CameraImage) -> None:
        """Raise if an image cannot be decoded."""
        check_image(value.data, value.encoding)

    def is_encoded(self, value: CameraImage, encoding: str) -> bool:
        """Return whether an image goes as it is: it is compressed already, or pixels are asked for."""
        return encoding == RAW or value.is_compressed

    def encode(self, value: CameraImage, encoding: str) -> tuple[Array | Coded, str]:
        """Return an image as it is sent, and the encoding of its pixels."""
        if encoding not in IMAGE_ENCODINGS:
            raise PlanError(f'an image cannot be sent as {encoding!r}; choose {", ".join(IMAGE_ENCODINGS)}')
        if self.is_encoded(value, encoding):
            return value.data, value.encoding
        if encoding == JPEG and is_depth(value.encoding):
            encoding = COMPRESSORS[0]  # JPEG holds no distances
        if encoding == JPEG:
            coded = images.encode(value.pixels())
            return coded.data, coded.encoding
        sent: Any = tensor_codec.encode(value.data, encoding)
        if not isinstance(sent, Coded):  # compression makes it no smaller
            return value.data, value.encoding
        return Coded(sent.dtype, sent.shape, f'{value.encoding}+{sent.encoding}', sent.data), value.encoding

    def describe(self, value: CameraImage) -> dict[str, Any]:
        """Return an image's encoding and shape."""
        return {'encoding': value.encoding, 'shape': value.data.shape}

    def bytes_of(self, value: CameraImage) -> bytes:
        """Return an image's bytes."""
        return np.ascontiguousarray(value.data).tobytes()

    def restore(self, about: Mapping[str, Any], data: bytes) -> CameraImage:
        """Return the image."""
        return CameraImage(np.frombuffer(data, np.uint8).reshape(tuple(about['shape'])), str(about['encoding']))


class TensorKind(InputKind):
    """An array that is the model's input of that name."""

    name = 'tensor'
    type = np.ndarray

    def check(self, value: Array) -> None:
        """Raise if tensors of a dtype cannot travel."""
        dtype_number(value.dtype)

    def is_encoded(self, value: Array, encoding: str) -> bool:  # noqa: ARG002
        """Return whether a tensor goes raw."""
        return encoding == RAW

    def encode(self, value: Array, encoding: str) -> tuple[Array | Coded, str]:
        """Return a tensor as it is sent; an encoded one names its encoding itself."""
        return tensor_codec.encode(value, encoding), RAW

    def describe(self, value: Array) -> dict[str, Any]:
        """Return a tensor's dtype, by ONNX's number, and shape."""
        return {'dtype': dtype_number(value.dtype), 'shape': value.shape}

    def bytes_of(self, value: Array) -> bytes:
        """Return a tensor's bytes, as they travel."""
        return np.ascontiguousarray(value, DTYPES[dtype_number(value.dtype)]).tobytes()

    def restore(self, about: Mapping[str, Any], data: bytes) -> Array:
        """Return the tensor."""
        return np.frombuffer(data, DTYPES[about['dtype']]).reshape(tuple(about['shape']))


KINDS: Final[tuple[InputKind, ...]] = (ImageKind(), TensorKind())
"""All kinds of inputs that there are."""


def kind_of(value: object) -> InputKind:
    """Return the kind of a value.

    :raises WireError: if it is of none.
    """
    for kind in KINDS:
        if isinstance(value, kind.type):
            return kind
    raise WireError(f'inputs of type {type(value).__name__} are not supported; give one of {", ".join(k.name for k in KINDS)}')


def check_inputs(inputs: FrameInputs) -> None:
    """Raise if a frame's inputs are such that no worker could take them.

    :raises WireError: with the reason.
    """
    for value in inputs.values.values():
        kind_of(value).check(value)


def inputs_to_bytes(inputs: FrameInputs, header: bytes) -> bytes:
    """Return a frame's inputs as bytes to keep on disk: a line of JSON, then the values one after the other.

    :param header: the inputs' header, serialised.
    """
    about, data = [], []
    for name, value in inputs.values.items():
        kind = kind_of(value)
        data.append(kind.bytes_of(value))
        about.append({'name': name, 'kind': kind.name, 'size': len(data[-1]), **kind.describe(value)})
    return json.dumps({'inputs': about, 'header': header.hex()}).encode() + b'\n' + b''.join(data)


def inputs_from_bytes(content: bytes) -> tuple[FrameInputs, bytes]:
    """Return the inputs of such bytes, without their header, and that, serialised.

    :raises ValueError: if the bytes are damaged, or another release kept them.
    """
    line, _, data = content.partition(b'\n')
    kinds, values, at = {kind.name: kind for kind in KINDS}, {}, 0
    try:
        kept = json.loads(line)
        for about in kept['inputs']:
            size = int(about['size'])
            values[str(about['name'])] = kinds[about['kind']].restore(about, data[at : at + size])
            at += size
        header = bytes.fromhex(kept['header'])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError('the inputs kept on disk are damaged, or another release of this package kept them') from error
    return FrameInputs(values), header

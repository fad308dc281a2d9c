# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Encodes a camera's picture for the wire, where it comes as pixels; one that is compressed already goes as it is.

``jpeg`` is baseline JPEG of quality `JPEG_QUALITY` with OpenCV's default subsampling of colour. What arrives is a picture as a
camera with a JPEG of its own would have sent it. ``zstd`` and ``lz4`` keep every pixel.
"""

from __future__ import annotations

from typing import Any

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.inputs.frame import Picture
from edge_dnn_partition.planning.plans.encodings import JPEG, PICTURE_ENCODINGS, RAW
from edge_dnn_partition.transport import tensor_codec
from edge_dnn_partition.transport.tensors import Array, Coded

from . import pictures
from .picture import COMPRESSED, decode_raw


def is_raw(picture: Picture) -> bool:
    """Return whether a picture is made of pixels."""
    return picture.encoding not in COMPRESSED


def encode_picture(picture: Picture, encoding: str) -> tuple[Array | Coded, str]:
    """Return a picture as it is to be sent, and what the receiver is to take it for.

    :param encoding: of `PICTURE_ENCODINGS`.
    :raises PlanError: if the encoding is none of a picture.
    :raises WireError: if the pixels cannot be encoded.
    """
    if encoding not in PICTURE_ENCODINGS:
        raise PlanError(f'a picture cannot be sent as {encoding!r}; it can as {", ".join(PICTURE_ENCODINGS)}')
    if encoding == RAW or not is_raw(picture):
        return picture.data, picture.encoding
    if encoding == JPEG:
        height, width = picture.data.shape[:2]
        coded = pictures.encode(decode_raw(picture.data, picture.encoding, width=width, height=height))
        return coded.data, coded.encoding
    sent: Any = tensor_codec.encode(picture.data, encoding)
    if not isinstance(sent, Coded):  # compression makes it no smaller
        return picture.data, picture.encoding
    return Coded(sent.dtype, sent.shape, f'{picture.encoding}+{sent.encoding}', sent.data), picture.encoding


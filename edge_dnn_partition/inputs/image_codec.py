# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Encodes a camera's image for the wire, where it comes as pixels; one that is compressed already goes as it is.

``jpeg`` is baseline JPEG of quality `JPEG_QUALITY` with OpenCV's default subsampling of colour. What arrives is an image as a
camera with a JPEG of its own would have sent it. ``zstd`` and ``lz4`` keep every pixel.
"""

from __future__ import annotations

from typing import Any

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.planning.plans.encodings import IMAGE_ENCODINGS, JPEG, RAW
from edge_dnn_partition.transport import tensor_codec
from edge_dnn_partition.transport.tensors import Array, Coded

from . import images
from .image import COMPRESSED, decode_raw


def is_raw(image: CameraImage) -> bool:
    """Return whether an image is made of pixels."""
    return image.encoding not in COMPRESSED


def encode_image(image: CameraImage, encoding: str) -> tuple[Array | Coded, str]:
    """Return an image as it is to be sent, and what the receiver is to take it for.

    :param encoding: of `IMAGE_ENCODINGS`.
    :raises PlanError: if the encoding is none of an image.
    :raises WireError: if the pixels cannot be encoded.
    """
    if encoding not in IMAGE_ENCODINGS:
        raise PlanError(f'an image cannot be sent as {encoding!r}; it can as {", ".join(IMAGE_ENCODINGS)}')
    if encoding == RAW or not is_raw(image):
        return image.data, image.encoding
    if encoding == JPEG:
        height, width = image.data.shape[:2]
        coded = images.encode(decode_raw(image.data, image.encoding, width=width, height=height))
        return coded.data, coded.encoding
    sent: Any = tensor_codec.encode(image.data, encoding)
    if not isinstance(sent, Coded):  # compression makes it no smaller
        return image.data, image.encoding
    return Coded(sent.dtype, sent.shape, f'{image.encoding}+{sent.encoding}', sent.data), image.encoding


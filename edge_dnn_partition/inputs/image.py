# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images as bytes -> BGR pixels, with all that is wrong with them refused."""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.expected import memory_bytes

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

COMPRESSED: Final = ('jpeg', 'png')
#: encoding -> (channels in a pixel's bytes, OpenCV conversion to BGR or None)
_RAW: Final[dict[str, tuple[int, int | None]]] = {
    'bgr8': (3, None),
    '8UC3': (3, None),
    'rgb8': (3, cv2.COLOR_RGB2BGR),
    'bgra8': (4, cv2.COLOR_BGRA2BGR),
    'rgba8': (4, cv2.COLOR_RGBA2BGR),
    'mono8': (1, cv2.COLOR_GRAY2BGR),
    '8UC1': (1, cv2.COLOR_GRAY2BGR),
    'yuv422': (2, cv2.COLOR_YUV2BGR_UYVY),
    'uyvy': (2, cv2.COLOR_YUV2BGR_UYVY),
    'yuv422_yuy2': (2, cv2.COLOR_YUV2BGR_YUYV),
    'yuyv': (2, cv2.COLOR_YUV2BGR_YUYV),
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    'bayer_rggb8': (1, cv2.COLOR_BayerBG2BGR),
    'bayer_bggr8': (1, cv2.COLOR_BayerRG2BGR),
    'bayer_gbrg8': (1, cv2.COLOR_BayerGR2BGR),
    'bayer_grbg8': (1, cv2.COLOR_BayerGB2BGR),
}
ENCODINGS: Final = (*COMPRESSED, *_RAW)
_LARGEST_PIXELS: Final = min(100_000_000, memory_bytes() // 24)
"""An image of three bytes a pixel takes an eighth of the memory at most."""
_REDUCED: Final = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
                   8: cv2.IMREAD_REDUCED_COLOR_8}
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def compressed_encoding(text: str) -> str:
    """Return ``jpeg`` or ``png`` for what ``sensor_msgs/CompressedImage`` has in ``format``.

    Cameras write ``jpeg`` or ``jpg``, image_transport ``rgb8; jpeg compressed bgr8``.

    :raises WireError: for any other.
    """
    words = text.lower().replace(';', ' ').split()
    if 'jpeg' in words or 'jpg' in words:
        return 'jpeg'
    if 'png' in words:
        return 'png'
    raise WireError(f'compressed image of format {text!r} is not supported; use jpeg or png')


def image_size(data: Pixels, encoding: str) -> tuple[int, int]:
    """Return width and height of a compressed image from its header alone.

    :raises WireError: if the header is not that of such an image, or tells of more than
        100 million pixels, or of more than the machine's memory is fit for.
    """
    if encoding == 'jpeg':
        width, height = _jpeg_size(bytes(data[:65536])) or _jpeg_size(bytes(data)) or (0, 0)
    else:
        head = bytes(data[:24])
        if len(head) < 24 or head[:8] != b'\x89PNG\r\n\x1a\n' or head[12:16] != b'IHDR':
            raise WireError('broken PNG: it lacks the header of one')
        width, height = int.from_bytes(head[16:20], 'big'), int.from_bytes(head[20:24], 'big')
    if not 0 < width * height <= _LARGEST_PIXELS:
        raise WireError(f'broken {encoding.upper()}: its header gives {width} x {height} pixels')
    return width, height


def decode_compressed(data: Pixels, encoding: str, *, reduction: int = 1) -> Pixels:
    """Decode a JPEG or PNG to BGR pixels [height, width, 3], as stored (no EXIF rotation).

    :param reduction: 1, 2, 4 or 8: the image is wanted at this fraction of its width and
        height, rounded up; the JPEG decoder then does a smaller inverse transform, which is
        several times faster and averages, as a box filter would.
    :raises WireError: if it is broken or cut off.
    """
    image_size(data, encoding)
    if encoding == 'jpeg' and b'\xff\xd9' not in bytes(data[-64:]):
        # libjpeg would fill the missing part with grey and only print a warning.
        raise WireError('broken JPEG: its end is missing')
    flags = cv2.IMREAD_IGNORE_ORIENTATION | _REDUCED.get(reduction, cv2.IMREAD_COLOR)
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise WireError(f'broken {encoding.upper()}: {" ".join(str(error).split())[:200]}') from error
    if pixels is None:
        raise WireError(f'broken {encoding.upper()}: it cannot be decoded')
    return np.asarray(pixels, np.uint8)


def decode_raw(data: Pixels, encoding: str, *, width: int, height: int, step: int | None = None) -> Pixels:
    """Return raw pixels, as in ``sensor_msgs/Image``, as BGR [height, width, 3].

    :param data: ``step * height`` bytes, in any shape.
    :param encoding: one of ``ENCODINGS`` that is not compressed.
    :param step: bytes from one row to the next; by default rows have no padding.
    :raises WireError: if the encoding is not known or the bytes do not fit the size.
    """
    if encoding not in _RAW:
        raise WireError(f'image encoding {encoding!r} is not supported; use {", ".join(ENCODINGS)}')
    channels, conversion = _RAW[encoding]
    row = width * channels
    stride = row if step is None else step
    if not (width > 0 and height > 0 and width * height <= _LARGEST_PIXELS and stride >= row):
        raise WireError(f'image of {width} x {height} {encoding} pixels with {stride} bytes in a row')
    flat = np.ascontiguousarray(data).reshape(-1)
    if flat.size != stride * height:
        raise WireError(f'image of {width} x {height} {encoding} needs {stride * height} bytes, '
                        f'not {flat.size}')
    pixels = flat.reshape(height, stride)[:, :row].reshape(height, width, channels)
    if conversion is None:
        return pixels
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), conversion), np.uint8)
    except cv2.error as error:
        raise WireError(f'image of {width} x {height} {encoding} cannot be converted') from error


def check_image(data: Pixels, encoding: str) -> None:
    """Refuse an image that cannot be decoded.

    :param data: its bytes, or pixels ``[height, width, channels]``.
    :param encoding: one of ``ENCODINGS``.
    :raises WireError: with the reason.
    """
    if encoding in COMPRESSED:
        decode_compressed(data, encoding, reduction=8)
    else:
        decode_raw(data, encoding, width=data.shape[1], height=data.shape[0])


def largest_reduction(width: int, height: int, least_width: int, least_height: int) -> int:
    """Return the largest of 1, 2, 4, 8 that leaves an image at least as large as is needed."""
    for reduction in (8, 4, 2):
        if math.ceil(width / reduction) >= least_width and math.ceil(height / reduction) >= least_height:
            return reduction
    return 1


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height; None where the frame header is not within these bytes."""
    if head[:2] != b'\xff\xd8':
        raise WireError('broken JPEG: it lacks the header of one')
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            raise WireError('broken JPEG: a marker is missing in its header')
        marker = head[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _START_OF_FRAME:
            return int.from_bytes(head[at + 7:at + 9], 'big'), int.from_bytes(head[at + 5:at + 7], 'big')
        elif marker in (0x01, *range(0xD0, 0xD8)):  # markers without a length
            at += 2
        else:
            at += 2 + int.from_bytes(head[at + 2:at + 4], 'big')
    return None

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images as bytes -> BGR pixels or metres, with all that is wrong with them refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.expected import memory_bytes

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Depth = np.ndarray[Any, np.dtype[np.float32]]

COMPRESSED: Final = ('jpeg', 'png')


@dataclass(frozen=True)
class _Raw:
    """How the bytes of a raw encoding are laid out.

    :param channels: values of a pixel in a row; of planar YUV, of the first plane.
    :param conversion: what OpenCV calls its conversion to BGR, without ``COLOR_``; None: it is BGR.
    :param dtype: of one value, little-endian.
    :param rows: rows of bytes for each row of pixels: 1.5 where planes of colour follow.
    :param is_depth: distances, not light.
    """

    channels: int
    conversion: str | None = None
    dtype: str = '<u1'
    rows: float = 1.0
    is_depth: bool = False

    @property
    def pixel_bytes(self) -> int:
        return self.channels * np.dtype(self.dtype).itemsize


# OpenCV names a Bayer pattern by its second row, ROS by its first.
_BAYER: Final = {
    'rggb': 'BayerBG2BGR', 'bggr': 'BayerRG2BGR', 'gbrg': 'BayerGR2BGR', 'grbg': 'BayerGB2BGR',
}  # fmt: skip
_PLAIN: Final = {
    'bgr': (3, None), 'rgb': (3, 'RGB2BGR'), 'bgra': (4, 'BGRA2BGR'), 'rgba': (4, 'RGBA2BGR'),
    'mono': (1, 'GRAY2BGR'), **{f'bayer_{pattern}': (1, conversion) for pattern, conversion in _BAYER.items()},
}  # fmt: skip
_RAW: Final[dict[str, _Raw]] = {
    **{f'{name}8': _Raw(*form) for name, form in _PLAIN.items()},
    **{f'{name}16': _Raw(*form, '<u2') for name, form in _PLAIN.items()},
    '8UC1': _Raw(1, 'GRAY2BGR'), '8UC3': _Raw(3), '8UC4': _Raw(4, 'BGRA2BGR'),
    **dict.fromkeys(('yuv422', 'uyvy'), _Raw(2, 'YUV2BGR_UYVY')), **dict.fromkeys(('yuv422_yuy2', 'yuyv'), _Raw(2, 'YUV2BGR_YUYV')),
    'nv12': _Raw(1, 'YUV2BGR_NV12', rows=1.5), 'nv21': _Raw(1, 'YUV2BGR_NV21', rows=1.5),
    '16UC1': _Raw(1, dtype='<u2', is_depth=True), '32FC1': _Raw(1, dtype='<f4', is_depth=True),
}  # fmt: skip
"""The encodings of `sensor_msgs/Image` that are read; those of 16 bits use the whole range."""
RAW_ENCODINGS: Final = tuple(_RAW)
ENCODINGS: Final = (*COMPRESSED, *_RAW)
_BEGINNINGS: Final = {b'\xff\xd8\xff': 'jpeg', b'\x89PNG\r\n\x1a\n': 'png'}
_END_OF_IMAGE: Final = b'\xff\xd9'
_START_OF_SCAN: Final = 0xDA
_MILLIMETRES: Final = 1000
_DEPTH_HEADER_BYTES: Final = 12
_LARGEST_PIXELS: Final = min(100_000_000, memory_bytes() // 24)
"""An image of three bytes a pixel takes an eighth of the memory at most."""
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def compressed_encoding(data: bytes | Pixels, said: str = '') -> str:
    """Return ``jpeg`` or ``png`` by an image's first bytes.

    :param said: what its publisher calls it (`format` of ``sensor_msgs/CompressedImage``), for the error alone: cameras write
        ``jpeg``, ``mjpeg``, ``image/jpeg``, ``rgb8; jpeg compressed bgr8`` or nothing, and some are wrong.
    :raises WireError: if the bytes begin like neither.
    """
    head = bytes(data[:8])
    for beginning, encoding in _BEGINNINGS.items():
        if head.startswith(beginning):
            return encoding
    raise WireError(
        f'a compressed image that is neither JPEG nor PNG: its format says {said[:60]!r}, its first bytes are '
        f'{head.hex(" ") or "none"}; set its publisher to jpeg or png'
    )


def without_padding(data: Pixels) -> Pixels:
    """Return a compressed image's bytes without the zeros behind it, as far as a UVC camera's buffer is larger than its image."""
    return data[:len(bytes(data).rstrip(b'\0'))]


def raw_size(shape: Sequence[int], encoding: str) -> tuple[int, int]:
    """Return the width and height of an image whose bytes have a shape ``[rows, width, bytes of a pixel]``.

    :param encoding: one of ``RAW_ENCODINGS``; others have a row of bytes for each of pixels.
    """
    return int(shape[1]), int(shape[0] / _RAW[encoding].rows) if encoding in _RAW else int(shape[0])


def raw_bytes(encoding: str, height: int, step: int) -> int:
    """Return how many bytes a raw image has.

    :param step: from one row to the next.
    :raises WireError: if the encoding is not known.
    """
    if encoding not in _RAW:
        raise WireError(f'image encoding {encoding!r} is not supported; use {", ".join(ENCODINGS)}')
    return step * int(height * _RAW[encoding].rows)


def is_depth(encoding: str) -> bool:
    """Return whether an encoding's values are distances."""
    return encoding in _RAW and _RAW[encoding].is_depth


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
    if encoding == 'jpeg' and not _is_whole(bytes(data)):
        # libjpeg would fill the missing part with grey and only print a warning.
        raise WireError('broken JPEG: its end is missing')
    import cv2

    colour = cv2.IMREAD_COLOR if reduction == 1 else getattr(cv2, f'IMREAD_REDUCED_COLOR_{reduction}')
    return np.asarray(_decoded(data, encoding, cv2.IMREAD_IGNORE_ORIENTATION | colour), np.uint8)


def decode_raw(data: Pixels, encoding: str, *, width: int, height: int, step: int | None = None) -> Pixels:
    """Return raw pixels, as in ``sensor_msgs/Image``, as BGR [height, width, 3].

    Values of 16 bits become ``round(value * 255 / 65535)``, as cv_bridge makes them.

    :param data: ``step * height`` bytes (half as many again for nv12 and nv21), in any shape.
    :param encoding: one of ``RAW_ENCODINGS``.
    :param step: bytes from one row to the next; by default rows have no padding.
    :raises WireError: if the encoding is not known or of depth, or the bytes do not fit the size.
    """
    values = raw_values(data, encoding, width=width, height=height, step=step)
    form = _RAW[encoding]
    if form.is_depth:
        raise WireError(f'an image of encoding {encoding} holds distances; write colour: depth in its preprocessing')
    pixels = values
    if form.conversion is not None:
        import cv2

        try:
            pixels = cv2.cvtColor(np.ascontiguousarray(values), getattr(cv2, f'COLOR_{form.conversion}'))
        except cv2.error as error:
            raise WireError(f'image of {width} x {height} {encoding} cannot be converted') from error
    if pixels.dtype != np.uint8:  # value * 255 / 65535 is value / 257
        pixels = (pixels.astype(np.uint32) + 128) // 257
    return np.asarray(pixels, np.uint8)


def decode_depth(data: Pixels, encoding: str, *, width: int, height: int, step: int | None = None) -> Depth:
    """Return a depth image in metres, float32 [height, width]; 0 where nothing was measured (0, NaN, infinite or negative).

    By REP 118 values of 16 bits are millimetres, floats are metres.

    :param data: the bytes of a raw image, as for `decode_raw`, or those of a PNG of 16 bits.
    :param encoding: ``16UC1``, ``mono16``, ``32FC1`` or ``png``.
    :raises WireError: if it is no depth image, or broken.
    """
    if encoding == 'png':
        values = _png_depth(data)
    elif is_depth(encoding) or encoding == 'mono16':
        values = raw_values(data, encoding, width=width, height=height, step=step)[:, :, 0]
    else:
        raise WireError(f'an image of encoding {encoding!r} holds no distances; use 16UC1, 32FC1 or a PNG of 16 bits')
    metres = values / np.float32(_MILLIMETRES) if values.dtype == np.uint16 else values
    return np.where(np.isfinite(metres) & (metres > 0), metres, 0).astype(np.float32)


def decode_compressed_depth(data: Pixels, said: str) -> np.ndarray[Any, Any]:
    """Return what image_transport's ``compressedDepth`` holds, ``[height, width]``: uint16 millimetres or float32 metres.

    A header of 12 bytes (a format, and A and B of the quantisation of floats) precedes a PNG of 16 bits; a float is
    A / (value - B), and a value of 0 is no measurement (compressed_depth_image_transport).

    :param said: the message's format, such as ``16UC1; compressedDepth png``.
    :raises WireError: if the data are no PNG, as with its coding ``rvl``, or broken.
    """
    image = data[_DEPTH_HEADER_BYTES:]
    if compressed_encoding(image, said) != 'png':
        raise WireError(f'a depth image of format {said[:60]!r} that is no PNG; set its publisher to png')
    values = _png_depth(image)
    if '32FC1' not in said:
        return values
    a, b = np.frombuffer(bytes(data[4:_DEPTH_HEADER_BYTES]), '<f4')
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(values > 0, a / (values.astype(np.float32) - b), np.float32(0)).astype('<f4')


def raw_values(data: Pixels, encoding: str, *, width: int, height: int, step: int | None = None) -> np.ndarray[Any, Any]:
    """Return the values of a raw image's bytes, ``[rows, width, channels]``, in the dtype of its encoding; see `decode_raw`.

    :raises WireError: if the encoding is not known or the bytes do not fit the size.
    """
    form = _RAW.get(encoding, _Raw(1))
    row = width * form.pixel_bytes
    stride = row if step is None else step
    size = raw_bytes(encoding, height, stride)
    if not (width > 0 and height > 0 and width * height <= _LARGEST_PIXELS and stride >= row):
        raise WireError(f'image of {width} x {height} {encoding} pixels with {stride} bytes in a row')
    if form.rows != 1 and (width % 2 or height % 2):
        raise WireError(f'image of {width} x {height} {encoding} pixels; its width and height must be even')
    flat = np.ascontiguousarray(data).reshape(-1)
    if flat.size != size:
        raise WireError(f'image of {width} x {height} {encoding} needs {size} bytes, not {flat.size}')
    pixels = np.ascontiguousarray(flat.reshape(-1, stride)[:, :row])
    return pixels.view(form.dtype).reshape(-1, width, form.channels)


def check_image(data: Pixels, encoding: str) -> None:
    """Refuse an image that cannot be decoded.

    :param data: its bytes, or pixels ``[height, width, channels]``.
    :param encoding: one of ``ENCODINGS``.
    :raises WireError: with the reason.
    """
    if encoding in COMPRESSED:
        decode_compressed(data, encoding, reduction=8)
    else:
        width, height = raw_size(data.shape, encoding)
        (decode_depth if is_depth(encoding) else decode_raw)(data, encoding, width=width, height=height)


def largest_reduction(width: int, height: int, least_width: int, least_height: int) -> int:
    """Return the largest of 1, 2, 4, 8 that leaves an image at least as large as is needed."""
    for reduction in (8, 4, 2):
        if math.ceil(width / reduction) >= least_width and math.ceil(height / reduction) >= least_height:
            return reduction
    return 1


def _png_depth(data: Pixels) -> np.ndarray[Any, Any]:
    import cv2

    image_size(data, 'png')
    values = _decoded(data, 'png', cv2.IMREAD_UNCHANGED)
    if values.dtype != np.uint16 or values.ndim != 2:
        raise WireError('a depth image as PNG needs one channel of 16 bits')
    return values


def _decoded(data: Pixels, encoding: str, flags: int) -> np.ndarray[Any, Any]:
    import cv2

    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise WireError(f'broken {encoding.upper()}: {" ".join(str(error).split())[:200]}') from error
    if pixels is None:
        raise WireError(f'broken {encoding.upper()}: it cannot be decoded')
    return np.asarray(pixels)


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height; None where the frame header is not within these bytes."""
    for marker, at in _markers(head):
        if marker in _START_OF_FRAME and at + 9 <= len(head):
            return int.from_bytes(head[at + 7:at + 9], 'big'), int.from_bytes(head[at + 5:at + 7], 'big')
    return None


def _is_whole(data: bytes) -> bool:
    """Return whether a JPEG ends: its end marker follows its first scan, whatever a camera's buffer has behind it.

    Within a scan the marker's bytes cannot occur; before one, a thumbnail may have an end of its own.
    """
    return any(marker == _START_OF_SCAN and data.rfind(_END_OF_IMAGE) > at for marker, at in _markers(data))


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker of a JPEG's header and where it is, up to its first scan.

    :raises WireError: if the bytes are not those of a JPEG's header.
    """
    if data[:2] != b'\xff\xd8':
        raise WireError('broken JPEG: it lacks the header of one')
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise WireError('broken JPEG: a marker is missing in its header')
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, at
        if marker == _START_OF_SCAN:
            return
        at += 2 if marker in (0x01, *range(0xD0, 0xD8)) else 2 + int.from_bytes(data[at + 2:at + 4], 'big')

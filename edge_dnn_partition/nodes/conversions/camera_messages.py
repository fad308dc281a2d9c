# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Camera messages to a frame's inputs, by cv_bridge where it is installed and by the same steps where it is not."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.inputs.image import ENCODINGS, compressed_encoding
from edge_dnn_partition.inputs.kinds import inputs_from_bytes, inputs_to_bytes

_CHANNELS = {
    'bgr8': 3, 'rgb8': 3, '8UC3': 3, 'bgra8': 4, 'rgba8': 4, 'mono8': 1, '8UC1': 1,
    'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2,
}  # fmt: skip


def _bridge() -> Any:
    """Return cv_bridge's converter; None where it is missing or broken (as with numpy 2)."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # noqa: BLE001 - its extension module fails to load in many ways
        return None


_BRIDGE = _bridge()


def from_compressed_message(message: CompressedImage) -> CameraImage:
    """Return a compressed image's bytes as they are.

    :raises WireError: if the format is neither JPEG nor PNG, or there are no bytes.
    """
    encoding = compressed_encoding(message.format)
    if len(message.data) == 0:
        raise WireError('a compressed image without data; check its publisher')
    return CameraImage(np.frombuffer(message.data, np.uint8), encoding)


def from_image_message(message: Image) -> CameraImage:
    """Return a raw image's pixels, rows without padding.

    :raises WireError: if the encoding is unknown or the sizes contradict each other.
    """
    if message.encoding not in ENCODINGS:
        known = ', '.join(e for e in ENCODINGS if e not in ('jpeg', 'png'))
        raise WireError(f'image encoding {message.encoding!r} is not supported; use {known}')
    channels = _CHANNELS.get(message.encoding, 1)
    row = message.width * channels
    if (
        message.width == 0
        or message.height == 0
        or message.step < row
        or len(message.data) < message.step * message.height
    ):
        raise WireError(
            f'an image of {message.width} x {message.height} {message.encoding} with rows of {message.step} bytes '
            f'has {len(message.data)} bytes; check its publisher'
        )
    if _BRIDGE is not None:
        pixels = np.ascontiguousarray(_BRIDGE.imgmsg_to_cv2(message, 'passthrough'), np.uint8)
    else:
        rows = np.frombuffer(message.data, np.uint8, message.step * message.height).reshape(
            message.height, message.step
        )
        pixels = np.ascontiguousarray(rows[:, :row])
    return CameraImage(pixels.reshape(message.height, message.width, channels), message.encoding)


def content_of(inputs: FrameInputs) -> bytes:
    """Return a frame's inputs with their header, to keep on disk."""
    return inputs_to_bytes(inputs, serialize_message(inputs.header or Header()))


def kept_inputs(content: bytes) -> FrameInputs:
    """Return the inputs that `content_of` was given.

    :raises WireError: if the content is damaged, or another release kept it.
    """
    try:
        inputs, header = inputs_from_bytes(content)
        return replace(inputs, header=deserialize_message(header, Header))
    except (ValueError, RuntimeError) as error:
        raise WireError(str(error)) from error


def image_message(pixels: np.ndarray[Any, Any], encoding: str, header: Header) -> Image:
    """Return pixels, uint8 ``[height, width]`` or ``[height, width, channels]``, as a message."""
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, step=pixels.nbytes // height)
    message.data = _bytes_of(pixels)
    return message


def compressed_message(data: np.ndarray[Any, Any], encoding: str, header: Header) -> CompressedImage:
    """Return a compressed image's bytes, uint8, as a message.

    :param encoding: ``jpeg`` or ``png``.
    """
    message = CompressedImage(header=header, format=encoding)
    message.data = _bytes_of(data)
    return message


def _bytes_of(values: np.ndarray[Any, Any]) -> array[int]:
    data = array('B')
    data.frombytes(np.ascontiguousarray(values).reshape(-1).data)
    return data

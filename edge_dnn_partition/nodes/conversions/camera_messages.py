# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Camera messages to a frame's inputs, and back."""

from __future__ import annotations

from array import array
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.inputs.image import RAW_ENCODINGS, raw_bytes, raw_size, raw_values
from edge_dnn_partition.inputs.kinds import inputs_from_bytes, inputs_to_bytes


def from_compressed_message(message: CompressedImage) -> CameraImage:
    """Return a compressed image's bytes; what they are, they say themselves.

    :raises WireError: if they are neither JPEG nor PNG, or there are none.
    """
    if len(message.data) == 0:
        raise WireError('a compressed image without data; check its publisher')
    return CameraImage.of_bytes(np.frombuffer(message.data, np.uint8), message.format)


def from_image_message(message: Image) -> CameraImage:
    """Return a raw image's bytes, rows without padding, values little-endian; what only cv_bridge reads, as it reads it.

    :raises WireError: if the encoding is unknown or the sizes contradict each other.
    """
    if message.encoding not in RAW_ENCODINGS and (pixels := _by_cv_bridge(message)) is not None:
        return CameraImage(pixels, 'bgr8')
    size = raw_bytes(message.encoding, message.height, message.step)  # some have more behind it
    data = np.frombuffer(message.data, np.uint8)[:size]
    values = raw_values(data, message.encoding, width=message.width, height=message.height, step=message.step)
    if message.is_bigendian:
        values = values.byteswap()
    return CameraImage(values.reshape(*values.shape[:2], -1).view(np.uint8), message.encoding)


@cache
def _bridge() -> Any:
    """Return cv_bridge's converter; None where it is missing or broken (as one built for numpy 1 is under numpy 2)."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # noqa: BLE001 - its extension module fails to load in many ways
        return None


def _by_cv_bridge(message: Image) -> np.ndarray[Any, Any] | None:
    """Return BGR pixels ``[height, width, 3]``; None if cv_bridge is not there or does not read them either."""
    if (bridge := _bridge()) is None:
        return None
    try:
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, 'bgr8'), np.uint8)
    except Exception:  # noqa: BLE001 - CvBridgeError, cv2.error, ValueError: the caller says what can be read
        return None


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
    """Return pixels, uint8 ``[rows, width]`` or ``[rows, width, bytes of a pixel]``, as a message."""
    width, height = raw_size(pixels.shape, encoding)
    message = Image(header=header, height=height, width=width, encoding=encoding, step=pixels.nbytes // pixels.shape[0])
    message.data = _bytes_of(pixels)
    return message


def depth_message(depth: np.ndarray[Any, np.dtype[np.float32]], header: Header) -> Image:
    """Return distances ``[rows, width]`` as a message, 32FC1."""
    return image_message(np.ascontiguousarray(depth, '<f4')[:, :, None].view(np.uint8), '32FC1', header)


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

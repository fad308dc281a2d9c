# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Images with their message's header as bytes, for the frame source's journal."""

from __future__ import annotations

import json

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from edge_dnn_partition.inputs.frame import CameraImage


def pack_image(image: CameraImage) -> bytes:
    """Return an image as bytes: a line of JSON, and its data."""
    header = image.header or Header()
    about = {'encoding': image.encoding, 'shape': image.data.shape, 'header': serialize_message(header).hex()}
    return json.dumps(about).encode() + b'\n' + np.ascontiguousarray(image.data).tobytes()


def unpack_image(content: bytes) -> CameraImage:
    """Return the image of such bytes.

    :raises ValueError: if they are none.
    """
    line, _, data = content.partition(b'\n')
    about = json.loads(line)
    pixels = np.frombuffer(data, np.uint8).reshape(tuple(about['shape']))
    return CameraImage(pixels, about['encoding'], deserialize_message(bytes.fromhex(about['header']), Header))

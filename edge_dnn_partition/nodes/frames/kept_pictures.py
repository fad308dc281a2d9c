# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures with their message's header as bytes, for the frame source's journal."""

from __future__ import annotations

import json

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from edge_dnn_partition.inputs.frame import Picture


def pack_picture(picture: Picture) -> bytes:
    """Return a picture as bytes: a line of JSON, and its data."""
    header = picture.header or Header()
    about = {'encoding': picture.encoding, 'shape': picture.data.shape, 'header': serialize_message(header).hex()}
    return json.dumps(about).encode() + b'\n' + np.ascontiguousarray(picture.data).tobytes()


def unpack_picture(content: bytes) -> Picture:
    """Return the picture of such bytes.

    :raises ValueError: if they are none.
    """
    line, _, data = content.partition(b'\n')
    about = json.loads(line)
    pixels = np.frombuffer(data, np.uint8).reshape(tuple(about['shape']))
    return Picture(pixels, about['encoding'], deserialize_message(bytes.fromhex(about['header']), Header))

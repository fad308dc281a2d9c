# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a result means, as messages and back: boxes with angles and keypoints, depths as images."""

import numpy as np
import pytest

from edge_dnn_partition.results.postprocess import Box, Keypoint, Prediction, Score

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


def test_boxes_there_and_back():
    from edge_dnn_partition.srv import Infer

    from edge_dnn_partition.nodes.conversions.inference_messages import result_of
    from edge_dnn_partition.nodes.frames.result_publisher import detection_messages

    boxes = (
        Box(1.0, 2.0, 3.0, 4.0, Score(1, 'cat', 0.5), keypoints=(Keypoint(1.5, 2.5, 0.25), Keypoint(2.0, 3.0, 1.0))),
        Box(5.0, 6.0, 7.0, 9.0, Score(0, 'owl', 0.25), angle=0.75),
    )
    response = Infer.Response(success=True, detections=detection_messages(Prediction('pose', boxes=boxes)))
    assert result_of(response).detections == boxes


def test_a_depth_is_an_image_of_metres():
    from std_msgs.msg import Header

    from edge_dnn_partition.nodes.conversions.camera_messages import depth_message

    depth = np.array([[1.5, np.nan, 3.0], [0.25, 2.0, 7.0]], np.float32)
    message = depth_message(depth, Header(frame_id='camera'))
    assert (message.encoding, message.width, message.height, message.step, message.is_bigendian) == ('32FC1', 3, 2, 12, 0)
    np.testing.assert_array_equal(np.frombuffer(bytes(message.data), '<f4').reshape(2, 3), depth)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Results as vision_msgs, on a ROS that has them."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
pytest.importorskip('vision_msgs', reason='vision_msgs are not installed')

from std_msgs.msg import Header

from edge_dnn_partition.nodes.conversions.vision_messages import message
from edge_dnn_partition.results.postprocess import Box, Prediction, Score


def test_classes():
    found = message(Prediction('classification', scores=(Score(3, 'cat', 0.75),)), Header(frame_id='camera'), ('classification',))
    assert found.header.frame_id == 'camera'
    assert [(one.class_id, one.score) for one in found.results] == [('cat', 0.75)]


def test_boxes():
    found = message(Prediction('detection', boxes=(Box(10.0, 20.0, 30.0, 60.0, Score(1, 'dog', 0.5)),)), Header(frame_id='camera'), ('detections',))
    (one,) = found.detections
    centre = one.bbox.center.position
    assert (centre.x, centre.y, one.bbox.size_x, one.bbox.size_y) == (20.0, 40.0, 20.0, 40.0)
    assert (one.header.frame_id, one.results[0].hypothesis.class_id) == ('camera', 'dog')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the results mean as `vision_msgs`, where those are installed (version 4: Humble and newer)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from std_msgs.msg import Header

from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.results.postprocess import Prediction, Score


def installed() -> bool:
    """Return whether the messages are there."""
    return find_spec('vision_msgs') is not None


def publisher(node: FleetNode, gives: Sequence[str]) -> Any:
    """Return a publisher of Detection2DArray or Classification; None for kinds with neither, or where the messages are missing.

    :param gives: the topics of the fleet's kind (`postprocess.topics_of`).
    """
    if not {'classification', 'detections'} & set(gives) or not installed():
        return None
    messages = import_module('vision_msgs.msg')
    if 'detections' not in gives:
        return node.advertise(messages.Classification, node.topics.vision_classification, qos.RESULT)
    return node.advertise(messages.Detection2DArray, node.topics.vision_detections, qos.RESULT)


def message(prediction: Prediction, header: Header, gives: Sequence[str]) -> Any:
    """Return what a model says of an image, with the image's header."""
    messages = import_module('vision_msgs.msg')
    if 'detections' not in gives:
        return messages.Classification(header=header, results=[_hypothesis(messages, score) for score in prediction.scores])
    result = messages.Detection2DArray(header=header)
    for box in prediction.boxes:
        one = messages.Detection2D(header=header)
        one.results = [messages.ObjectHypothesisWithPose(hypothesis=_hypothesis(messages, box.what))]
        one.bbox.center.position.x = (box.left + box.right) / 2
        one.bbox.center.position.y = (box.top + box.bottom) / 2
        one.bbox.center.theta = box.angle
        one.bbox.size_x, one.bbox.size_y = box.right - box.left, box.bottom - box.top
        result.detections.append(one)
    return result


def _hypothesis(messages: Any, score: Score) -> Any:
    return messages.ObjectHypothesis(class_id=score.label, score=score.score)

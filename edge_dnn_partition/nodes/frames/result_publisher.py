# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's postprocessing: publishes what results mean and the annotated image, from a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.deployment.start_checks import postprocessing_of
from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION
from edge_dnn_partition.execution.frames.ledger import Frame
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.images import encode
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.msg import Classification, ClassScore, Detection, Detections, Embedding
from edge_dnn_partition.msg import Keypoint as KeypointMessage
from edge_dnn_partition.nodes.conversions import vision_messages
from edge_dnn_partition.nodes.conversions.camera_messages import compressed_message, depth_message, image_message
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.results.postprocess import Postprocessor, Prediction, Score, topics_of

from .trajectory_publisher import TrajectoryPublisher

_MASK_BYTES: Final = 1 << 20
"""Of a mask of a megapixel."""
_WAITING: Final = 16
"""Results that wait for their postprocessing, which takes a fraction of the model's time: with more, it has fallen behind."""

OnPrediction = Callable[[Prediction | None, str], None]
"""Takes what a result means, or None and why that is not known; called once, from any thread."""


class ResultPublisher:
    """Publishes what each result means, if the fleet file says how, and the annotated image, if anybody subscribes.

    :param node: a frame source, with the parameter ``fleet_file``.
    :param fleet: whose ``model.postprocessing`` says what the outputs are.
    :param outputs: of the model, by name, in its order; they come in any.
    :param preprocessing: of the first image; None: the model takes none.
    :raises UserError: if it cannot be followed.
    """

    def __init__(
        self, node: FleetNode, fleet: Fleet, outputs: Sequence[str], preprocessing: Preprocessing | None
    ) -> None:
        self._node, self._outputs = node, tuple(outputs)
        self._read: Postprocessor = postprocessing_of(fleet, node.params.text('fleet_file'))
        self._preprocessing = preprocessing
        topics, gives = node.topics, topics_of(self._read)
        self._annotated = node.advertise(Image, topics.annotated, qos.ANNOTATED)
        self._compressed = node.advertise(CompressedImage, topics.annotated_compressed, qos.ANNOTATED)
        self._classes = node.advertise(Classification, topics.classification, qos.RESULT) if 'classification' in gives else None
        self._boxes = node.advertise(Detections, topics.detections, qos.RESULT) if 'detections' in gives else None
        self._mask = node.advertise(Image, topics.mask, qos.result_writer(_MASK_BYTES)) if 'mask' in gives else None
        self._depth = node.advertise(Image, topics.depth, qos.result_writer(4 * _MASK_BYTES)) if 'depth' in gives else None
        self._embedding = node.advertise(Embedding, topics.embedding, qos.RESULT) if 'embedding' in gives else None
        self._vision = vision_messages.publisher(node, gives)
        self._actions = TrajectoryPublisher(node) if 'actions' in gives else None
        self._waiting: queue.Queue[tuple[Frame, OnPrediction | None] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name='postprocessing', daemon=True)
        self._thread.start()

    def delivered(self, frame: Frame, on_prediction: OnPrediction | None = None) -> None:
        """Take a frame whose result is there; returns at once.

        :param on_prediction: takes what it means, whether or not anybody subscribes.
        """
        if on_prediction is None and not self._has_subscribers():
            return
        try:
            self._waiting.put_nowait((frame, on_prediction))
        except queue.Full:
            reason = f'{_WAITING} results wait for their postprocessing already; this one gets none'
            self._node.refuse('postprocessing', reason)
            if on_prediction is not None:
                on_prediction(None, reason)

    def stop(self) -> None:
        """End the thread."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return  # it is a daemon, and the node is about to end
        self._thread.join(1.0)

    def _has_subscribers(self) -> bool:
        own = (self._annotated, self._compressed, self._classes, self._boxes, self._mask, self._depth, self._embedding,
               self._vision)  # fmt: skip
        if self._actions is not None and self._actions.has_subscribers():
            return True
        return any(publisher is not None and publisher.get_subscription_count() for publisher in own)

    def _run(self) -> None:
        work = self._node.guarded(self._work, always=True)
        while (entry := self._waiting.get()) is not None:
            work(*entry)

    def _work(self, frame: Frame, on_prediction: OnPrediction | None) -> None:
        outputs = {name: frame.outputs[name] for name in self._outputs if name in frame.outputs}
        image = frame.inputs.image
        try:
            prediction = self._read(outputs, (0, 0) if image is None else image.size, self._preprocessing)
        except Exception as error:
            if on_prediction is not None:
                on_prediction(None, str(error))
            raise
        if on_prediction is not None:
            on_prediction(prediction, '')
        self._publish(frame, prediction)

    def _publish(self, frame: Frame, prediction: Prediction) -> None:
        image, header, number = frame.inputs.image, frame.inputs.header or Header(), frame.frame_number
        if self._classes is not None:
            self._classes.publish(Classification(header=header, frame_number=number, classes=class_messages(prediction)))
        if self._boxes is not None:
            self._boxes.publish(Detections(header=header, frame_number=number, detections=detection_messages(prediction)))
        if self._mask is not None and prediction.mask is not None:
            self._mask.publish(image_message(prediction.mask, 'mono8', header))
        if self._depth is not None and prediction.depth is not None:
            self._depth.publish(depth_message(prediction.depth, header))
        if self._embedding is not None and prediction.vector is not None:
            self._embedding.publish(Embedding(header=header, frame_number=number, values=prediction.vector))
        if self._vision is not None:
            self._vision.publish(vision_messages.message(prediction, header, topics_of(self._read)))
        if self._actions is not None and prediction.actions is not None:
            self._actions.publish(prediction.actions, header, frame.latency_seconds)
        if image is not None:
            self._publish_annotated(frame, image, prediction, header)

    def _publish_annotated(self, frame: Frame, image: CameraImage, prediction: Prediction, header: Header) -> None:
        """Publish an image with what the model says of it, as pixels, as JPEG, or both, as far as anybody subscribes."""
        raw, compressed = (publisher.get_subscription_count() > 0 for publisher in (self._annotated, self._compressed))
        if not (raw or compressed):
            return
        from edge_dnn_partition.results.annotate import annotated  # loads OpenCV

        words = [f'{way_of(frame)}, {frame.latency_seconds * 1e3:.0f} ms']
        drawn = annotated(image.shown(), prediction, words)
        if raw:
            self._annotated.publish(image_message(drawn, 'bgr8', header))
        if compressed:
            message = compressed_message(encode(drawn).data, 'jpeg', header)
            message.format = 'bgr8; jpeg compressed bgr8'  # as image_transport's plugins write it
            self._compressed.publish(message)


def way_of(frame: Frame) -> str:
    """Return the plan that gave a frame's result, in words."""
    return 'hedge' if frame.plan_version == HEDGE_VERSION else f'plan {frame.plan_version}'


def class_messages(prediction: Prediction) -> list[ClassScore]:
    """Return the classes that a model names, as messages."""
    return [_class(score) for score in prediction.scores]


def detection_messages(prediction: Prediction) -> list[Detection]:
    """Return the objects in an image, as messages."""
    return [
        Detection(left=box.left, top=box.top, right=box.right, bottom=box.bottom, what=_class(box.what), angle=box.angle,
                  keypoints=[KeypointMessage(x=point.x, y=point.y, score=point.score) for point in box.keypoints])
        for box in prediction.boxes
    ]


def _class(score: Score) -> ClassScore:
    return ClassScore(index=score.index, label=score.label, score=score.score)

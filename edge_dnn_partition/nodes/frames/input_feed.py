# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where a frame source's frames come from: topics, and folders, videos or cameras that it reads itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs, InputValue
from edge_dnn_partition.inputs.messages import Reader, message_class, readers_of
from edge_dnn_partition.inputs.synchroniser import Synchroniser, synchroniser_of
from edge_dnn_partition.nodes.conversions.camera_messages import from_compressed_message, from_image_message
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.fleet.inputs import Camera, cameras_of, model_inputs

from .camera import CameraReader, SensorSubscription

_TICK_SECONDS: Final = 0.05
_LARGE: Final = ('PointCloud2', 'TensorData')


class InputFeed:
    """Makes frames of what the inputs in a fleet file give, and offers them to a node.

    :param node: a frame source, with its parameters.
    :param offer: takes the inputs of a frame; called from the thread that spins, or from that of the images.
    :raises UserError: if the fleet file's inputs cannot be followed here.
    """

    def __init__(self, node: FleetNode, fleet: Fleet, model: Model, offer: Callable[[FrameInputs], None]) -> None:
        self._node, self._offer = node, offer
        self._lock = threading.Lock()
        """Guards the synchroniser, and keeps frames in their order."""
        self._reader: CameraReader | None = None
        self._synchroniser: Synchroniser | None = None
        self.topics: tuple[str, ...] = ()
        """Those that frames are made of."""
        inputs = model_inputs(fleet, model)
        self._values = {**{name: name for name in inputs.tensors}, **inputs.images}
        cameras = {name: self._as_set(camera, name in fleet.inputs) for name, camera in cameras_of(fleet, inputs).items()}
        readers = readers_of(fleet, model, Path(node.params.text('fleet_file')).resolve().parent)
        self._absent = [name for name in self._values if name not in readers and not (name in cameras and cameras[name].given)]
        if self._absent or not self._values:
            return
        self._synchroniser = synchroniser_of(fleet, self._values, [name for name, reader in readers.items() if reader.latest])
        self._dropped = 0
        for name, camera in cameras.items():
            self._subscribe_images(name, camera)
        for name, reader in readers.items():
            self._subscribe_numbers(name, reader)
        topics = [camera.topic for camera in cameras.values() if camera.topic] + [reader.topic for reader in readers.values()]
        self.topics = tuple(map(node.resolve_topic_name, topics))
        own = {name: camera for name, camera in cameras.items() if camera.topic is None}
        if own:
            self._reader = CameraReader(node, own, self._on_images)
        if len(self._values) > 1:
            node.every(_TICK_SECONDS, lambda: self._take({}))

    def start(self) -> None:
        """Begin to read images, as far as they do not come over topics."""
        if self._reader is not None:
            self._reader.start()
        if self._synchroniser is None:
            names = ' and '.join(self._absent) or 'the model'
            self._node.get_logger().info(
                f'no camera: frames come by the service {self._node.topics.infer} only, as {names} has no source; '
                'for others set image_topic, or camera: {topic, images, video or camera}, or inputs in the fleet file'
            )

    def stop(self) -> None:
        """Read no more."""
        if self._reader is not None:
            self._reader.stop()

    def _as_set(self, camera: Camera, named: bool) -> Camera:
        """Return a camera with the node's parameters for the one that the file does not name as an input."""
        if named:
            return camera
        parameters = self._node.params
        topic = parameters.text('image_topic')
        chosen = {'topic': topic, 'images': None, 'video': None, 'camera': None} if topic else {}
        return camera.model_copy(update={**chosen, 'compressed': parameters.flag('compressed') and camera.compressed})

    # Messages -------------------------------------------------------------------------------------------------

    def _subscribe_images(self, name: str, camera: Camera) -> None:
        if camera.topic is None:
            return
        kind, read = (CompressedImage, from_compressed_message) if camera.compressed else (Image, from_image_message)
        SensorSubscription(
            self._node, kind, camera.topic, lambda message: self._on_message(name, read(message), message), follows=kind is Image
        )

    def _subscribe_numbers(self, name: str, reader: Reader) -> None:
        kind = message_class(name, reader)

        def take(message: Any) -> None:
            value = reader(message)
            if value is None:
                self._node.repeats.warning('inputs', f'no frame: no message of {reader.topic} tells of {reader.missing} yet')
            else:
                self._on_message(name, value, message)

        follows = reader.type.endswith(_LARGE)
        SensorSubscription(self._node, kind, reader.topic, take, follows=follows, keeps=reader.latest)

    def _on_message(self, name: str, value: InputValue, message: Any) -> None:
        now = self._node.get_clock().now()
        header = getattr(message, 'header', None)
        if not isinstance(header, Header):
            header = Header(stamp=now.to_msg())
        stamp = header.stamp.sec + header.stamp.nanosec * 1e-9 or now.nanoseconds * 1e-9
        self._take({name: (stamp, value, header)})

    def _on_images(self, shown: Mapping[str, CameraImage]) -> None:
        now = self._node.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id='camera')
        self._take({name: (now.nanoseconds * 1e-9, image, header) for name, image in shown.items()})

    def _take(self, arrived: Mapping[str, tuple[float, InputValue, Header]]) -> None:
        """Offer the frames that are complete with what arrived, by input: its stamp, value and header."""
        synchroniser, now = self._synchroniser, time.monotonic()
        assert synchroniser is not None
        with self._lock:
            groups = [] if arrived else synchroniser.tick(now)
            # The reference last: what arrives together has one stamp, as other messages may have on a clock that is simulated.
            for name, (stamp, value, header) in sorted(arrived.items(), key=lambda one: one[0] == synchroniser.reference):
                groups += synchroniser.add(name, stamp, (value, header), now)
            for group in groups:
                values = {self._values[name]: value for name, (value, _) in group.items()}
                self._offer(FrameInputs(values, group[synchroniser.reference][1]))
            if synchroniser.dropped > self._dropped:
                self._dropped = synchroniser.dropped
                self._node.repeats.warning('inputs', f'no frame: {synchroniser.reason}')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's sending of images: as they came, or encoded as the plan says, on a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.frames.pipeline import first_device
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.image_codec import encode_image, is_raw
from edge_dnn_partition.msg import Emulation
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.transport.sender import TensorSender
from edge_dnn_partition.planning.fleet.fleet import Emulate, Fleet
from edge_dnn_partition.planning.plans.coding import image_encoding
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan
from edge_dnn_partition.testbed.dilation import Dilation
from edge_dnn_partition.transport.fragments import Address


class ImageSender:
    """Sends images to the device of a plan's first stage; encoding one holds nobody up.

    :param fleet: says whether this device is emulated, and so encodes slower than this machine.
    """

    def __init__(self, node: FleetNode, sender: TensorSender, fleet: Fleet) -> None:
        self._node, self._sender, self._device = node, sender, node.topics.device
        emulate = fleet.devices[self._device].emulate or Emulate()
        self._dilation = Dilation(emulate.factor, other_factor=emulate.other_factor)
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.last_encoding, self.last_bytes = '', 0
        self._thread = threading.Thread(target=self._run, name='image_sender', daemon=True)
        self._thread.start()

    def saw(self, image: CameraImage) -> None:
        """Take in an image that came, for the node's status."""
        self.last_encoding, self.last_bytes = image.encoding, image.data.nbytes

    def send(self, image: CameraImage, plan: Plan, number: int, attempt: int) -> None:
        """Send a frame's image; one that is to be encoded follows when it is."""
        address = Address(plan.model_sha256, plan.version, number, attempt, SOURCE_STAGE)
        target = (first_device(plan), False)
        encoding = image_encoding(plan)
        if encoding == RAW or not is_raw(image):
            self._sender.send(target, address, {IMAGE: image.data}, {IMAGE: image.encoding})
        else:
            self._tasks.put(lambda: self._encode(image, encoding, target, address))

    def emulate(self, message: Emulation) -> None:
        """Change this device's emulated slowness."""
        for device, slowdown in zip(message.devices, message.slowdowns, strict=True):
            if device == self._device:
                self._dilation.factor = slowdown

    def stop(self) -> None:
        """End the thread."""
        self._dilation.interrupt()
        self._tasks.put(None)
        self._thread.join(1.0)

    def _encode(self, image: CameraImage, encoding: str, target: tuple[str, bool], address: Address) -> None:
        begin, busy = time.monotonic(), time.thread_time()
        data: Any
        try:
            data, kind = encode_image(image, encoding)
        except UserError as error:  # it goes as it is: a frame that was accepted is not dropped
            self._node.refuse('encode', f'frame {address.frame_id} goes as it came: {error}')
            data, kind = image.data, image.encoding
        self._dilation.pause(time.thread_time() - busy, time.monotonic() - begin)
        self._sender.send(target, address, {IMAGE: data}, {IMAGE: kind}, encode_seconds=time.monotonic() - begin)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:  # noqa: BLE001, PERF203
                if self._node.ending.is_set():
                    return
                self._node.repeats.failure('an image could not be sent, it is sent again later')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Sends a frame's inputs from the source: as they are, or encoded as the plan says, on a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.frames.pipeline import deliveries
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.inputs.kinds import kind_of
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.plan import IMAGE, Plan
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.link import TensorLink
from edge_dnn_partition.transport.tensors import Array, Coded


class InputSender:
    """Sends a frame's inputs to the devices that read them; encoding one holds nobody up.

    :param hardware: of this device, which encodes the inputs.
    :param constants: by the model's input; sent where a stage waits for nothing else (`compose`).
    """

    def __init__(
        self, node: FleetNode, link: TensorLink, hardware: Hardware, constants: Mapping[str, Array] | None = None
    ) -> None:
        self._node, self._link, self._hardware, self._constants = node, link, hardware, constants or {}
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.last_encoding, self.last_bytes = '', 0
        self.other_bytes: dict[str, int] = {}
        """Of the last value of each other input, by name."""
        self._thread = threading.Thread(target=self._run, name='input_sender', daemon=True)
        self._thread.start()

    def saw(self, inputs: FrameInputs) -> None:
        """Take in what the cameras' images and other inputs are like, for the node's status."""
        if (image := inputs.image) is not None:
            self.last_encoding, self.last_bytes = image.encoding, image.nbytes
        self.other_bytes = {name: value.nbytes for name, value in inputs.values.items() if name != IMAGE}

    def send(self, inputs: FrameInputs, plan: Plan, address: Address) -> None:
        """Send a frame's inputs; those to a device for which one is to be encoded follow when it is."""
        for device, encodings in deliveries(plan, {*inputs.values, *self._constants}).items():
            values = {name: inputs.values[name] if name in inputs.values else self._constants[name] for name in encodings}
            at_once = all(kind_of(value).is_encoded(value, encodings[name]) for name, value in values.items())
            task = partial(self._deliver, values, encodings, device, address, at_once=at_once)
            if at_once:
                task()
            else:
                self._tasks.put(task)

    def stop(self) -> None:
        """End the thread."""
        self._hardware.interrupt()
        self._tasks.put(None)
        self._thread.join(1.0)

    def _deliver(
        self, values: Mapping[str, Any], encodings: Mapping[str, str], device: str, address: Address, *, at_once: bool
    ) -> None:
        begin, busy = time.monotonic(), time.thread_time()
        sent: dict[str, Array | Coded] = {}
        kinds: dict[str, str] = {}
        for name, value in values.items():
            kind = kind_of(value)
            try:
                sent[name], kinds[name] = kind.encode(value, encodings[name])
            except UserError as error:  # sent as it is: an accepted frame is not dropped
                self._node.refuse('encode', f'frame {address.frame_number} is sent as it is: {error}')
                sent[name], kinds[name] = kind.encode(value, RAW)
        if not at_once:
            self._hardware.worked(time.thread_time() - busy, time.monotonic() - begin)
        seconds = 0.0 if at_once else time.monotonic() - begin
        self._link.send((device, False), address, sent, kinds, encode_seconds=seconds)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:  # noqa: BLE001, PERF203
                if self._node.ending.is_set():
                    return
                self._node.repeats.failure('inputs could not be sent; they are sent again later')

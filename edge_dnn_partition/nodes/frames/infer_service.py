# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's service `infer`: runs an image, or tensors, through the fleet, answered when the frame has ended."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.execution.frames.ledger import DELIVERED, EXPIRED, FAILED, Frame
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.inputs.given import GivenInputs
from edge_dnn_partition.inputs.kinds import check_inputs
from edge_dnn_partition.msg import Result
from edge_dnn_partition.nodes.conversions.camera_messages import from_compressed_message, from_image_message, image_message
from edge_dnn_partition.nodes.conversions.wire import tensor_array
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.rclpy_gaps import DeferredResponse
from edge_dnn_partition.results.postprocess import Prediction
from edge_dnn_partition.srv import Infer

from .result_publisher import ResultPublisher, class_messages, detection_messages, way_of


class WaitingFrames(Protocol):
    """Where a call's inputs wait until a frame is made of them."""

    def ask(self, inputs: FrameInputs, call: object) -> bool:
        """Take a call's inputs; False if none are taken now."""

    def withdraw(self, call: object) -> bool:
        """Take a call's inputs back; False if they are no longer waiting."""

    def obstacle(self) -> str:
        """Return why inputs wait."""


@dataclass(eq=False)
class Call:
    """An open call of the service; its frame must be accepted by ``until``, on the steady clock."""

    inputs: FrameInputs
    until: float
    response: Infer.Response
    later: DeferredResponse = field(default_factory=DeferredResponse)
    entered: bool = False
    """Whether its inputs were found to be good, and wait for their turn or are under way."""


class InferService:
    """Turns calls into frames and the ends of frames into answers, exactly one for each call.

    :param node: a frame source, with its parameters.
    :param frames: takes the inputs; called while no lock is held, but for `WaitingFrames.withdraw`.
    :param results: finds what a result means.
    :param given: what a call must give.
    """

    def __init__(self, node: FleetNode, frames: WaitingFrames, results: ResultPublisher, given: GivenInputs) -> None:
        self._node, self._frames, self._results, self._given = node, frames, results, given
        self._lock = threading.RLock()
        """Guards the open calls."""
        self._open: set[Call] = set()
        self._closed = ''
        self._checks = ThreadPoolExecutor(1, 'infer')  # one thread, so that calls stay in their order
        node.serve(Infer, node.topics.infer, self._serve, qos.INFER)

    # Life -----------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take calls again."""
        self._closed = ''

    def pause(self, reason: str) -> None:
        """Take no more calls, and refuse those whose inputs wait; what is under way goes on."""
        with self._lock:
            self._closed = reason
            for call in list(self._open):
                if not call.entered or self._frames.withdraw(call):
                    self._refuse(call, reason)

    def close(self, reason: str) -> None:
        """Answer the calls that are left: no frame will end any more."""
        self.pause(reason)
        self._checks.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for call in list(self._open):
                if not call.response.success:
                    call.response.status, call.response.message = Infer.Response.LOST, f'the frame is lost: {reason}'
                self._answer(call)

    # Calls ----------------------------------------------------------------------------------------------------

    def _serve(self, request: Infer.Request, response: Infer.Response) -> DeferredResponse:
        if not 0 <= request.wait_seconds < math.inf:
            raise WireError(f'wait_seconds is {request.wait_seconds:g}; give seconds, 0 or more')
        call = Call(self._inputs_of(request), time.monotonic() + request.wait_seconds, response)
        most = self._node.params.whole('calls')
        with self._lock:
            if self._closed:
                raise UserError(self._closed)
            if len(self._open) >= most:
                raise UserError(f'busy: {len(self._open)} calls are open, the limit set by the parameter calls')
            self._open.add(call)
        # An image that cannot be decoded is refused before it keeps a device busy.
        work = self._checks.submit(check_inputs, call.inputs)
        work.add_done_callback(lambda done: self._checked(call, done))
        return call.later

    def _checked(self, call: Call, work: Future[Any]) -> None:
        """Let inputs wait for their turn, or refuse them; in the thread that checked them."""
        with self._lock:
            if call.later.sent:
                return
            if (error := work.exception()) is not None:
                self._node.refuse('infer', str(error))
                self._refuse(call, str(error))
                return
            call.entered = True
        if not self._frames.ask(call.inputs, call):
            self._refuse(call, self._closed or 'the frame source is being stopped; ask again when it is active')
        self.tick(time.monotonic())

    def tick(self, now: float) -> None:
        """Refuse the calls that have waited for as long as they asked for."""
        with self._lock:
            late = [call for call in self._open if now >= call.until]
        for call in late:
            if self._frames.withdraw(call):
                self._refuse(call, self._frames.obstacle())

    def _inputs_of(self, request: Infer.Request) -> FrameInputs:
        """Return the inputs of a call.

        :raises WireError: if one is missing, given twice, or does not fit the model.
        """
        pixels, compressed = len(request.image.data) > 0 or bool(request.image.encoding), len(request.compressed.data) > 0
        if pixels and compressed:
            raise WireError('two images: fill either image or compressed')
        if not (pixels or compressed or request.tensors):
            raise WireError('no image: fill either image or compressed, or tensors')
        image = from_image_message(request.image) if pixels else None
        if compressed:
            image = from_compressed_message(request.compressed)
        arrays = {tensor.name: tensor_array(tensor) for tensor in request.tensors}
        header = request.image.header if pixels else request.compressed.header
        if request.reset_state and not self._given.model.states:
            raise WireError('reset_state: the model carries no state, as far as inputs in the fleet file says')
        return FrameInputs(self._given.values(arrays, image), header, request.reset_state)

    # Answers --------------------------------------------------------------------------------------------------

    def finished(self, frame: Frame, result: Result) -> None:
        """Answer the call whose frame has ended; what the result means comes with it."""
        call: Call = frame.call
        response = call.response
        response.result, response.status = result, result.status
        if frame.status == DELIVERED:
            response.success = True
            response.message = f'frame {frame.frame_number}, {way_of(frame)}, {frame.latency_seconds * 1e3:.1f} ms'
            self._results.delivered(frame, lambda prediction, reason: self._on_prediction(call, prediction, reason))
            return
        if frame.status == EXPIRED:
            response.message = f'frame {frame.frame_number} has expired: no result within max_age, {frame.latency_seconds:.3g} s'
        elif frame.status == FAILED:
            response.message = f'frame {frame.frame_number} cannot be processed: {frame.reason}'
        else:
            response.message = f'frame {frame.frame_number} is lost: {frame.reason or "no device gave a result"}; see /diagnostics'
        self._answer(call)

    def _on_prediction(self, call: Call, prediction: Prediction | None, reason: str) -> None:
        response = call.response
        if prediction is None:
            response.message += f'; what it means is not known: {reason}'
        else:
            response.classes, response.detections = class_messages(prediction), detection_messages(prediction)
            if prediction.mask is not None:
                response.mask = image_message(prediction.mask, 'mono8', response.result.header)
        self._answer(call)

    def _refuse(self, call: Call, reason: str) -> None:
        call.response.message = reason
        self._answer(call)

    def _answer(self, call: Call) -> None:
        with self._lock:
            self._open.discard(call)
        call.later.send(call.response)

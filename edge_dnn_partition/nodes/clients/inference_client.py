# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet for a user's own node: ``await InferenceClient(node, fleet='robot').infer(array)``."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Header

from edge_dnn_partition.nodes.conversions.inference_messages import (
    Given,
    InferenceResult,
    InferenceTimeoutError,
    request_of,
    result_of,
)
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.srv import Infer

_LOOK_SECONDS: Final = 0.05
"""How often open calls are looked at: whether somebody serves them now, whether their time is over."""


@dataclass(eq=False)
class _Call:
    request: Infer.Request
    seconds: float
    until: float
    future: Future = field(default_factory=Future)
    sent: bool = False


class InferenceClient:
    """Sends images and tensors through a fleet and returns what its model says.

    Any number of calls may be open, from any thread. Its entities have a callback group of their own, so that ``await`` works in
    callbacks of the node's default group; the executor must be one that takes coroutines (``SingleThreadedExecutor``,
    ``MultiThreadedExecutor``).

    :param node: the user's own.
    :param fleet: the name in the fleet file.
    :raises UserError: if that is not a ROS name.
    """

    def __init__(self, node: Node, fleet: str) -> None:
        self._node, self._name = node, Topics(fleet).infer
        group = ReentrantCallbackGroup()
        self._client = node.create_client(Infer, self._name, qos_profile=qos.INFER, callback_group=group)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_LOOK_SECONDS, self._look, callback_group=group, clock=steady, autostart=False)
        self._lock, self._spinning = threading.Lock(), threading.Lock()
        self._open: set[_Call] = set()

    def close(self) -> None:
        """Take the client's part out of the node; calls that are open get no answer."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_client(self._client)

    async def infer(
        self, image: Given, *, encoding: str = '', header: Header | None = None, wait_seconds: float = 10.0,
        timeout: float = 60.0, reset_state: bool = False,
    ) -> InferenceResult:  # fmt: skip
        """Run one image, or the model's inputs by name, through the fleet, as a frame among the camera's.

        Awaited in a callback of the node, or in an asyncio task while another thread spins the node.

        :param image: uint8 ``[height, width]`` or ``[height, width, 3]`` RGB, the bytes of a JPEG or PNG, or a camera's message;
            for other models a mapping: ``infer({'image': pixels, 'state': [0.1, 0.2]})``.
        :param encoding: of an array, as in ``sensor_msgs/Image``, such as ``bgr8``; empty: ``mono8``, ``rgb8``, ``rgba8``.
        :param header: of the result on the topic ``result``; None: the message's, else an empty one.
        :param wait_seconds: how long the image may wait for a place among the frames under way; 0: not at all.
        :param timeout: seconds for all of it, until somebody serves the fleet included.
        :param reset_state: begin with the initial state, where the model carries one from frame to frame.
        :raises ValueError: if the image is none.
        :raises InferenceError: if there is no result; of a class and with a message that say why.
        """
        future = self.begin(
            image, encoding=encoding, header=header, wait_seconds=wait_seconds, timeout=timeout, reset_state=reset_state
        )
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            result: InferenceResult = await future
            return result
        answer: asyncio.Future[InferenceResult] = loop.create_future()
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(_hand_over, done, answer))
        return await answer

    def infer_and_wait(
        self, image: Given, *, encoding: str = '', header: Header | None = None, wait_seconds: float = 10.0,
        timeout: float = 60.0, reset_state: bool = False,
    ) -> InferenceResult:  # fmt: skip
        """Do the same and return when it is done: for a script, or a thread beside the one that spins the node.

        In a callback of the node it would wait for itself: use `infer` or `begin` there. See `infer`.
        """
        future = self.begin(
            image, encoding=encoding, header=header, wait_seconds=wait_seconds, timeout=timeout, reset_state=reset_state
        )
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        with self._spinning:
            executor = self._node.executor
            if executor is None or self._node not in executor.get_nodes():  # nobody spins it
                self._spin_until(future)
        if not done.wait(timeout + 1.0):
            raise InferenceTimeoutError(
                f'the node is not being spun, so no answer of {self._name} can arrive; in a callback use `await client.infer(…)`'
            )
        result: InferenceResult = future.result()
        return result

    def _spin_until(self, future: Future) -> None:
        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        try:
            executor.spin_until_future_complete(future)
        finally:
            self._node.executor = None
            executor.shutdown()

    def begin(
        self, image: Given, *, encoding: str = '', header: Header | None = None, wait_seconds: float = 10.0,
        timeout: float = 60.0, reset_state: bool = False,
    ) -> Future:  # fmt: skip
        """Do the same and return at once: a future of the `InferenceResult`, for ``add_done_callback``. See `infer`."""
        request = request_of(image, encoding, header, wait_seconds, reset_state=reset_state)
        call = _Call(request, timeout, time.monotonic() + timeout)
        with self._lock:
            self._open.add(call)
            self._timer.reset()
        if (executor := self._node.executor) is not None:
            executor.wake()  # a wait that has begun does not know of the timer
        self._send(call)
        return call.future

    def _send(self, call: _Call) -> None:
        with self._lock:
            if call.sent or not self._client.service_is_ready():
                return
            call.sent = True
        self._client.call_async(call.request).add_done_callback(lambda answer: self._answered(call, answer))

    def _look(self) -> None:
        """Send what nobody served before, and end what has had its time."""
        with self._lock:
            calls = list(self._open)
            if not calls:
                self._timer.cancel()
        now = time.monotonic()
        for call in calls:
            self._send(call)
            if now >= call.until and self._close(call):
                what = (
                    f'no answer of {self._name} within {call.seconds:g} s'
                    if call.sent
                    else f"nobody serves {self._name}; is the fleet running, is that its name, and is ROS_DOMAIN_ID the fleet's?"
                )
                call.future.set_exception(InferenceTimeoutError(what))

    def _answered(self, call: _Call, answer: Any) -> None:
        if self._close(call):
            try:
                call.future.set_result(result_of(answer.result()))
            except Exception as error:  # noqa: BLE001
                call.future.set_exception(error)

    def _close(self, call: _Call) -> bool:
        """Return whether a call was open until now."""
        with self._lock:
            was_open = call in self._open
            self._open.discard(call)
        return was_open


def _hand_over(done: Future, answer: asyncio.Future[InferenceResult]) -> None:
    """Give a result or an error to an asyncio task that still waits for it; in the loop's thread."""
    if answer.done():
        return
    if (error := done.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())

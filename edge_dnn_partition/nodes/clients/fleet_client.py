# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A client of a running fleet, for the command line: it records what the fleet publishes, and sets a few things."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rclpy
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.deployment.fleet_key import fleet_key
from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.monitoring.missed_results import MissedResults
from edge_dnn_partition.msg import Decision, Emulation, FleetState, FrameReport, Result, SourceStatus
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.camera_messages import compressed_message, image_message
from edge_dnn_partition.nodes.conversions.parameter_messages import ParameterGiven, parameter_message
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for
from edge_dnn_partition.nodes.conversions.wire import hop_time, stage_time, tensor_array
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.process import Spinner
from edge_dnn_partition.nodes.core.reading import check_figures
from edge_dnn_partition.nodes.core.seals import Seals, refuse_by
from edge_dnn_partition.nodes.core.ticks import Ticks
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.nodes.core.wide import wide_area
from edge_dnn_partition.nodes.transport.blob_server import BlobServer
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.plan import Plan, supersedes
from edge_dnn_partition.transport.blobs import Find
from edge_dnn_partition.transport.timing import HopTime, StageTime

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]
_ANSWER_SECONDS = 2.0
"""Without an answer for so long a parameter is set again."""


@dataclass(frozen=True)
class FrameRecord:
    """One frame's end, from its result message; ``at`` is this process's steady clock."""

    at: float
    stamp_ns: int
    frame_number: int
    plan_version: int
    delivered: bool
    status: int
    reason: str
    latency_seconds: float
    attempt: int
    outputs: Mapping[str, Array]
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()

    @property
    def busy_seconds(self) -> float:
        """What its stages took, all together."""
        return sum(stage.decode_seconds + stage.run_seconds for stage in self.stages)

    @property
    def queue_seconds(self) -> float:
        """What it waited for its stages, all together."""
        return sum(stage.queue_seconds for stage in self.stages)


@dataclass
class FleetNews:
    """What the fleet has published so far."""

    plans: list[tuple[float, Plan]] = field(default_factory=list)
    frames: list[FrameRecord] = field(default_factory=list)
    missed: MissedResults = field(default_factory=MissedResults)
    """Results that this process did not receive, or received again."""
    state: FleetState | None = None
    status: SourceStatus | None = None
    report: FrameReport | None = None
    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=200))
    """The scheduler's explanations, the last one last."""
    shadows: list[FrameReport] = field(default_factory=list)
    """Reports of shadow frames, which have no results."""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=200))


class FleetClient:
    """Listens to one fleet from a thread of its own; leave its ``with`` block to end it.

    :param keep_outputs: keep the results' tensors, to compare them.
    """

    def __init__(self, fleet: Fleet, *, name: str = 'fleet_client', keep_outputs: bool = False) -> None:
        self.fleet = fleet
        self.topics = Topics(fleet.fleet, fleet.source)
        self.news = FleetNews()
        self.lock = threading.Lock()
        self._keep_outputs = keep_outputs
        self._name = name
        self._parameters: dict[str, Client] = {}
        self._slowdowns: dict[str, float] = {}
        self._links: dict[tuple[str, str], tuple[float, float]] = {}

    def __enter__(self) -> Self:
        """Join the fleet's network, in the process's context, or one of its own if another client has that."""
        key = fleet_key(self.fleet)
        self._context = rclpy.Context() if rclpy.ok() else None
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        node = self.node = rclpy.create_node(self._name, namespace=f'/{self.fleet.fleet}', context=self._context)
        topics = self.topics
        refuse = refuse_by(node.get_logger())
        ticks = Ticks()
        wide = wide_area(self.fleet, '', ticks.soon, refuse)
        seals = self._seals = Seals(node, topics, key, refuse, wide)
        seals.subscribe(PlanMessage, topics.plan, self._plan, qos.PLAN)
        seals.subscribe(FleetState, topics.state, self._state, qos.STATE)
        seals.subscribe(Decision, topics.decision, self._decision, qos.DECISION)
        seals.subscribe(SourceStatus, topics.source_status, self._status, qos.STATE)
        seals.subscribe(FrameReport, topics.frame_report, self._report, qos.RESULT)
        seals.subscribe(Result, topics.result, self._result, qos.RESULT)
        self._emulation = seals.advertise(Emulation, topics.emulation, qos.EMULATION)
        self._spinner = Spinner(node, failed=lambda _: None, ticks=ticks)
        self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it."""
        self._spinner.ask_to_end()
        self._spinner.join(2.0)
        self._spinner.executor.shutdown(timeout_sec=0.5)
        self._seals.close()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def hand_out(self, find: Find) -> None:
        """Answer who asks for files by their hash."""
        BlobServer(self._seals, self.topics, self._name, find)

    # Subscriptions --------------------------------------------------------------------------------------------------

    def _plan(self, message: PlanMessage) -> None:
        if message.status != PlanMessage.ACTIVE:
            return
        plan = plan_for(message, self.fleet)
        with self.lock:
            if not self.news.plans or supersedes(plan.version, self.news.plans[-1][1].version):
                self.news.plans.append((time.monotonic(), plan))

    def _state(self, message: FleetState) -> None:
        with self.lock:
            self.news.state = message

    def _decision(self, message: Decision) -> None:
        with self.lock:
            self.news.decisions.append(message)

    def _status(self, message: SourceStatus) -> None:
        with self.lock:
            self.news.status = message

    def _report(self, message: FrameReport) -> None:
        with self.lock:
            if message.shadow:
                self.news.shadows.append(message)
            else:
                self.news.report = message

    def _result(self, message: Result) -> None:
        with self.lock:
            new = self.news.missed.is_new(message)
            self.news.missed.received(message)
        if not new:
            return
        outputs = {tensor.name: tensor_array(tensor) for tensor in message.outputs} if self._keep_outputs else {}
        stamp = message.header.stamp
        record = FrameRecord(
            time.monotonic(), stamp.sec * 1_000_000_000 + stamp.nanosec, message.frame_number, message.plan_version,
            message.status == Result.OK, message.status, message.reason, message.latency_seconds, message.attempt, outputs,
            tuple(map(stage_time, message.stages)), tuple(map(hop_time, message.hops)),
        )  # fmt: skip
        with self.lock:
            self.news.frames.append(record)

    @property
    def plan(self) -> Plan | None:
        """The plan in force."""
        with self.lock:
            return self.news.plans[-1][1] if self.news.plans else None

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until a condition holds.

        :raises UserError: if it does not in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise UserError(f"{what} did not arrive within {seconds:g} s; see the nodes' log")
            time.sleep(0.02)

    # Telling --------------------------------------------------------------------------------------------------

    def camera(self, topic: str, *, compressed: bool = True) -> Callable[[CameraImage], int]:
        """Return a function that publishes an image as a camera would, and returns its stamp in nanoseconds."""
        kind = CompressedImage if compressed else Image
        publisher = self.node.create_publisher(kind, topic, 2)

        def publish(image: CameraImage) -> int:
            stamp = self.node.get_clock().now()
            header = Header(stamp=stamp.to_msg(), frame_id='camera')
            message_of = compressed_message if compressed else image_message
            publisher.publish(message_of(image.data, image.encoding, header))
            return int(stamp.nanoseconds)

        return publish

    def emulate(self, slowdowns: Mapping[str, float], links: Mapping[tuple[str, str], tuple[float, float]]) -> None:
        """Set how slow devices are, and rate (bytes per second) and latency (seconds) of links, both directions.

        What was set before is published again: of two messages in a row a reader may get the last one only.

        :raises UserError: for figures that all devices would ignore.
        """
        factors = self._slowdowns | dict(slowdowns)
        pairs = self._links | {(min(pair), max(pair)): values for pair, values in links.items()}
        message = Emulation(devices=list(factors), slowdowns=list(factors.values()))
        for (a, b), (rate, latency) in pairs.items():
            for sender, receiver in ((a, b), (b, a)):
                message.link_senders.append(sender)
                message.link_receivers.append(receiver)
                message.link_bytes_per_second.append(rate)
                message.link_latency_seconds.append(latency)
                message.link_channels.append('')
        try:
            check_figures(message)
        except WireError as error:
            raise UserError(
                f'{error}: give slowdowns of 0.001 to 10000, rates of 1 to 1e12 bytes per second (1: next to nothing gets through) '
                'and latencies of up to 60 s'
            ) from None
        self._slowdowns, self._links = factors, pairs
        self._emulation.publish(message)

    def call(self, service_type: Any, name: str, request: Any = None, *, seconds: float = 60.0) -> Any:
        """Call one of the fleet's services and return its response.

        :param request: None: an empty one.
        :raises UserError: if nobody answers.
        """
        client = self.node.create_client(service_type, name)
        try:
            if not client.wait_for_service(timeout_sec=10.0):
                raise UserError(f'nobody serves {name}; start the fleet')
            future = client.call_async(request or service_type.Request())
            self.wait_for(future.done, seconds, f'an answer of {name}')
            return future.result()
        finally:
            self.node.destroy_client(client)

    def follow(self, label: str, layers: int, seconds: float) -> Plan:
        """Make the fleet follow a plan, such as ``pi:pre-3 cloud:3-end``, and wait until it is in force.

        The frame source may get it a little later.

        :param layers: the number of the model's layers.
        :raises UserError: if it is refused, or does not come.
        """
        self.set_scheduler({'policy': 'fixed', 'fixed_plan': label})
        wanted = label.replace('end', str(layers))

        def there() -> bool:
            return self.plan is not None and self.plan.label() == wanted

        self.wait_for(there, seconds, f'the plan {label}')
        assert self.plan is not None
        return self.plan

    def set_scheduler(self, parameters: Mapping[str, ParameterGiven]) -> None:
        """Set parameters of the scheduler, as ``ros2 param set`` does.

        :raises UserError: with the reason if one is refused, or nobody answers.
        """
        self.set_parameters('scheduler', parameters)

    def set_parameters(self, node: str, parameters: Mapping[str, ParameterGiven]) -> None:
        """Set parameters of one of the fleet's nodes, such as ``pi/worker``.

        :raises UserError: with the reason if one is refused, or nobody answers.
        """
        client = self._parameters.get(node)
        if client is None:
            client = self.node.create_client(SetParameters, f'/{self.fleet.fleet}/{node}/set_parameters')
            self._parameters[node] = client
        if not client.wait_for_service(timeout_sec=10.0):
            raise UserError(f'the {node} does not answer; check that it is running')
        request = SetParameters.Request(parameters=[parameter_message(name, value) for name, value in parameters.items()])
        # A killed node still counts as discovered for a while, and the one in its place may not be discovered yet.
        calls = [client.call_async(request)]
        again = time.monotonic() + _ANSWER_SECONDS

        def answered() -> bool:
            nonlocal again
            if time.monotonic() > again:
                calls.append(client.call_async(request))
                again = time.monotonic() + _ANSWER_SECONDS
            return any(call.done() for call in calls)

        self.wait_for(answered, 10.0, f"the {node}'s answer")
        for result in next(call for call in calls if call.done()).result().results:
            if not result.successful:
                raise UserError(result.reason)

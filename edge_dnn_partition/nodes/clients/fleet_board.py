# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Writes what one fleet publishes on its `Board`, and asks its scheduler for what a page wants changed."""

from __future__ import annotations

import math
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rcl_interfaces.srv import SetParametersAtomically
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

from edge_dnn_partition.dashboard.board import Board, FrameParts, board_time
from edge_dnn_partition.dashboard.power import MeanPower
from edge_dnn_partition.msg import Decision, DeviceEnergy, FleetState, FrameReport, Result, SourceStatus, Telemetry
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.parameter_messages import parameter_message
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.topics import DIAGNOSTICS
from edge_dnn_partition.srv import PinPlan, ProfileAgain

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.core.entities import EntityNode
    from edge_dnn_partition.nodes.core.seals import Seals

try:
    from diagnostic_msgs.msg import DiagnosticArray
except ImportError:
    DiagnosticArray = None

_MOST_DEVICES: Final = 1000
_LOOK_SECONDS: Final = 1.0
_DEVICE_FIELDS: Final = (
    'alive', 'profiled', 'speed_factor', 'cpu_percent', 'memory_available_bytes', 'temperature_celsius', 'watts', 'energy_kind',
    'derating',
)  # fmt: skip
_HOST_FIELDS: Final = ('memory_total_bytes', 'gpu_temperature_celsius', 'process_cpu_percent', 'process_resident_bytes')
_LINK_FIELDS: Final = ('sender', 'receiver', 'measured', 'bytes_per_second', 'latency_seconds')
_DECISION_FIELDS: Final = ('version', 'moved', 'text', 'objective', 'value', 'unit', 'next_best', 'next_best_value')
_COUNTS: Final = (
    'offered', 'accepted', 'delivered', 'expired', 'lost', 'failed', 'repeated', 'dropped', 'in_flight', 'hedged', 'duplicated',
    'late', 'last_failure',
)  # fmt: skip
_MISSED: Final = {Result.LOST: 'lost', Result.EXPIRED: 'expired', Result.FAILED: 'failed'}


class FleetBoard:
    """One fleet's entities in a node; they go with the node's.

    :param node: the dashboard.
    :param seals: the fleet's: they check what comes.
    :param board: that of the fleet whose topics ``seals`` has.
    :param controls: make clients of its scheduler's services.
    """

    def __init__(self, node: EntityNode, seals: Seals, board: Board, *, controls: bool) -> None:
        self._node, self._board = node, board
        topics = self._topics = seals.topics
        self._power: dict[str, MeanPower] = {}
        self._hosts: dict[str, dict[str, Any]] = {}
        self._images: Any = None
        node.subscribe(PlanMessage, topics.plan, self._plan, qos.PLAN, seals=seals)
        node.subscribe(FleetState, topics.state, self._state, qos.STATE, seals=seals)
        node.subscribe(Telemetry, topics.telemetry, self._telemetry, qos.TELEMETRY, seals=seals)
        node.subscribe(DeviceEnergy, topics.energy, self._energy, qos.TELEMETRY, seals=seals)
        node.subscribe(Decision, topics.decision, self._decision, qos.DECISION, seals=seals)
        node.subscribe(SourceStatus, topics.source_status, self._status, qos.STATE, seals=seals)
        node.subscribe(FrameReport, topics.frame_report, self._report, qos.RESULT, seals=seals)
        if DiagnosticArray is not None:
            node.subscribe(DiagnosticArray, DIAGNOSTICS, self._diagnostics, qos.DIAGNOSTICS, foreign=True)
        node.every(_LOOK_SECONDS, self._look)
        self._clients: dict[str, Any] = {}
        if controls:
            self._clients = {
                'objective': node.client(SetParametersAtomically, f'/{topics.fleet}/scheduler/set_parameters_atomically'),
                'pin': node.client(PinPlan, topics.pin_plan), 'free': node.client(Trigger, topics.free_plan),
                'replan': node.client(Trigger, topics.replan), 'profile': node.client(ProfileAgain, topics.profile_again()),
            }  # fmt: skip

    # What the fleet says --------------------------------------------------------------------------------------

    def _plan(self, message: PlanMessage) -> None:
        if message.status == PlanMessage.ACTIVE:
            self._board.plan(board_time(), plan_for(message, None))

    def _state(self, message: FleetState) -> None:
        now, devices = board_time(), []
        for device in message.devices:
            look = {'name': device.device, **{name: getattr(device, name) for name in _DEVICE_FIELDS}}
            look |= self._hosts.get(device.device, {})
            power = self._power.get(device.device)
            if math.isnan(device.watts) and power is not None:
                look['watts'], look['energy_kind'] = power.watts, power.kind
            devices.append(look)
        names = {device.device for device in message.devices}
        for known in (self._hosts, self._power):
            for gone in known.keys() - names:
                del known[gone]
        links = ({name: getattr(link, name) for name in _LINK_FIELDS} for link in message.links)
        self._board.state(now, devices, links)
        self._board.say(now, message.decision)

    def _telemetry(self, message: Telemetry) -> None:
        if message.device in self._hosts or len(self._hosts) < _MOST_DEVICES:
            throttling = [flag for flag in message.throttling if not flag.endswith('_since_boot')]
            look = {name: getattr(message, name) for name in _HOST_FIELDS}
            self._hosts[message.device] = {**look, 'throttling': throttling} if message.throttling_known else look

    def _energy(self, message: DeviceEnergy) -> None:
        if message.device not in self._power and len(self._power) >= _MOST_DEVICES:
            return
        power = self._power.setdefault(message.device, MeanPower())
        power.record(message.incarnation, message.kind, message.covered_seconds, message.total_joules)
        if message.kind:
            self._board.energy(message.device, message.kind, message.incarnation, message.total_joules)

    def _decision(self, message: Decision) -> None:
        self._board.explain(board_time(), {name: getattr(message, name) for name in _DECISION_FIELDS})

    def _status(self, message: SourceStatus) -> None:
        self._board.counters({name: getattr(message, name) for name in _COUNTS})

    def _report(self, message: FrameReport) -> None:
        if message.shadow:
            return
        if message.status != Result.OK:
            self._board.miss(board_time(), _MISSED.get(message.status, 'failed'), message.reason)
            return
        compute = sum(stage.decode_seconds + stage.run_seconds for stage in message.stages)
        waiting = sum(stage.queue_seconds for stage in message.stages)
        self._board.frame(
            board_time(), message.plan_version, FrameParts(message.latency_seconds, compute, waiting),
            message.energy_joules, measured=message.energy_measured,
        )  # fmt: skip
        for hop in message.hops:
            if hop.sender != hop.receiver:
                self._board.hop(hop.sender, hop.receiver, hop.size)

    def _diagnostics(self, message: Any) -> None:
        """Take the scheduler's statuses out of everybody's."""
        begin, found = f'{self._topics.fleet}/scheduler: ', []
        for status in message.status:
            if not status.name.startswith(begin):
                continue
            values = {pair.key: pair.value for pair in status.values}
            refused = values.get('refused messages', '')
            found.append({
                'subject': status.name.removeprefix(begin).removeprefix('device '), 'level': int.from_bytes(status.level, 'big'),
                'message': status.message, 'refused': int(refused) if refused.isdecimal() else None,
            })  # fmt: skip
        if found:
            self._board.health(board_time(), found)

    # The image ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Subscribe to the annotated image while a page looks at it: it is only made while somebody does."""
        wanted, topics = self._board.wants_image(board_time()), self._topics
        if wanted and self._images is None:
            self._images = self._node.subscribe(
                CompressedImage, topics.annotated_compressed, self._image, qos.ANNOTATED, foreign=True
            )
        elif not wanted and self._images is not None:
            self._node.unsubscribe(self._images)
            self._images = None

    def _image(self, message: CompressedImage) -> None:
        self._board.image(bytes(message.data))

    # What a page asks for -------------------------------------------------------------------------------------

    def act(self, what: str, value: str) -> Future[tuple[bool, str]]:
        """Ask the scheduler for one of `ACTIONS`; called from the server's thread."""
        answer: Future[tuple[bool, str]] = Future()
        client = self._clients[what]
        if not client.service_is_ready():
            answer.set_result((False, f'no scheduler of {self._topics.fleet} answers here; services do not leave its site'))
            return answer
        request: Any = client.srv_type.Request()
        if what == 'objective':
            request.parameters = [parameter_message('objective', value)]
        elif what == 'pin':
            request.plan = value
        elif what == 'profile':
            request.device = value
        client.call_async(request).add_done_callback(partial(_pass_on, answer))
        return answer


def _pass_on(answer: Future[tuple[bool, str]], future: Any) -> None:
    response = future.result()
    if answer.cancelled():
        return
    if hasattr(response, 'result'):
        answer.set_result((response.result.successful, response.result.reason or 'done'))
    else:
        answer.set_result((response.success, response.message))

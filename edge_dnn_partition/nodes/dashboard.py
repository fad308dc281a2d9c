# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The node `dashboard`: subscribes to what a fleet publishes, and serves it as a web page."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from rcl_interfaces.srv import SetParametersAtomically

from edge_dnn_partition.dashboard.board import Board, FrameParts, MeanPower, board_time
from edge_dnn_partition.dashboard.serve import new_server
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.fleet_key import read_token
from edge_dnn_partition.deployment.node_parameters import DASHBOARD
from edge_dnn_partition.msg import Decision, DeviceEnergy, FleetState, FrameReport, Result, SourceStatus
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.parameter_messages import parameter_message
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode

if TYPE_CHECKING:
    from edge_dnn_partition.dashboard.server import DashboardServer
_MOST_DEVICES: Final = 1000
_DEVICE_FIELDS: Final = (
    'alive', 'profiled', 'speed_factor', 'cpu_percent', 'temperature_celsius', 'watts', 'energy_kind', 'derating',
)  # fmt: skip
_LINK_FIELDS: Final = ('sender', 'receiver', 'measured', 'bytes_per_second', 'latency_seconds')
_DECISION_FIELDS: Final = ('version', 'moved', 'text', 'objective', 'value', 'unit', 'next_best', 'next_best_value')
_COUNTS: Final = ('accepted', 'delivered', 'expired', 'lost', 'failed', 'repeated', 'dropped', 'in_flight', 'hedged')


class Dashboard(FleetNode):
    """One for a fleet, or none; its namespace is ``/<fleet>``. Listens only, unless it has a token."""

    def __init__(self) -> None:
        self._server: DashboardServer | None = None
        super().__init__('dashboard', DASHBOARD, per_device=False)

    def setup(self) -> None:
        """Make the board and subscribe."""
        layers: tuple[str, ...] = ()
        emulated = False
        if self.params.text('fleet_file'):
            fleet = self.load_fleet()
            emulated = fleet.emulated
            if fleet.model is not None:
                layers = tuple(layer.name for layer in start_checks.model_of(fleet).layers)
        self._power: dict[str, MeanPower] = {}
        self._token = read_token(self.params.text('token_file'))
        self._board = Board(self.topics.fleet, layers=layers, emulated=emulated, controls=bool(self._token))
        self._set = self.create_client(
            SetParametersAtomically, f'/{self.topics.fleet}/scheduler/set_parameters_atomically'
        )
        self._entities.append((self.destroy_client, self._set))
        self.subscribe(PlanMessage, self.topics.plan, self._plan, qos.PLAN)
        self.subscribe(FleetState, self.topics.state, self._state, qos.STATE)
        self.subscribe(DeviceEnergy, self.topics.energy, self._energy, qos.TELEMETRY)
        self.subscribe(Decision, self.topics.decision, self._decision, qos.DECISION)
        self.subscribe(SourceStatus, self.topics.source_status, self._status, qos.STATE)
        self.subscribe(FrameReport, self.topics.frame_report, self._report, qos.RESULT)

    def start(self) -> None:
        """Serve the page."""
        server = new_server(
            self._board, host=self.params.text('host'), port=self.params.whole('port'), token=self._token,
            act=self._act if self._token else None,
        )  # fmt: skip
        address = server.start()
        self._server = server
        self.get_logger().info(f'the dashboard is at {address}')

    def stop(self) -> None:
        """Stop serving the page."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _plan(self, message: PlanMessage) -> None:
        if message.status == PlanMessage.ACTIVE:
            self._board.plan(board_time(), plan_for(message, None))

    def _state(self, message: FleetState) -> None:
        now = board_time()
        devices = []
        for device in message.devices:
            look = {'name': device.device, **{name: getattr(device, name) for name in _DEVICE_FIELDS}}
            power = self._power.get(device.device)
            if math.isnan(device.watts) and power is not None:
                look['watts'], look['energy_kind'] = power.watts, power.kind
            devices.append(look)
        links = ({name: getattr(link, name) for name in _LINK_FIELDS} for link in message.links)
        self._board.state(now, devices, links)
        self._board.say(now, message.decision)

    def _energy(self, message: DeviceEnergy) -> None:
        if message.device not in self._power and len(self._power) >= _MOST_DEVICES:
            return
        power = self._power.setdefault(message.device, MeanPower())
        power.record(message.incarnation, message.kind, message.covered_seconds, message.total_joules)

    def _decision(self, message: Decision) -> None:
        self._board.explain(board_time(), {name: getattr(message, name) for name in _DECISION_FIELDS})

    def _status(self, message: SourceStatus) -> None:
        self._board.counters({name: getattr(message, name) for name in _COUNTS})

    def _report(self, message: FrameReport) -> None:
        if message.shadow or message.status != Result.OK:
            return
        compute = sum(stage.decode_seconds + stage.run_seconds for stage in message.stages)
        waiting = sum(stage.queue_seconds for stage in message.stages)
        self._board.frame(
            board_time(), message.plan_version, FrameParts(message.latency_seconds, compute, waiting),
            message.energy_joules, measured=message.energy_measured,
        )  # fmt: skip

    def _act(self, what: str, value: str) -> Future[str]:
        """Set the scheduler's parameters, all or none; called from the server's thread."""
        if what == 'objective':
            values = {'objective': value}
        elif value:
            values = {'fixed_plan': value, 'policy': 'fixed'}
        else:
            values = {'policy': 'auto'}
        answer: Future[str] = Future()
        request = SetParametersAtomically.Request(parameters=[parameter_message(*pair) for pair in values.items()])

        def done(future: Any) -> None:
            result = future.result().result
            if not answer.cancelled():
                answer.set_result('' if result.successful else result.reason)

        self._set.call_async(request).add_done_callback(done)
        return answer


NODE: Final = Dashboard

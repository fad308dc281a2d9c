# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The node `dashboard`: subscribes to what fleets publish, and serves it as a web page and as metrics."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from edge_dnn_partition.dashboard.board import Board
from edge_dnn_partition.dashboard.serve import new_server
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.fleet_key import read_token
from edge_dnn_partition.deployment.node_parameters import DASHBOARD
from edge_dnn_partition.nodes.clients.fleet_board import FleetBoard
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.seals import Seals
from edge_dnn_partition.nodes.core.topics import Topics

if TYPE_CHECKING:
    from edge_dnn_partition.dashboard.server import DashboardServer
    from edge_dnn_partition.planning.fleet.fleet import Fleet


class Dashboard(FleetNode):
    """One for a fleet or several, or none; its namespace is ``/<fleet>``, the first one's. Listens only, unless it has a token."""

    def __init__(self) -> None:
        self._server: DashboardServer | None = None
        super().__init__('dashboard', DASHBOARD, per_device=False)

    def setup(self) -> None:
        """Make the boards and subscribe."""
        self._token = read_token(self.params.text('token_file'))
        own = self._own = self.load_fleet() if self.params.text('fleet_file') else None
        self._more: list[Seals] = []
        self._boards: list[Board] = []
        self._fleets: dict[str, FleetBoard] = {}
        self._add(self.seals, own)
        for given in filter(None, (name.strip() for name in self.params.text('more_fleets').split(','))):
            fleet = self._further(given)
            topics = Topics(given.strip('/') if fleet is None else fleet.fleet)
            if topics.fleet not in self._fleets:
                seals = Seals(self, topics, None, self.refuse) if fleet is None else self.seals_of(fleet, topics)
                self._more.append(seals)
                self._add(seals, fleet)

    def _further(self, given: str) -> Fleet | None:
        """Return a fleet by its file, or by its name, which is then as the first one's file says; None if there is none."""
        if given.endswith(('.yaml', '.yml')):
            file, name = given, ''
        elif self._own is not None:
            file, name = self.params.text('fleet_file'), given.strip('/')
        else:
            return None
        from edge_dnn_partition.planning.fleet.fleet import load_fleet

        return load_fleet(file, name)

    def _add(self, seals: Seals, fleet: Fleet | None) -> None:
        known = self._boards and fleet is not None and self._own is not None and fleet.model == self._own.model
        layers = self._boards[0].layers if known else _layers(fleet)
        board = Board(
            seals.topics.fleet, layers=layers, emulated=fleet is not None and fleet.emulated, controls=bool(self._token)
        )
        self._boards.append(board)
        self._fleets[board.title] = FleetBoard(self, seals, board, controls=bool(self._token))

    def start(self) -> None:
        """Serve the page."""
        server = new_server(
            *self._boards, host=self.params.text('host'), port=self.params.whole('port'), token=self._token,
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

    def teardown(self) -> None:
        """Let the other fleets' seals go."""
        for seals in self._more:
            seals.close()

    def _act(self, fleet: str, what: str, value: str) -> Future[tuple[bool, str]]:
        return self._fleets[fleet].act(what, value)


def _layers(fleet: Fleet | None) -> tuple[str, ...]:
    known = fleet is not None and fleet.model is not None
    return tuple(layer.name for layer in start_checks.model_of(fleet).layers) if fleet is not None and known else ()


NODE: Final = Dashboard

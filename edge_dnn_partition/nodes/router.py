# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The node `router`: what the sites of a fleet connect to, on a device that all of them reach."""

from __future__ import annotations

from typing import Final

from edge_dnn_partition.deployment.node_parameters import ROUTER
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.transport.zenoh_router import RunningRouter, router_settings


class Router(FleetNode):
    """Routes while it is active. It needs nothing of ROS but its lifecycle, and no key: what it passes on is sealed."""

    def __init__(self) -> None:
        self._router: RunningRouter | None = None
        super().__init__('router', ROUTER)

    def setup(self) -> None:
        """Read the fleet file."""
        path = self.params.text('fleet_file')
        names = dict.fromkeys([self.topics.fleet, *self.params['fleets']])
        self._fleets = [load_fleet(path, name) for name in names]
        self._settings = router_settings(self._fleets)

    def start(self) -> None:
        """Listen."""
        import zenoh

        router = RunningRouter(self._fleets, lambda line: self.ticks.soon(lambda: self.get_logger().info(line)))
        try:
            router.open()
        except zenoh.ZError as error:
            (where,) = self._settings['listen/endpoints']
            raise UserError(f'cannot listen at {where}; does a router run there already? Zenoh says: {error}') from error
        self._router = router

    def stop(self) -> None:
        """Listen no more."""
        router, self._router = self._router, None
        if router is not None:
            router.close()


NODE: Final = Router

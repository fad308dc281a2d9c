# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's side of `control.state.derating`: how much batteries and throttling count, and what is said of them."""

from __future__ import annotations

import math

from edge_dnn_partition.control.scheduling.fleet_estimator import FleetEstimator
from edge_dnn_partition.control.state.derating import DeratingSettings
from edge_dnn_partition.msg import DeviceEnergy, DeviceState
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode


class DeratingController:
    """What the fleet's devices tell of their power.

    :param node: the scheduler.
    :param hearing: takes it in.
    """

    def __init__(self, node: FleetNode, fleet_estimator: FleetEstimator) -> None:
        self._node, self._fleet_estimator = node, fleet_estimator
        self._energy: dict[str, DeviceEnergy] = {}
        node.subscribe(DeviceEnergy, node.topics.energy, self._hear, qos.TELEMETRY)

    @property
    def settings(self) -> DeratingSettings:
        """What the parameters say; a fixed plan is not asked whom to spare."""
        params = self._node.params
        fixed = params.text('policy') == 'fixed'
        return DeratingSettings(
            battery_weight=params.number('battery_weight'),
            mains_weight=params.number('mains_weight'),
            battery_limit=0.0 if fixed else params.number('battery_limit'),
            throttling=params.flag('spare_throttled') and not fixed,
            most_slowdown=params.number('most_slowdown'),
        )

    @property
    def words(self) -> str:
        """Who is spared and why, for a plan's reason; empty if nobody."""
        return ''.join(f'; {reason}' for reason in self._fleet_estimator.derating.reasons.values())

    def reason(self, device: str) -> str:
        """Why a device is spared; empty: it is not."""
        return self._fleet_estimator.derating.reasons.get(device, '')

    def describe(self, state: DeviceState) -> None:
        """Write a device's power and derating into the state of the fleet."""
        energy = self._energy.get(state.device)
        state.watts = energy.watts if energy is not None else math.nan
        state.energy_kind = energy.kind if energy is not None else ''
        state.derating = self.reason(state.device)

    def _hear(self, message: DeviceEnergy) -> None:
        self._fleet_estimator.energy(message)
        self._energy[message.device] = message

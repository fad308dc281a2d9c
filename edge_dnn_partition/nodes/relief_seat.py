# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's side of `planning.relief`: hears the devices' state, and hands a problem on as that makes it."""

from __future__ import annotations

import math

from edge_dnn_partition.msg import DeviceEnergy, DeviceState, Telemetry
from edge_dnn_partition.planning.fleet import Fleet
from edge_dnn_partition.planning.problem import Problem
from edge_dnn_partition.planning.relief import DeviceHealth, Relief, ReliefSettings

from . import qos
from .base import FleetNode
from .parameters import Parameter

PARAMETERS = (
    Parameter('battery_weight', 1.0, "an empty battery's joule counts 1 + this times a full one's", 0.0, 100.0),
    Parameter('mains_weight', 1.0, "what a joule from the mains counts, times the fleet file's weight", 0.0, 100.0),
    Parameter('battery_limit', 20.0, 'percent of charge below which a device on battery is spared; 0: never', 0.0, 100.0),
    Parameter('spare_throttled', True, 'spare a device that throttles, until 30 s after'),
    Parameter(
        'most_slowdown', 2.0, 'how many times as long a frame may take for a device to be spared; below 1: never', 0.0, 100.0
    ),
)


class ReliefSeat:
    """What the fleet's devices tell of their power.

    :param node: the scheduler.
    :param fleet: with the power figures that the file gives.
    """

    def __init__(self, node: FleetNode, fleet: Fleet) -> None:
        self._node, self._relief = node, Relief()
        self._health = {name: DeviceHealth() for name in fleet.devices}
        self._given = {name: frozenset(device.power.model_fields_set) for name, device in fleet.devices.items()}
        self._energy: dict[str, DeviceEnergy] = {}
        node.subscribe(DeviceEnergy, node.topics.energy, self._hear, qos.TELEMETRY)

    def telemetry(self, message: Telemetry) -> None:
        """Take in a host's battery and throttling."""
        health = self._health.get(message.device)
        if health is not None:
            health.battery_percent = message.battery_percent
            health.discharge_watts = message.battery_discharge_watts
            health.throttling = tuple(message.throttling)

    def problem(self, problem: Problem, boundaries: tuple[int, ...], now: float) -> Problem:
        """Return a problem under the devices' state; a fixed plan is not asked whom to spare.

        :param boundaries: where the problem's segments begin and end; joules of other segments do not count.
        """
        params = self._node.params
        for name, told in self._energy.items():
            self._health[name].node_joules = tuple(told.node_joules) if tuple(told.boundaries) == boundaries else ()
        fixed = params.text('policy') == 'fixed'
        settings = ReliefSettings(
            battery_weight=params.number('battery_weight'),
            mains_weight=params.number('mains_weight'),
            battery_limit=0.0 if fixed else params.number('battery_limit'),
            throttling=params.flag('spare_throttled') and not fixed,
            most_slowdown=params.number('most_slowdown'),
        )
        return self._relief.applied(problem, self._health, self._given, settings, now)

    @property
    def words(self) -> str:
        """Who is spared and why, for a plan's reason; empty if nobody."""
        return ''.join(f'; {reason}' for reason in self._relief.reasons.values())

    def describe(self, state: DeviceState) -> None:
        """Write a device's power and relief into the picture of the fleet."""
        energy = self._energy.get(state.device)
        state.watts = energy.watts if energy is not None else math.nan
        state.energy_kind = energy.kind if energy is not None else ''
        state.relief = self._relief.reasons.get(state.device, '')

    def _hear(self, message: DeviceEnergy) -> None:
        health = self._health.get(message.device)
        if health is None:
            return
        self._energy[message.device] = message
        health.measured = message.kind == 'measured'
        health.active_watts = message.active_watts
        known = message.covered_seconds > 0
        health.idle_watts = message.idle_joules / message.covered_seconds if known else math.nan

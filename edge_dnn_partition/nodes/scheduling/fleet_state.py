# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's state of the fleet as a message."""

from __future__ import annotations

from edge_dnn_partition.control.state.snapshot import FleetView
from edge_dnn_partition.msg import DeviceState, FleetState, LinkState

from .derating_controller import DeratingController


def fleet_state(view: FleetView, derating: DeratingController, now: float) -> FleetState:
    """Return what is believed of devices and links; what was decided is the caller's to add."""
    alive, factors, message = view.alive(now), view.factors(now), FleetState()
    message.devices = [
        DeviceState(
            device=name, alive=name in alive, profiled=known.profile is not None, speed_factor=factors[name],
            cpu_percent=known.cpu_percent, memory_available_bytes=known.memory_available_bytes,
            temperature_celsius=known.temperature_celsius,
        )
        for name, known in view.devices.items()
    ]  # fmt: skip
    for state in message.devices:
        derating.describe(state)
    message.links = [
        LinkState(
            sender=a, receiver=b, measured=link.measured, bytes_per_second=link.bytes_per_second,
            latency_seconds=link.latency_seconds,
        )
        for (a, b), link in view.links().items()
    ]  # fmt: skip
    return message

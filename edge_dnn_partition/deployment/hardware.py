# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a node of a fleet runs on: this machine, or what plays the fleet file's devices and links on it."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.fleet.fleet import Fleet

_PLAYED: Final = 'edge_dnn_partition.testbed.emulation', 'EmulatedHardware'
"""Loaded by name, and only for a fleet file with ``emulate`` keys: nothing of it is on a real robot."""


def hardware_of(fleet: Fleet, device: str, model: Model, *, runs_stages: bool) -> Hardware:
    """Return the hardware of one node.

    :param device: on which the node is.
    :param runs_stages: the node is the worker, which has its share of the device where several fleets use it.
    :raises UserError: if the device cannot be played.
    """
    if not fleet.emulated:
        return Hardware()
    module, name = _PLAYED
    hardware = getattr(import_module(module), name)(fleet, device, model, runs_stages=runs_stages)
    assert isinstance(hardware, Hardware)
    return hardware

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of a fleet: one list, from which the launch files and ``edge-dnn-partition up`` start them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.planning.fleet.fleet import Fleet

from .dds_environment import dds_environment, dds_profile
from .dds_profile import DdsProfile
from .node_parameters import check_parameters

SCHEDULER: Final = 'scheduler'
ROUTER: Final = 'router'
TOOLS: Final = ('dashboard', 'visualisation')
"""Nodes of the fleet as a whole that it does not need: they show it."""

NODES: Final = ('device_monitor', 'worker', 'frame_source', SCHEDULER, ROUTER, *TOOLS)


@dataclass(frozen=True)
class NodeProcess:
    """One process, of a node or of several of one device.

    :param dds: how its DDS is set up; None leaves that to Fast DDS.
    :param more: further nodes in it, with their parameters.
    """

    node: str
    namespace: str
    parameters: Mapping[str, Any]
    dds: DdsProfile | None = None
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its nodes' names."""
        return self.node, *self.more

    @property
    def label(self) -> str:
        """A short name for logs, such as ``pi/worker``; ``pi/device`` of several nodes."""
        device = self.namespace.rsplit('/', 1)[-1]
        return self.node if self.node in (SCHEDULER, *TOOLS) else f'{device}/{"device" if self.more else self.node}'

    def runs(self, label: str) -> bool:
        """Return whether it is the process ``label``, or has the node that a process of its own would be called by."""
        return label == self.label or any(replace(self, node=node, more={}).label == label for node in self.nodes)

    @property
    def given(self) -> dict[str, Any]:
        """The parameters of all its nodes; of several, each by the node's name and its own (`own_parameters`)."""
        if not self.more:
            return dict(self.parameters)
        each = {self.node: self.parameters, **self.more}
        return {f'{node}.{name}': value for node, values in each.items() for name, value in values.items()}

    def environment(self, present: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what the process's environment needs beside ``present``, see `dds_environment`."""
        return {} if self.dds is None else dds_environment(self.dds, present)

    def ros_arguments(self) -> list[str]:
        """Return the command line that gives the nodes their namespace and parameters."""
        arguments = ['--ros-args', '-r', f'__ns:={self.namespace}']
        for name, value in self.given.items():
            arguments += ['-p', f'{name}:={json.dumps(value)}']  # a text in quotes stays one, if it is 5 or on
        return arguments


def _parameters(fleet: Fleet, node: str, own: Mapping[str, Any]) -> dict[str, Any]:
    check_parameters(fleet.parameters)
    return {**own, **fleet.parameters.get(node, {})}


def _for_the_key(fleet: Fleet, file: dict[str, str]) -> dict[str, str]:
    """Return the fleet file for a node that needs nothing of it but the key and the sites."""
    return file if fleet.security.key_file is not None or fleet.network_kind == 'wan' else {}


def _beside(fleet: Fleet, fleet_file: str | Path, device: str) -> dict[str, str]:
    """Return the parameters of a node of the fleet as a whole."""
    file = {'fleet_file': str(Path(fleet_file).resolve())}
    return {**file, 'device': device} if device and fleet.network_kind == 'wan' else file


def device_processes(fleet: Fleet, fleet_file: str | Path, device: str) -> tuple[NodeProcess, ...]:
    """Return what one device starts: its monitor, its worker, and on the source the frame source.

    In one process if the file says so. The router between sites has one of its own in any case.

    :raises UserError: if the fleet has no such device, or the file sets parameters that its nodes refuse.
    """
    fleet.device(device)
    namespace = f'/{fleet.fleet}/{device}'
    file = {'fleet_file': str(Path(fleet_file).resolve())}
    nodes = {'device_monitor': file, 'worker': file}
    if device == fleet.source:
        nodes['frame_source'] = file
    together = [[*nodes]] if fleet.processes == 'one' else [[node] for node in nodes]
    if device == fleet.network.router_device:
        nodes[ROUTER] = file
        together.insert(0, [ROUTER])
    given = {node: _parameters(fleet, node, own) for node, own in nodes.items()}
    return tuple(
        NodeProcess(
            names[0], namespace, given[names[0]], dds_profile(fleet, names), {name: given[name] for name in names[1:]}
        )
        for names in together
    )


def scheduler_process(fleet: Fleet, fleet_file: str | Path, device: str = '') -> NodeProcess:
    """Return the scheduler's process; it runs once, on any machine of the fleet's network.

    :param device: whose machine that is, where it matters: in a fleet of several sites.
    """
    file = _beside(fleet, fleet_file, device)
    return NodeProcess(SCHEDULER, f'/{fleet.fleet}', _parameters(fleet, SCHEDULER, file), dds_profile(fleet, (SCHEDULER,)))


def tool_process(fleet: Fleet, fleet_file: str | Path, node: str, device: str = '') -> NodeProcess:
    """Return the process of one of `TOOLS`, which may run on any machine of the fleet's network; ``device`` as the scheduler's."""
    file = _beside(fleet, fleet_file, device)
    own = file if node == 'dashboard' else _for_the_key(fleet, file)
    return NodeProcess(node, f'/{fleet.fleet}', _parameters(fleet, node, own), dds_profile(fleet, (node,)))


def fleet_processes(fleet: Fleet, fleet_file: str | Path, tools: Sequence[str] = ()) -> tuple[NodeProcess, ...]:
    """Return the processes of the whole fleet, as they are started where it is played on one machine.

    :param tools: which of `TOOLS` as well.
    """
    devices = (process for name in fleet.devices for process in device_processes(fleet, fleet_file, name))
    more = (tool_process(fleet, fleet_file, node) for node in tools)
    return (scheduler_process(fleet, fleet_file), *devices, *more)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What befalls the fleet of a running testbed, and what it is told: rates, loads, faults, parameters, plans."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.processes import NodeProcess
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.profiling.image_samples import samples_for
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, load_or_profile
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.testbed.emulation import played_profile
from edge_dnn_partition.testbed.namespaces import Namespaces, Shape
from edge_dnn_partition.testbed.testbed_file import TestbedFile
from edge_dnn_partition.testbed.traces import Event

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.nodes.conversions.parameter_messages import ParameterGiven

_PLAN_SECONDS: Final = 60.0


class TestbedControls:
    """The part of a `Testbed` that changes things; a testbed sets what is only declared here when it starts."""

    client: FleetClient
    supervisor: Supervisor
    processes: Mapping[str, NodeProcess]
    """The fleet's, by label."""
    network: Namespaces | None = None
    """The namespaces; None if the links are held to their rate in user space."""
    delayed: bool = False
    """Whether the kernel delays what crosses the links, and not the sending processes."""

    def __init__(self, file: TestbedFile, model: Model) -> None:
        self.file = file
        self.model = model
        self.log: list[tuple[str, str]] = []
        """Label and line of what the nodes have printed."""
        self._rates = {frozenset(link.between): link.rate * 8 for link in file.links}
        self._cut: set[frozenset[str]] = set()

    def set_rate(self, a: str, b: str, bits_per_second: float) -> None:
        """Give both directions of a link another rate; one that is cut stays so.

        :raises UserError: if there is no such link, or the system refuses.
        """
        self.file.link(a, b)
        self._rates[frozenset((a, b))] = bits_per_second
        self._shape(a, b)

    def set_load(self, device: str, factor: float) -> None:
        """Make a device's runs take ``factor`` times what its slowdown in the file makes of them.

        :raises UserError: if there is no such device, or the factor is too small for its slowdown.
        """
        slowdown = self._slowdown(device) * factor
        if slowdown < 1:
            raise UserError(f'{device}: it cannot be faster than this machine; its slowdown is {self._slowdown(device):g}')
        self.client.emulate({device: slowdown}, {})

    def kill(self, name: str) -> None:
        """Kill a device's processes, or ``scheduler``, or one process such as ``pi/worker``, without a warning."""
        for label in self._labels(name):
            self.supervisor.signal(label, signal.SIGKILL)
        self.wait_for(lambda: not set(self._labels(name)) & set(self.supervisor.running), 10.0, f'the end of {name}')

    def start(self, name: str) -> None:
        """Start again what was killed."""
        for label in self._labels(name):
            if label not in self.supervisor.running:
                self.supervisor.start(self.processes[label])

    def cut(self, a: str, b: str) -> None:
        """Cut a link: nothing crosses it, and nobody is told."""
        self.file.link(a, b)
        self._cut.add(frozenset((a, b)))
        if self.network is None:
            self._emulate(frozenset((a, b)))
        else:
            self.network.cut(a, b, both_ways=True)

    def heal(self, a: str, b: str) -> None:
        """Mend a link that was cut."""
        self.file.link(a, b)
        self._cut.discard(frozenset((a, b)))
        if self.network is None:
            self._emulate(frozenset((a, b)))
        else:
            self.network.heal(a, b, both_ways=True)

    def _shape(self, a: str, b: str) -> None:
        """Put a link's rate and delay in force, in the kernel as far as that can."""
        pair = frozenset((a, b))
        if self.network is None or not self.delayed:
            self._emulate(pair)
        if self.network is not None:
            delay = self.file.link(a, b).delay if self.delayed else 0.0
            shape = Shape(self._rates[pair], self.file.link(a, b).queue, delay)
            self.network.reshape(a, b, shape)
            self.network.reshape(b, a, shape)

    def _emulate(self, pair: frozenset[str]) -> None:
        a, b = sorted(pair)
        rate = 0.0 if pair in self._cut else self._rates[pair] / 8
        self.client.emulate({}, {(a, b): (rate, self.file.link(a, b).delay)})

    def _slowdown(self, device: str) -> float:
        if device not in self.file.devices:
            raise UserError(f'no device is called {device!r}; there are {", ".join(self.file.devices)}')
        emulate = self.file.devices[device].emulate
        return emulate.factor if emulate else 1.0

    def _labels(self, name: str) -> list[str]:
        found = [label for label, process in self.processes.items() if process.runs(name) or label.startswith(f'{name}/')]
        if not found:
            raise UserError(f'nothing is called {name!r}; there are {", ".join(self.processes)}')
        return found

    def apply(self, event: Event) -> None:
        """Make an event of a timeline happen."""
        actions: Mapping[str, Callable[..., Any]] = {
            'rate': self.set_rate, 'load': self.set_load, 'kill': self.kill, 'start': self.start, 'cut': self.cut,
            'heal': self.heal,
        }  # fmt: skip
        value = (event.value,) if event.action in ('rate', 'load') else ()
        actions[event.action](*event.subject, *value)

    # What the fleet is told -------------------------------------------------------------------------------------

    def set_parameter(self, node: str, name: str, value: ParameterGiven) -> None:
        """Set a parameter of a node, such as ``pi/worker`` or ``scheduler``.

        :raises UserError: with the reason if it is refused, or nobody answers.
        """
        self.client.set_parameters(node, {name: value})

    def force(self, label: str) -> Plan:
        """Make the fleet follow a plan, such as ``pi:pre-3 cloud:3-end``, and wait until new frames get it.

        :raises UserError: if it is refused, or does not come.
        """
        with self._told():
            plan: Plan = self.client.follow(label, len(self.model.layers), _PLAN_SECONDS)

        def followed() -> bool:
            status = self.client.news.status
            return status is not None and status.plan_version >= plan.version

        self.wait_for(followed, _PLAN_SECONDS, f'a frame source that follows {label}')
        return plan

    def free(self, policy: str = 'auto') -> None:
        """Let the scheduler choose again."""
        self.client.set_scheduler({'policy': policy})

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until a condition holds.

        :raises UserError: if it does not in time, with what the nodes have printed last.
        """
        with self._told():
            self.client.wait_for(condition, seconds, what)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Add to what goes wrong what the nodes have printed last."""
        try:
            yield
        except UserError as error:
            last = ' | '.join(f'{label}: {line}' for label, line in self.log[-8:])
            raise UserError(f'{error}; the last lines: {last[-800:]}') from None


def measured_profiles(fleet: Fleet, model: Model) -> dict[str, Profile]:
    """Return each device's profile as its worker will find it in the cache, as it is played.

    :raises UserError: if a stage cannot be extracted or run.
    """
    samples = samples_for(fleet, start_checks.preprocessing_of(fleet, model))
    runs = int(fleet.parameters.get('worker', {}).get('profile_runs', ProfileOptions.runs))
    found = {}
    for name, device in fleet.devices.items():
        options = ProfileOptions(device='host', providers=device.providers, threads=device.threads, runs=runs)
        profile = load_or_profile(model, options, samples=samples, accept_throttled=True)
        found[name] = played_profile(device, profile, model)
    return found

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Several fleets, each with its model and its camera, on the same hosts: what each uses, and who gives way.

Every fleet plans for itself and counts what the others use. Fleets of higher priority come first: they plan as if the others
were not there, whose processes the hosts' own schedulers hold back, and the others plan on what is left. Of equal fleets
each answers the others' choices with its own best one, one at a time, which ends, since what they share are loads
(Rosenthal 1973, A class of games possessing pure-strategy Nash equilibria). Pure; time is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.planning.plans.profile import Profile

EXPIRE_SECONDS: Final = 3.0
"""Usage reports expire after this time."""

SETTLE_SECONDS: Final = 1.5
"""Estimates of the other fleets show a change of plan after this time."""

_MOST_FLEETS: Final = 64

NICE_STEPS: Final = 10
"""The priority whose processes the hosts hold back least."""


def niceness(priority: int) -> int:
    """Return how nice the processes of a fleet are: 0 for the highest priority, 10, to 10 for the lowest, 0."""
    return NICE_STEPS - priority


@dataclass(frozen=True)
class HostUse:
    """What a fleet takes of a host: cores that it keeps busy, and bytes of weights."""

    cores: float = 0.0
    memory_bytes: float = 0.0


@dataclass(frozen=True)
class FleetUse:
    """What a fleet says of itself.

    :param moving: it changes its plan, or has just done so.
    :param hosts: by the hosts' names.
    """

    fleet: str
    priority: int
    moving: bool
    hosts: Mapping[str, HostUse] = field(default_factory=dict)


@dataclass(frozen=True)
class OthersUse:
    """Cores of a host that other fleets keep busy: those that come first, as much as this one, and that give way to it."""

    first_cores: float = 0.0
    equal_cores: float = 0.0
    lesser_cores: float = 0.0


def use_of(
    plan: Plan, fps: float, fleet: Fleet, profiles: Mapping[str, Profile], weights: Mapping[int, float]
) -> dict[str, HostUse]:
    """Return what a plan takes of each host, at the devices' profiled speed: what contention adds is not its work.

    :param fps: frames per second.
    :param profiles: by device.
    :param weights: bytes by layer.
    """
    found: dict[str, HostUse] = {}
    for stage in plan.stages:
        profile = profiles.get(stage.device)
        seconds = profile.known_seconds(stage.layers) if profile is not None else 0.0
        if stage.preprocess and profile is not None:
            seconds += profile.preprocess_seconds or 0.0
        held = sum(weights.get(layer, 0.0) for start, stop in stage.layers for layer in range(start, stop))
        host, threads = fleet.host_of(stage.device), fleet.devices[stage.device].threads
        before = found.get(host, HostUse())
        found[host] = HostUse(before.cores + fps * seconds * threads, before.memory_bytes + held)
    return {host: replace(use, cores=min(use.cores, _cores(fleet, host))) for host, use in found.items()}


def _cores(fleet: Fleet, host: str) -> float:
    return float(sum(device.threads for name, device in fleet.devices.items() if fleet.host_of(name) == host))


class Sharing:
    """What one fleet of a group knows of the others. Not thread safe.

    :param fleet: with ``share``.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        """Its devices may change."""
        self._reports: dict[str, tuple[float, FleetUse]] = {}

    @property
    def priority(self) -> int:
        """Of this fleet."""
        return 0 if self.fleet.share is None else self.fleet.share.priority

    def on_share(self, use: FleetUse, now: float) -> None:
        """Record what a fleet uses; this fleet's own messages are ignored."""
        if use.fleet != self.fleet.fleet:
            self._reports = {name: report for name, report in self._reports.items() if now - report[0] <= EXPIRE_SECONDS}
            if use.fleet in self._reports or len(self._reports) < _MOST_FLEETS:
                self._reports[use.fleet] = (now, use)

    def others(self, now: float) -> tuple[FleetUse, ...]:
        """Return the other fleets of the group that live, the most important first."""
        alive = [use for at, use in self._reports.values() if now - at <= EXPIRE_SECONDS]
        return tuple(sorted(alive, key=lambda use: (-use.priority, use.fleet)))

    def use(self, device: str, now: float) -> OthersUse:
        """Return what others keep busy of a device's host."""
        host = self.fleet.host_of(device)
        sums = [0.0, 0.0, 0.0]
        for other in self.others(now):
            place = 0 if other.priority > self.priority else 1 if other.priority == self.priority else 2
            sums[place] += other.hosts.get(host, HostUse()).cores
        return OthersUse(*sums)

    def _comes_first(self, other: FleetUse) -> bool:
        """True if a fleet has its memory before this one; of equal ones that is the first by name."""
        return (-other.priority, other.fleet) < (-self.priority, self.fleet.fleet)

    def applied(self, problem: Problem, now: float) -> Problem:
        """Return a problem in which the weights of fleets that come first are taken off the devices' memory."""
        held = {
            device.name: sum(
                other.hosts.get(self.fleet.host_of(device.name), HostUse()).memory_bytes
                for other in self.others(now)
                if self._comes_first(other)
            )
            for device in problem.devices
        }
        if not any(held.values()):
            return problem
        return replace(
            problem,
            devices=tuple(replace(d, memory_bytes=max(0.0, d.memory_bytes - held[d.name])) for d in problem.devices),
        )

    def wait(self, now: float) -> str:
        """Return why a better plan is to wait; empty if it need not.

        Two that move at once answer what is about to change. A fleet waits for none that gives way to it.
        """
        for other in self.others(now):
            if other.moving and other.priority >= self.priority:
                return f'a better plan waits for the fleet {other.fleet}, which is moving'
        return ''

    def words(self, now: float) -> str:
        """Say who else is there, for people; empty if nobody."""
        return ', '.join(f'{other.fleet} (priority {other.priority})' for other in self.others(now))

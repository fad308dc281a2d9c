# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a device's state makes of a planning problem: its joules' weight, its watts as measured, and whether it is spared.

A device whose battery runs low or which throttles is *spared*: it runs no layer, as long as the plan without it is not
much slower. So is one on which a frame failed that may succeed elsewhere, however slow the plan without it. What it costs is
not touched by that, so predictions stay comparable with what comes true. Pure but for what `Derating` remembers; time is
passed in.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import Device
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.solvers.solve import solve

_BATTERY_RETURN: Final = 5.0
"""Percent above the limit at which a device is no longer spared, so that it does not come and go."""

_COOL_SECONDS: Final = 30.0
"""Without throttling, after which a device is no longer spared: it would throttle again at once."""

_AGAIN_SECONDS: Final = 5.0
"""How long the answer to whether a device can be spared holds: links and loads change."""


_FAILED_SECONDS: Final = 10.0
"""So long a device is spared after a frame failed on it, twice as long each time it fails again soon after, ..."""

_FAILED_MOST_SECONDS: Final = 600.0
"""... and no longer than that."""

_FRAMES_FAULT_SECONDS: Final = 60.0
"""Failures count as the frames' fault for so long after one has failed on two devices."""


@dataclass
class DeviceHealth:
    """What is known of a device beside its speed; NaN: unknown.

    :param battery_percent: of its charge.
    :param discharge_watts: 0: on mains or full.
    :param throttling: what holds it back now, or did since it was started (``…_since_boot``).
    :param active_watts: above idleness while a stage runs.
    :param idle_watts: what it draws anyway.
    :param measured: whether these watts rest on a meter.
    :param node_joules: above idleness, of a run of each of a problem's nodes, learned from the meter; empty: not known.
    """

    battery_percent: float = math.nan
    discharge_watts: float = math.nan
    throttling: tuple[str, ...] = ()
    active_watts: float = math.nan
    idle_watts: float = math.nan
    measured: bool = False
    node_joules: tuple[float, ...] = ()

    @property
    def on_battery(self) -> bool:
        """Whether a battery feeds it."""
        if self.discharge_watts == 0:
            return False
        return math.isfinite(self.battery_percent) or self.discharge_watts > 0

    @property
    def throttled(self) -> tuple[str, ...]:
        """What holds it back now."""
        return tuple(flag for flag in self.throttling if not flag.endswith('_since_boot'))


@dataclass(frozen=True)
class DeratingSettings:
    """How much a device's state counts.

    :param battery_weight: an empty battery's joule counts 1 + this times a full one's.
    :param mains_weight: what a joule from the mains counts, times the fleet file's weight; 0: nothing.
    :param battery_limit: percent, below which a device on battery is spared; 0: never.
    :param throttling: spare a device that throttles.
    :param most_slowdown: how many times as long a frame may take for a device to be spared; below 1: never.
    """

    battery_weight: float = 1.0
    mains_weight: float = 1.0
    battery_limit: float = 20.0
    throttling: bool = True
    most_slowdown: float = 2.0


def weighted(device: Device, health: DeviceHealth, settings: DeratingSettings) -> Device:
    """Return a device whose joules count by what feeds it."""
    if not health.on_battery:
        return replace(device, energy_weight=device.energy_weight * settings.mains_weight)
    if not math.isfinite(health.battery_percent):
        return device
    empty = 1.0 - min(100.0, max(0.0, health.battery_percent)) / 100.0
    return replace(device, energy_weight=device.energy_weight * (1.0 + settings.battery_weight * empty))


def with_watts(device: Device, health: DeviceHealth, given: frozenset[str]) -> Device:
    """Return a device with the watts that its worker reports.

    Measured ones count above the fleet file's; modelled ones stand in where it gives none. Idleness counts only where the
    fleet file counts it, since a file without it means that frames do not pay for it.

    :param given: the power figures that the fleet file gives, by their names there.
    """
    active, idle = device.active_watts, device.idle_watts
    if math.isfinite(health.active_watts) and (health.measured or 'active' not in given):
        active = health.active_watts
    if math.isfinite(health.idle_watts) and health.measured and 'idle' in given:
        idle = health.idle_watts
    return replace(device, active_watts=active, idle_watts=idle)


def with_joules(problem: Problem, health: Mapping[str, DeviceHealth]) -> Problem:
    """Return a problem with the joules of each node that devices have learned from their meters."""
    joules = np.full(problem.seconds.shape, np.nan)
    for column, name in enumerate(problem.names):
        state = health.get(name, DeviceHealth())
        if state.measured and len(state.node_joules) == problem.nodes:
            joules_of_nodes = np.array(state.node_joules, dtype=np.float64)
            joules[:, column] = np.where(np.isfinite(joules_of_nodes) & (joules_of_nodes >= 0), joules_of_nodes, np.nan)
    return replace(problem, node_joules=joules).like(problem) if np.isfinite(joules).any() else problem


class Derating:
    """Decides which devices are spared, and says why; remembers since when."""

    def __init__(self) -> None:
        self._low: set[str] = set()
        self._throttled_at: dict[str, tuple[float, str]] = {}
        self._spared: tuple[str, ...] = ()
        self._asked: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._asked_at = -math.inf
        self._failing: dict[str, tuple[float, float, str]] = {}
        """By device: until when, for how long and why it is spared since a frame failed on it."""
        self._failed_frame = (-1, '')
        """The last frame that failed, and where."""
        self._frames_fault_until = -math.inf
        self.reasons: dict[str, str] = {}

    def on_failure(self, device: str, frame_number: int, why: str, now: float) -> bool:
        """Record that a frame failed on a device and may succeed on another; return whether that changes who is spared.

        Where it fails on another as well, it is not the devices' doing: none is spared for such failures for a while.
        """
        first, self._failed_frame = self._failed_frame, (frame_number, device)
        if first[0] == frame_number and first[1] != device:
            self._frames_fault_until = now + _FRAMES_FAULT_SECONDS
            spared = [self._failing.pop(name, None) for name in (first[1], device)]
            return any(spared)
        until, seconds, _ = self._failing.get(device, (-math.inf, 0.0, ''))
        if now < until or now < self._frames_fault_until:
            return False
        seconds = min(_FAILED_MOST_SECONDS, 2 * seconds) if now - until < seconds else _FAILED_SECONDS
        self._failing[device] = (now + seconds, seconds, why)
        return True

    def on_restart(self, device: str) -> None:
        """Record that a device's worker has restarted: failures of the one before say nothing of it."""
        self._failing.pop(device, None)

    def applied(
        self, problem: Problem, health: Mapping[str, DeviceHealth], given: Mapping[str, frozenset[str]],
        settings: DeratingSettings, now: float,
    ) -> Problem:  # fmt: skip
        """Return the problem under the devices' state; ``reasons`` says of each device that is, or cannot be, spared why.

        :param health: by device.
        :param given: the power figures that the fleet file gives of each device.
        :param now: seconds of a steady clock.
        """
        devices = tuple(
            weighted(with_watts(d, health.get(d.name, DeviceHealth()), given.get(d.name, frozenset())),
                     health.get(d.name, DeviceHealth()), settings)
            for d in problem.devices
        )  # fmt: skip
        problem = with_joules(replace(problem, devices=devices).like(problem), health)
        to_spare = self._to_spare(problem.names, health, settings, now)
        key = (tuple(to_spare), problem.names)
        if key != self._asked or now - self._asked_at >= _AGAIN_SECONDS:
            self._asked, self._asked_at = key, now
            failing = [name for name in to_spare if now < self._failing.get(name, (-math.inf,))[0]]
            self._spared = self._possible(problem, tuple(to_spare), settings.most_slowdown, failing)
        spared = tuple(name for name in self._spared if name in problem.names)
        self.reasons = {
            name: f'{name} is spared: {why}' if name in spared else f'{name} cannot be spared ({why})'
            for name, why in to_spare.items()
        }
        return problem.constrained(exclude=spared) if spared else problem

    def _to_spare(
        self, names: tuple[str, ...], health: Mapping[str, DeviceHealth], settings: DeratingSettings, now: float
    ) -> dict[str, str]:
        """Return the devices to be spared with the reason, the most urgent first."""
        low: list[tuple[float, str, str]] = []
        hot: list[tuple[str, str]] = []
        for name in names:
            state = health.get(name, DeviceHealth())
            charge, limit = state.battery_percent, settings.battery_limit
            if state.on_battery and charge < limit + (_BATTERY_RETURN if name in self._low else 0.0):
                self._low.add(name)
                low.append((charge, name, f'its battery is at {charge:.0f} %, the limit is {limit:.0f} %'))
                continue
            self._low.discard(name)
            if state.throttled:
                self._throttled_at[name] = (now, ', '.join(state.throttled))
            at, flags = self._throttled_at.get(name, (-math.inf, ''))
            if settings.throttling and now - at < _COOL_SECONDS:
                hot.append((name, f'it throttles ({flags})'))
        failing = {
            name: f'a frame failed there ({why}), so for {seconds:.0f} s'
            for name, (until, seconds, why) in self._failing.items() if name in names and now < until
        }  # fmt: skip
        return failing | {name: why for _, name, why in sorted(low) if name not in failing} | {
            name: why for name, why in hot if name not in failing
        }

    @staticmethod
    def _possible(
        problem: Problem, to_spare: tuple[str, ...], most_slowdown: float, failing: Collection[str]
    ) -> tuple[str, ...]:
        """Return those of the devices without which a frame takes at most so many times as long, or that fail."""
        spared: tuple[str, ...] = ()
        if not to_spare:
            return spared
        best = _latency(problem)
        for name in to_spare:
            without = _latency(problem.constrained(exclude=(*spared, name)))
            if without <= most_slowdown * best or (name in failing and without < math.inf):
                spared = (*spared, name)
        return spared


def _latency(problem: Problem) -> float:
    solution = solve(problem, 'latency')
    if not solution.feasible or solution.assignment is None:
        return math.inf
    return evaluate(problem, solution.assignment).latency_seconds

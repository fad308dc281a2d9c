# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated fleet for policies: what telemetry shows, what it does not, and what a frame takes.

A source (pi), a fog device (jetson) and a server (cloud) run a network of 30 segments. Rates and loads change, which
telemetry shows, late and with noise. *Hidden* effects change what a frame takes, and no probe tells of them; what the stages and
transfers of frames took does (:mod:`.policy_estimates`):

- ``throttling``: the jetson grows hot with what it computes, and slow until it has cooled down (its temperature shows);
- ``loss``: a link repeats what it lost, its rate seems the same;
- ``neighbour``: another tenant slows the jetson or the cloud down for a while, and no probe sees it;
- ``profile``: some segments take longer on a device than its profile says;
- ``plans``: single plans take longer than their parts, as with a stage that falls out of a cache.

No ROS, no clock: everything follows from the scenario and the seed. Thermal constants are several times shorter than
those of a real board, so that a run of minutes has several cycles.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_dnn_partition.control.decision.policy import Assignment, Conditions
from edge_dnn_partition.planning.cost_model.linear import transfers
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Bools, Floats, Problem

DEVICES: Final = ('pi', 'jetson', 'cloud')
PAIRS: Final = (('pi', 'jetson'), ('pi', 'cloud'), ('jetson', 'cloud'))
EFFECTS: Final = ('throttling', 'loss', 'neighbour', 'profile', 'plans')
NODES: Final = 30
JETSON: Final = 1


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    :param hidden: names of :data:`EFFECTS`.
    :param period_seconds: between frames.
    :param lag_frames: how old the estimates are.
    :param estimate_noise: standard deviation of their logarithm.
    :param frame_noise: the same of a frame's time, and of what its devices say that they were at work on it; one frame
        in fifty takes half as long again, which no device says.
    :param visible_changes: whether rates and loads change.
    """

    name: str
    hidden: tuple[str, ...] = ()
    frames: int = 1200
    period_seconds: float = 0.2
    lag_frames: int = 2
    estimate_noise: float = 0.03
    frame_noise: float = 0.04
    visible_changes: bool = True


@dataclass(frozen=True)
class Thermal:
    """A device that grows hot: temperatures in degrees Celsius.

    :param heating: degrees above ambient that it would reach if it computed all the time.
    """

    ambient: float = 45.0
    heating: float = 160.0
    seconds: float = 10.0
    throttles_at: float = 80.0
    recovers_at: float = 60.0
    slowdown: float = 1.9

    def next(self, temperature: Floats, hot: Bools, busy: Floats, dt: float) -> tuple[Floats, Bools]:
        """Return temperatures and where it throttles after ``dt`` seconds at a share ``busy`` of computing."""
        goal = self.ambient + self.heating * busy
        after: Floats = goal + (temperature - goal) * math.exp(-dt / self.seconds)
        return after, np.asarray(np.where(hot, after > self.recovers_at, after >= self.throttles_at), dtype=np.bool_)

    def step(self, temperature: float, hot: bool, busy: float, dt: float) -> tuple[float, bool]:
        """Return :meth:`next` for one device."""
        goal = self.ambient + self.heating * busy
        after = goal + (temperature - goal) * math.exp(-dt / self.seconds)
        return after, after > self.recovers_at if hot else after >= self.throttles_at


@dataclass(frozen=True, eq=False)
class PlanTimes:
    """What a plan takes at each frame without noise, seconds.

    :param devices: ``(frames, devices)``, what each device computes; throttling multiplies the jetson's.
    :param links: ``(frames,)``, the transfers.
    :param profiled: ``(devices,)``, what each device computes by its profile.
    :param crossings: of each pair of devices the bytes that cross their link, and ``(frames,)`` what they take without its delay.
    """

    devices: Floats
    links: Floats
    profiled: Floats
    crossings: Mapping[tuple[str, str], tuple[float, Floats]]

    @property
    def jetson(self) -> Floats:
        """The jetson's share, ``(frames,)``."""
        return np.asarray(self.devices[:, JETSON])

    @property
    def rest(self) -> Floats:
        """All else, ``(frames,)``."""
        return np.asarray(self.devices.sum(axis=1) - self.jetson + self.links)

    def parts(self, frame: int, slowdown: float) -> Floats:
        """Return what each device computes at a frame, ``(devices,)``.

        :param slowdown: of the jetson, that throttles.
        """
        found: Floats = self.devices[frame].copy()
        found[JETSON] *= slowdown
        return found


class SimulatedFleet:
    """One course of events; equal scenarios and seeds give equal ones. What policies do changes only the temperature."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        unknown = set(scenario.hidden) - set(EFFECTS)
        if unknown:
            raise ValueError(f'unknown effects {", ".join(sorted(unknown))}; known are {", ".join(EFFECTS)}')
        self.scenario = scenario
        self.seed = seed
        self.thermal = Thermal() if 'throttling' in scenario.hidden else Thermal(slowdown=1.0)
        # Streams of their own, so that a scenario with an effect has the same network and visible course as one without.
        streams = np.random.SeedSequence([seed, 7]).spawn(5)
        network, visible, hidden, estimates, noise = (np.random.default_rng(stream) for stream in streams)
        self.problem = _network(network)
        self.changes: list[int] = []
        self._factors, self._rates = self._visible_course(visible)
        self._hidden_device, self._hidden_link = self._hidden_course(hidden)
        self._profile = self._wrong_profile(hidden)
        frames = scenario.frames
        spread = scenario.estimate_noise
        self.seen_factors = self._late(self._factors) * np.exp(estimates.normal(0, spread, self._factors.shape))
        self.seen_rates = self._late(self._rates) * np.exp(estimates.normal(0, spread, self._rates.shape))
        late = np.where(noise.random((2, frames)) < 0.02, 1.5, 1.0)
        self.noise: Floats = np.exp(noise.normal(0, scenario.frame_noise, (2, frames))) * late
        self.part_noise: Floats = np.exp(noise.normal(0, scenario.frame_noise, (2, frames, len(DEVICES))))
        self.changes = sorted(set(self.changes))
        self._times: dict[Assignment, PlanTimes] = {}
        self._problems: dict[int, Problem] = {}

    # What policies see ----------------------------------------------------------------------------------------

    def conditions(self, frame: int, temperature: float) -> Conditions:
        """Return what probes alone tell before a frame."""
        problem = self._problems.get(frame)
        if problem is None:
            problem = self.problem_at(self.seen_factors[frame], self.seen_rates[frame])
            self._problems[frame] = problem
        return Conditions(frame * self.scenario.period_seconds, problem, temperature, self.scenario.estimate_noise)

    def true_problem(self, frame: int) -> Problem:
        """Return the problem with all that is hidden but throttling and the effects of single plans.

        Losses are counted on the bytes alone, not on the links' delays.
        """
        factors = self._factors[frame] * self._hidden_device[frame]
        problem = self.problem_at(factors, self._rates[frame] / self._hidden_link[frame])
        return replace(problem, seconds=problem.seconds * self._profile)

    # What happens ---------------------------------------------------------------------------------------------

    def times(self, plan: Assignment) -> PlanTimes:
        """Return what a plan takes at each frame."""
        found = self._times.get(plan)
        if found is None:
            found = self._times[plan] = self._plan_times(plan)
        return found

    def _plan_times(self, plan: Assignment) -> PlanTimes:
        problem = self.problem
        chosen = problem.indices(plan)
        nodes = np.arange(problem.nodes)
        assert problem.seam_seconds is not None
        stays = np.flatnonzero(chosen[1:] == chosen[:-1])
        saved = np.bincount(chosen[stays], problem.seam_seconds[stays, chosen[stays]], minlength=len(DEVICES))

        def work(seconds: Floats) -> Floats:
            return np.asarray(np.bincount(chosen, seconds[nodes, chosen], minlength=len(DEVICES)) - saved, dtype=np.float64)

        told = work(problem.seconds)
        device = work(problem.seconds * self._profile)[None, :] * self._factors * self._hidden_device
        link = np.zeros(self.scenario.frames)
        effect = self.plan_effect(plan)
        crossings: dict[tuple[str, str], tuple[float, Floats]] = {}
        for tensor, sender, reader in zip(*transfers(problem, chosen), strict=True):
            pair = PAIRS.index((DEVICES[min(sender, reader)], DEVICES[max(sender, reader)]))
            seconds = problem.latency[sender, reader] + problem.tensor_bytes[tensor] / self._rates[:, pair]
            link += seconds * self._hidden_link[:, pair]
            size = float(problem.tensor_bytes[tensor])
            took = size / self._rates[:, pair] * self._hidden_link[:, pair] * effect
            before = crossings.get(PAIRS[pair], (0.0, 0.0))
            crossings[PAIRS[pair]] = before[0] + size, before[1] + took
        return PlanTimes(device * effect, link * effect, told, crossings)

    def timed(self, turn: int, frame: int, parts: Floats) -> dict[str, float]:
        """Return for how long each device says that it was at work on a frame.

        :param turn: 0: a real frame, 1: a shadow frame.
        :param parts: ``(devices,)``, the truth (:meth:`PlanTimes.parts`).
        """
        seen = parts * self.part_noise[turn, frame]
        return {name: float(value) for name, value in zip(DEVICES, seen, strict=True) if value > 0}

    def plan_effect(self, plan: Assignment) -> float:
        """Return by how much a plan takes longer than its parts: for two in five plans 1.15 to 1.7 times."""
        if 'plans' not in self.scenario.hidden:
            return 1.0
        rng = np.random.default_rng([self.seed, 11, zlib.crc32(' '.join(plan).encode())])
        return float(rng.uniform(1.15, 1.7)) if rng.random() < 0.4 else 1.0

    # The course of events -------------------------------------------------------------------------------------

    def problem_at(self, factors: Floats, rates: Floats) -> Problem:
        """Return the problem at some factors ``(devices,)`` and bytes per second ``(pairs,)``."""
        base = self.problem
        links = []
        for link in base.links:
            names = sorted((link.sender, link.reader), key=DEVICES.index)
            rate = float(rates[PAIRS.index((names[0], names[1]))])
            links.append(
                Link(sender=link.sender, reader=link.reader, bytes_per_second=rate, latency_seconds=link.latency_seconds)
            )
        assert base.seam_seconds is not None
        return Problem(
            source=base.source, sink=base.sink, devices=base.devices, links=tuple(links), node_names=base.node_names,
            tensors=base.tensors, seconds=base.seconds * factors[None, :], weight_bytes=base.weight_bytes,
            seam_seconds=base.seam_seconds * factors[None, :],
        )  # fmt: skip

    def _late(self, course: Floats) -> Floats:
        lag = self.scenario.lag_frames
        return np.concatenate((np.repeat(course[:1], lag, axis=0), course[: len(course) - lag])) if lag else course

    def _steps(self, rng: np.random.Generator, shortest: int, longest: int) -> list[tuple[int, int]]:
        begin, found = 0, []
        while begin < self.scenario.frames:
            end = min(begin + int(rng.integers(shortest, longest)), self.scenario.frames)
            found.append((begin, end))
            begin = end
        return found

    def _visible_course(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        frames = self.scenario.frames
        factors = np.ones((frames, len(DEVICES)))
        base = {(link.sender, link.reader): link.bytes_per_second for link in self.problem.links}
        rates = np.array([[base[pair] for pair in PAIRS]] * frames)
        if not self.scenario.visible_changes:
            return factors, rates
        for begin, end in self._steps(rng, 80, 200):
            uplink = float(np.exp(rng.uniform(np.log(0.2), np.log(1.6)))) if begin else 1.0
            rates[begin:end, 1:] *= uplink
            rates[begin:end, 0] *= float(rng.uniform(0.5, 1.3)) if begin else 1.0
            self.changes.append(begin)
        for begin, end in self._steps(rng, 150, 350):
            factors[begin:end] = [1.0, rng.choice([1.0, 1.0, 1.5, 2.2]), rng.choice([1.0, 1.0, 1.4])]
            self.changes.append(begin)
        return factors, rates

    def _hidden_course(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        frames = self.scenario.frames
        device, link = np.ones((frames, len(DEVICES))), np.ones((frames, len(PAIRS)))
        # Drawn whether wanted or not, so that the effects of a scenario do not depend on its others.
        steps = self._steps(rng, 60, 180)
        neighbours = [(begin, end, int(rng.integers(1, 3)), float(rng.uniform(1.5, 2.8))) for begin, end in steps]
        steps = self._steps(rng, 60, 180)
        losses = [(begin, end, int(rng.integers(0, 3)), float(rng.uniform(1.4, 3.0))) for begin, end in steps]
        for number, (begin, end, where, factor) in enumerate(neighbours):
            if 'neighbour' in self.scenario.hidden and number % 2:
                device[begin:end, where] *= factor
                self.changes += [begin, end] if end < frames else [begin]
        for number, (begin, end, where, factor) in enumerate(losses):
            if 'loss' in self.scenario.hidden and number % 2:
                link[begin:end, where] *= factor
                self.changes += [begin, end] if end < frames else [begin]
        return device, link

    def _wrong_profile(self, rng: np.random.Generator) -> Floats:
        wrong = np.ones((NODES, len(DEVICES)))
        for device in (1, 2):
            begin, length = int(rng.integers(0, NODES - 8)), int(rng.integers(5, 11))
            factor = float(rng.uniform(1.8, 4.0))
            if 'profile' in self.scenario.hidden:
                wrong[begin : begin + length, device] = factor
        return wrong


def _network(rng: np.random.Generator) -> Problem:
    """Return a chain of 30 segments like a residual network of 8-bit tensors, with shrinking tensors and boundary overheads."""
    work = rng.lognormal(0, 0.35, NODES)
    work /= work.sum()
    speed = np.array([0.55, 0.066, 0.026])
    seconds = work[:, None] * speed[None, :] * rng.lognormal(0, 0.25, (NODES, len(DEVICES)))
    sizes = 2.2e5 * np.exp(-np.linspace(0, 3.4, NODES)) * rng.lognormal(0, 0.45, NODES)
    sizes[-1] = 4000.0
    tensors = [Tensor(name='image', producer=INPUT, readers=(0,), bytes=7.5e4)]
    tensors += [
        Tensor(
            name=f't{i}', producer=i, readers=(i + 1,) if i + 1 < NODES else (), bytes=float(sizes[i]), at_sink=i + 1 == NODES
        )
        for i in range(NODES)
    ]
    rates = {PAIRS[0]: (5.0e6, 0.003), PAIRS[1]: (2.2e6, 0.012), PAIRS[2]: (5.0e6, 0.005)}
    return Problem(
        source='pi',
        sink='pi',
        devices=(
            Device(name='pi', active_watts=4.0, idle_watts=2.7, radio_watts=1.0),
            Device(name='jetson', active_watts=8.0, idle_watts=2.0, radio_watts=1.0),
            Device(name='cloud', active_watts=60.0, energy_weight=0.0),
        ),
        links=tuple(
            Link(sender=a, reader=b, bytes_per_second=rate, latency_seconds=latency)
            for pair, (rate, latency) in rates.items()
            for a, b in (pair, pair[::-1])
        ),
        node_names=tuple(f'segment{i}' for i in range(NODES)),
        tensors=tuple(tensors),
        seconds=seconds,
        weight_bytes=np.full(NODES, 8e5),
        seam_seconds=seconds[:-1] * 0.04,
    )

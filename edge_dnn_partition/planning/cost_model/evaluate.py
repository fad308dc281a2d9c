# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The costs of an assignment of nodes to devices: latency and its scatter, energy, bottleneck."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .linear import stage_count, transfers
from .problem import Floats, Ints, Problem

_MOST_KEPT: Final = 64


@dataclass(frozen=True)
class Tail:
    """A lognormal distribution, shifted by what is certain.

    :param middle_seconds: the median of the part that scatters.
    :param deviation: the standard deviation of its logarithm.
    :param certain_seconds: the constant part.
    """

    middle_seconds: float
    deviation: float
    certain_seconds: float = 0.0

    def quantile(self, reach: float) -> float:
        """Return the seconds so many standard deviations above the median."""
        return self.certain_seconds + self.middle_seconds * math.exp(reach * self.deviation)


CERTAIN: Final = Tail(0.0, 0.0)
"""The tail of a problem in which nothing scatters."""


@dataclass(frozen=True)
class Costs:
    """The costs of an assignment; all infinite where it cannot run.

    ``feasible`` is false where a node cannot run, two devices cannot talk, or a device's
    memory is exceeded; ``reason`` says which.

    :param tail: distribution of the latency from frame to frame, if the problem gives the scatter of devices and links.
    """

    latency_seconds: float
    energy_joules: float
    bottleneck_seconds: float
    stages: int
    feasible: bool = True
    reason: str = ''
    tail: Tail = CERTAIN

    def latency_at(self, reach: float) -> float:
        """Return the latency within which some share of the frames stays.

        :param reach: that share's quantile of the standard normal distribution; 0: the prediction itself.
        """
        if reach <= 0 or self.tail is CERTAIN or not math.isfinite(self.latency_seconds):
            return self.latency_seconds
        return self.tail.quantile(reach)


@dataclass(frozen=True, eq=False)
class Loads:
    """Seconds that each device computes (coding included) and each channel is busy, and joules of computing above idle."""

    device_seconds: Floats
    channel_seconds: Floats
    device_joules: Floats


def _infeasible(reason: str) -> Costs:
    infinite = float('inf')
    return Costs(infinite, infinite, infinite, 0, False, reason)


def loads(problem: Problem, assignment: Ints) -> Loads:
    """Return the loads of an assignment whose nodes can run and whose devices can talk."""
    return _loads(problem, assignment, *transfers(problem, assignment))


def _loads(problem: Problem, assignment: Ints, tensor: Ints, sender: Ints, reader: Ints) -> Loads:
    count = len(problem.devices)
    size = problem.wire_bytes(tensor, sender, reader)
    nodes = np.arange(problem.nodes)
    node_joules, overhead_joules = problem.work_joules
    device = np.bincount(assignment, problem.seconds[nodes, assignment], minlength=count)
    joules = np.bincount(assignment, node_joules[nodes, assignment], minlength=count)
    if problem.seam_seconds is not None and overhead_joules is not None:
        stays = np.flatnonzero(assignment[1:] == assignment[:-1])
        at = stays, assignment[stays]
        device -= np.bincount(assignment[stays], problem.seam_seconds[at], minlength=count)
        joules -= np.bincount(assignment[stays], overhead_joules[at], minlength=count)
    encode, decode = problem.coding_seconds(tensor, sender, reader)
    coding = np.bincount(sender, encode, minlength=count) + np.bincount(reader, decode, minlength=count)
    channels = int(problem.channel.max(initial=-1)) + 1
    busy = np.bincount(problem.channel[sender, reader], size / problem.rate[sender, reader], minlength=channels)
    spent: Floats = np.asarray(joules + problem.column('active_watts') * coding, dtype=np.float64)
    return Loads(np.asarray(device + coding, dtype=np.float64), busy.astype(np.float64), spent)


def frame_joules(
    problem: Problem, stages: Iterable[tuple[str, float]], hops: Iterable[tuple[str, str, float]], latency_seconds: float
) -> float:
    """Return a frame's joules as the objective energy counts them; NaN if a stage's or a hop's are unknown.

    :param stages: device and joules above idle.
    :param hops: sender, reader and seconds on the air.
    :param latency_seconds: for which idle power counts as well.
    """
    weight, radio = problem.column('energy_weight'), problem.column('radio_watts')
    place = problem.position
    total = float((weight * problem.column('idle_watts')).sum()) * latency_seconds
    for device, joules in stages:
        total += weight[place[device]] * joules if device in place else math.nan
    for sender, reader, seconds in hops:
        ends = [place[end] for end in (sender, reader) if end in place] if sender != reader else []
        total += sum(weight[end] * radio[end] * seconds for end in ends if radio[end] > 0)
    return float(total)


def evaluate(problem: Problem, assignment: Sequence[str] | Sequence[int] | Ints) -> Costs:
    """Return the costs of an assignment of nodes to devices; the problem keeps the last ones.

    :param assignment: the device of each node, by name or by index.
    :raises PlanError: if it is too short or long, or names an unknown device.
    """
    chosen, known = problem.indices(assignment), problem.evaluated
    key = chosen.tobytes()
    costs: Costs | None = known.get(key)
    if costs is None:
        if len(known) >= _MOST_KEPT:
            known.clear()
        costs = known[key] = _evaluate(problem, chosen)
    return costs


def _evaluate(problem: Problem, chosen: Ints) -> Costs:
    seconds = problem.seconds[np.arange(problem.nodes), chosen]
    if not np.isfinite(seconds).all():
        node = int(np.flatnonzero(~np.isfinite(seconds))[0])
        return _infeasible(f'{problem.node_names[node]!r} cannot run on {problem.names[chosen[node]]!r}')
    tensor, sender, reader = transfers(problem, chosen)
    rate = problem.rate[sender, reader]
    if (rate <= 0).any():
        bad = int(np.flatnonzero(rate <= 0)[0])
        return _infeasible(f'no link from {problem.names[sender[bad]]!r} to {problem.names[reader[bad]]!r}')
    memory = problem.column('memory_bytes')
    used = np.bincount(chosen, problem.weight_bytes, minlength=len(problem.devices))
    if (used > memory).any():
        bad = int(np.flatnonzero(used > memory)[0])
        return _infeasible(f'{problem.names[bad]!r} has {memory[bad]:.0f} bytes of memory, the weights take {used[bad]:.0f}')
    load = _loads(problem, chosen, tensor, sender, reader)
    size = problem.wire_bytes(tensor, sender, reader)
    latency = float(load.device_seconds.sum() + problem.latency[sender, reader].sum() + (size / rate).sum())
    count = len(problem.devices)
    air = np.bincount(sender, size / rate, minlength=count) + np.bincount(reader, size / rate, minlength=count)
    column = problem.column
    energy = column('energy_weight') * (
        load.device_joules
        + column('radio_watts') * air
        + column('idle_watts') * latency
    )
    bottleneck = max(float(load.device_seconds.max()), float(load.channel_seconds.max(initial=0.0)))
    tail = CERTAIN
    if problem.scatter is not None:
        pair = np.minimum(sender, reader) * count + np.maximum(sender, reader)
        on_air = np.bincount(pair, size / rate, minlength=count * count)
        parts: Floats = np.concatenate((load.device_seconds, on_air)).astype(np.float64)
        deviations: Floats = np.concatenate((problem.scatter[0], problem.scatter[1].ravel()))
        tail = sum_of_lognormals(parts, deviations, latency - float(parts.sum()))
    return Costs(latency, float(energy.sum()), bottleneck, stage_count(chosen), tail=tail)


def sum_of_lognormals(parts: Floats, deviations: Floats, certain: float = 0.0) -> Tail:
    """Return the distribution of a sum of independent lognormal times, by matching mean and variance.

    (Fenton, "The sum of log-normal probability distributions in scatter transmission systems",
    IRE Transactions on Communications Systems 8, 1960).

    :param parts: medians, seconds.
    :param deviations: standard deviations of their logarithms; 0: the part is constant.
    :param certain: further constant seconds.
    """
    scatters = (parts > 0) & (deviations > 0)
    certain += float(parts[~scatters].sum())
    if not scatters.any():
        return Tail(0.0, 0.0, certain)
    largest = float(parts[scatters].max())
    squares = np.exp(deviations[scatters] ** 2)
    means = parts[scatters] / largest * np.sqrt(squares)
    mean, variance = float(means.sum()), float((means**2 * (squares - 1)).sum())
    square = math.log1p(variance / mean**2)
    return Tail(largest * mean * math.exp(-square / 2), math.sqrt(square), certain)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What an assignment of nodes to devices costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .linear import stage_count, transfers
from .problem import Floats, Ints, Problem


@dataclass(frozen=True)
class Costs:
    """The costs of an assignment; all infinite where it cannot run.

    ``feasible`` is false where a node cannot run, two devices cannot talk, or a device's
    memory is exceeded; ``reason`` says which.
    """

    latency_seconds: float
    energy_joules: float
    bottleneck_seconds: float
    stages: int
    feasible: bool = True
    reason: str = ''


@dataclass(frozen=True, eq=False)
class Loads:
    """Seconds that each device computes (coding included) and each channel is busy."""

    device_seconds: Floats
    channel_seconds: Floats


def _infeasible(reason: str) -> Costs:
    infinite = float('inf')
    return Costs(infinite, infinite, infinite, 0, False, reason)


def loads(problem: Problem, assignment: Ints) -> Loads:
    """Return the loads of an assignment whose nodes can run and whose devices can talk."""
    count = len(problem.devices)
    tensor, sender, reader = transfers(problem, assignment)
    size = problem.wire_bytes(tensor, sender, reader)
    device = np.bincount(assignment, problem.seconds[np.arange(problem.nodes), assignment], minlength=count)
    if problem.seam_seconds is not None:
        stays = np.flatnonzero(assignment[1:] == assignment[:-1])
        device -= np.bincount(assignment[stays], problem.seam_seconds[stays, assignment[stays]], minlength=count)
    encode, decode = problem.coding_seconds(tensor, sender, reader)
    device = device + np.bincount(sender, encode, minlength=count) + np.bincount(reader, decode, minlength=count)
    channels = int(problem.channel.max(initial=-1)) + 1
    busy = np.bincount(problem.channel[sender, reader], size / problem.rate[sender, reader], minlength=channels)
    return Loads(np.asarray(device, dtype=np.float64), busy.astype(np.float64))


def evaluate(problem: Problem, assignment: Sequence[str] | Sequence[int] | Ints) -> Costs:
    """Return the costs of an assignment of nodes to devices.

    :param assignment: the device of each node, by name or by index.
    :raises PlanError: if it is too short or long, or names an unknown device.
    """
    chosen = problem.indices(assignment)
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
    load = loads(problem, chosen)
    size = problem.wire_bytes(tensor, sender, reader)
    latency = float(load.device_seconds.sum() + problem.latency[sender, reader].sum() + (size / rate).sum())
    count = len(problem.devices)
    air = np.bincount(sender, size / rate, minlength=count) + np.bincount(reader, size / rate, minlength=count)
    column = problem.column
    energy = column('energy_weight') * (
        column('active_watts') * load.device_seconds
        + column('radio_watts') * air
        + column('idle_watts') * latency
    )
    bottleneck = max(float(load.device_seconds.max()), float(load.channel_seconds.max(initial=0.0)))
    return Costs(latency, float(energy.sum()), bottleneck, stage_count(chosen))

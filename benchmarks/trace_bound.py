# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The clairvoyant bound: the least time that any plan can take for a frame, given the bytes that the links will really carry.

Of a chain of segments, each may run on any device, and each tensor may cross a link in any permitted encoding. Links are
first-in-first-out: who begins later ends no sooner. So the earliest end of each segment on each device follows from those of the
segment before (the time-dependent shortest path of Cooke and Halsey, J. Math. Anal. Appl. 14, 1966), which is exact
over all plans, those that come back to a device among them. A frame is alone: it waits for no other, no headers and nothing else
on the links are counted, a link has rested before each transfer, and devices and links are known in advance. So nobody can do
better, and whether somebody could do as well at every frame is not said.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import RAW, Permitted
from edge_dnn_partition.planning.plans.plan import IMAGE
from edge_dnn_partition.testbed.traces import Capacity

Floats = NDArray[np.float64]


def clairvoyant(
    pipeline: Pipeline, problem: Problem, capacities: Mapping[tuple[str, str], Capacity], begins: Floats, permitted: Permitted
) -> Floats:
    """Return the least seconds from acceptance to result of frames that are accepted at some times.

    :param problem: gives the devices' seconds and the links' delays; its tensors must form a chain.
    :param capacities: of each link, by sender and reader.
    :raises ValueError: if the problem is no chain.
    """
    devices = problem.names
    into: list[tuple[str, float]] = [(IMAGE, 0.0)] * problem.nodes
    for tensor in problem.tensors:
        if tensor.producer == INPUT:
            into[0] = tensor.name, tensor.bytes
        elif tensor.at_sink != (tensor.producer == problem.nodes - 1) or len(tensor.readers) != int(not tensor.at_sink):
            raise ValueError(f'{tensor.name}: the bound is of chains')
        elif tensor.readers:
            if tensor.readers != (tensor.producer + 1,):
                raise ValueError(f'{tensor.name}: the bound is of chains')
            into[tensor.readers[0]] = tensor.name, tensor.bytes
    last = next(tensor for tensor in problem.tensors if tensor.at_sink)
    crossing = _Crossing(pipeline, problem, capacities, permitted)
    ready = {name: begins if name == problem.source else np.full_like(begins, np.inf) for name in devices}
    for node, (name, size) in enumerate(into):
        here = {device: crossing.earliest(ready, device, name, size) for device in devices}
        ready = {device: here[device] + problem.seconds[node, at] for at, device in enumerate(devices)}
    return crossing.earliest(ready, problem.sink, last.name, last.bytes) - begins


class _Crossing:
    """When a tensor can be somewhere."""

    def __init__(
        self, pipeline: Pipeline, problem: Problem, capacities: Mapping[tuple[str, str], Capacity], permitted: Permitted
    ) -> None:
        self._capacities = capacities
        self._delays = {(link.sender, link.reader): link.latency_seconds for link in problem.links}
        self._codings = {
            name: {(c.tensor, c.encoding): c for c in profile.codings if permitted.allows(c)}
            for name, profile in pipeline.profiles.items()
        }

    def earliest(self, ready: Mapping[str, Floats], device: str, tensor: str, size: float) -> Floats:
        """Return when a tensor can be on a device at the earliest, that is ready on each device at some times."""
        best = ready[device]
        for sender, times in ready.items():
            if sender == device or not np.isfinite(times).any():
                continue
            capacity, delay = self._capacities[sender, device], self._delays[sender, device]
            ways = [(size, 0.0, 0.0)]
            for (name, encoding), coding in self._codings[sender].items():
                back = self._codings[device].get((name, encoding))
                if name == tensor and encoding != RAW and back is not None:
                    ways.append((coding.size, coding.encode_seconds, back.decode_seconds))
            for carried, encode, decode in ways:
                best = np.minimum(best, capacity.after(times + encode, carried) + delay + decode)
        return best

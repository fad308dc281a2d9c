# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a scheduler believes in a simulated fleet (:mod:`.policy_world`): the product's own estimators of devices and links.

They are fed as in a fleet: with what stages and transfers of frames took, and with probes of the devices and links that the last
frame has not used. So what is hidden from probes shows once a plan uses it, and is believed no longer than the product believes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from edge_dnn_partition.control.decision.policy import Assignment, Conditions
from edge_dnn_partition.sensing.compute import ComputeEstimator
from edge_dnn_partition.sensing.link import LinkEstimator

from .policy_world import DEVICES, PAIRS, World

_PROBE_BYTES: Final = 20_000.0


class Estimates:
    """Of one run; not thread safe."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._devices = {name: ComputeEstimator() for name in DEVICES}
        self._links = [LinkEstimator((float(rate), 0.0)) for rate in world.seen_rates[0]]
        self._used: set[int] = set()
        """Links that the last frame has crossed, by their place in `PAIRS`."""

    def conditions(self, frame: int, temperature: float) -> Conditions:
        """Return what is believed before a frame."""
        scenario = self._world.scenario
        now = frame * scenario.period_seconds
        for estimator, seen in zip(self._devices.values(), self._world.seen_factors[frame], strict=True):
            estimator.probe(float(seen))
        for place, (link, rate) in enumerate(zip(self._links, self._world.seen_rates[frame], strict=True)):
            if place not in self._used:
                link.transfer(now, _PROBE_BYTES, _PROBE_BYTES / float(rate), sender_limited=False)
        factors = np.array([estimator.factor(now) for estimator in self._devices.values()])
        rates = np.array([link.estimate.bytes_per_second for link in self._links])
        return Conditions(now, self._world.problem_at(factors, rates), temperature, scenario.estimate_noise)

    def frame(self, frame: int, turn: int, plan: Assignment, device_seconds: Mapping[str, float]) -> None:
        """Take in what the parts of a frame took.

        :param turn: 0: a real frame, 1: a shadow frame.
        :param device_seconds: what each device says that it was at work on it.
        """
        now, times = frame * self._world.scenario.period_seconds, self._world.times(plan)
        for name, seconds in device_seconds.items():
            self._devices[name].stage(now, seconds, float(times.profiled[DEVICES.index(name)]))
        if turn == 0:
            self._used = {PAIRS.index(pair) for pair in times.crossings}
        for pair, (size, took_seconds) in times.crossings.items():
            took = float(took_seconds[frame] * self._world.noise[turn, frame])
            self._links[PAIRS.index(pair)].transfer(now, size, took, sender_limited=False, short=True)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy at work in a simulated fleet: frames, switches, shadow frames, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edge_dnn_partition.control.decision.policy import Assignment, Conditions, Frame, Policy
from edge_dnn_partition.planning.cost_model.problem import Bools, Floats
from edge_dnn_partition.sensing.compute import ComputeEstimator
from edge_dnn_partition.sensing.link import LinkEstimator

from .policy_fleet import DEVICES, JETSON, PAIRS, SimulatedFleet


@dataclass(frozen=True)
class Rules:
    """What moving costs; all policies play by the same rules.

    :param decision_frames: frames between decisions.
    :param prepare_frames: for so long the old plan goes on while a plan is prepared.
    :param prepare_slowdown: what frames take meanwhile.
    :param switch_seconds: what the first frame under another plan takes longer.
    :param warm: how many plans are kept prepared; the one used longest ago is let go.
    """

    decision_frames: int = 2
    prepare_frames: int = 5
    prepare_slowdown: float = 1.03
    switch_seconds: float = 0.003
    warm: int = 6


@dataclass
class Trace:
    """What came of a run.

    :param seconds: ``(frames,)``, what each frame took but for noise: switching and waiting included.
    :param hot: ``(frames,)``, whether the jetson throttled.
    :param learning: ``(frames,)``, whether Q-learning decided (policies that tell so).
    """

    seconds: Floats
    hot: Bools
    learning: Bools
    plans: list[Assignment] = field(default_factory=list)
    switches: int = 0
    shadows: int = 0


class _Shelf:
    """The plans that are prepared, and the one that is being prepared."""

    def __init__(self, rules: Rules, plan: Assignment) -> None:
        self.rules = rules
        self.warm = [plan]
        self.pending: Assignment | None = None
        self.activate = False
        self.ready_at = 0

    def touch(self, plan: Assignment) -> None:
        if plan in self.warm:
            self.warm.remove(plan)
        self.warm.append(plan)

    def prepare(self, plan: Assignment, frame: int, *, activate: bool) -> None:
        self.pending, self.activate, self.ready_at = plan, activate, frame + self.rules.prepare_frames

    def finish(self, frame: int, present: Assignment) -> Assignment | None:
        """Return the plan to activate now, if one was waited for and is ready."""
        if self.pending is None or frame < self.ready_at:
            return None
        plan, self.pending = self.pending, None
        self.touch(plan)
        self.touch(present)
        if self.activate:
            self.touch(plan)
        while len(self.warm) > self.rules.warm:
            self.warm.pop(0)
        return plan if self.activate else None


def run(fleet: SimulatedFleet, policy: Policy, rules: Rules | None = None) -> Trace:
    """Let a policy decide through a fleet's course of events, from its first choice on.

    A shadow frame starts when its real frame is done; where both do not fit into the period, the
    next frame waits for the rest.
    """
    rules = rules or Rules()
    scenario, thermal = fleet.scenario, fleet.thermal
    frames, period = scenario.frames, scenario.period_seconds
    trace = Trace(np.zeros(frames), np.zeros(frames, dtype=np.bool_), np.zeros(frames, dtype=np.bool_))
    temperature, hot = thermal.ambient, False
    estimates = Estimates(fleet)
    first = policy.choose(conditions := estimates.conditions(0, temperature)).assignment
    if first is None:
        raise ValueError('the policy has no first plan')
    plan = first
    policy.moved(0.0, plan)
    times = fleet.times(plan)
    shelf = _Shelf(rules, plan)
    carry = 0.0
    for frame in range(frames):
        now = frame * period
        extra = carry
        carry = 0.0
        target = shelf.finish(frame, plan)
        if frame % rules.decision_frames == 0 and frame:
            conditions = estimates.conditions(frame, temperature)
            wanted = policy.choose(conditions).assignment if shelf.pending is None or not shelf.activate else None
            policy.maintain(conditions)
            if target is None and wanted is not None and wanted != plan:
                if wanted in shelf.warm:
                    target = wanted
                else:
                    shelf.prepare(wanted, frame, activate=True)
            elif target is None and shelf.pending is None:
                for wish in list(policy.prefetch_candidates())[: rules.warm - 1]:
                    if wish not in shelf.warm:
                        shelf.prepare(wish, frame, activate=False)
                        break
        elif frame == 0:
            policy.maintain(conditions)
        if target is not None and target != plan:
            plan, times = target, fleet.times(target)
            shelf.touch(plan)
            policy.moved(now, plan)
            extra += rules.switch_seconds
            trace.switches += 1
        shadow = policy.shadow(shelf.warm)
        slow = thermal.slowdown if hot else 1.0
        disturbed = rules.prepare_slowdown if shelf.pending is not None else 1.0
        parts = times.parts(frame, slow)
        seconds = float(parts.sum() + times.links[frame]) * disturbed
        trace.seconds[frame] = seconds + extra
        trace.hot[frame] = hot
        trace.learning[frame] = getattr(policy, 'learning', False)
        trace.plans.append(plan)
        cost = seconds * float(fleet.noise[0, frame]) + extra
        timed = fleet.timed(0, frame, parts)
        estimates.frame(frame, 0, plan, timed)
        policy.learn(Frame(now + seconds, plan, cost, device_seconds=timed))
        busy = float(parts[JETSON])
        if shadow is not None:
            trace.shadows += 1
            other = fleet.times(shadow)
            parts = other.parts(frame, slow)
            took = float(parts.sum() + other.links[frame]) * disturbed
            busy += float(parts[JETSON])
            carry = max(0.0, seconds + took - period)
            cost = took * float(fleet.noise[1, frame])
            timed = fleet.timed(1, frame, parts)
            estimates.frame(frame, 1, shadow, timed)
            policy.learn(Frame(now + seconds + took, shadow, cost, shadow=True, device_seconds=timed))
        temperature, hot = thermal.step(temperature, hot, min(busy / period, 1.0), period)
    return trace


_PROBE_BYTES: Final = 20_000.0


class Estimates:
    """Of one run; not thread safe."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self._fleet = fleet
        self._devices = {name: ComputeEstimator() for name in DEVICES}
        self._links = [LinkEstimator((float(rate), 0.0)) for rate in fleet.seen_rates[0]]
        self._used: set[int] = set()
        """Links that the last frame has crossed, by their place in `PAIRS`."""

    def conditions(self, frame: int, temperature: float) -> Conditions:
        """Return what is believed before a frame."""
        scenario = self._fleet.scenario
        now = frame * scenario.period_seconds
        for estimator, seen in zip(self._devices.values(), self._fleet.seen_factors[frame], strict=True):
            estimator.probe(float(seen))
        for place, (link, rate) in enumerate(zip(self._links, self._fleet.seen_rates[frame], strict=True)):
            if place not in self._used:
                link.transfer(now, _PROBE_BYTES, _PROBE_BYTES / float(rate), sender_limited=False)
        factors = np.array([estimator.factor(now) for estimator in self._devices.values()])
        rates = np.array([link.estimate.bytes_per_second for link in self._links])
        return Conditions(now, self._fleet.problem_at(factors, rates), temperature, scenario.estimate_noise)

    def frame(self, frame: int, turn: int, plan: Assignment, device_seconds: Mapping[str, float]) -> None:
        """Take in what the parts of a frame took.

        :param turn: 0: a real frame, 1: a shadow frame.
        :param device_seconds: what each device says that it was at work on it.
        """
        now, times = frame * self._fleet.scenario.period_seconds, self._fleet.times(plan)
        for name, seconds in device_seconds.items():
            self._devices[name].stage(now, seconds, float(times.profiled[DEVICES.index(name)]))
        if turn == 0:
            self._used = {PAIRS.index(pair) for pair in times.crossings}
        for pair, (size, took_seconds) in times.crossings.items():
            took = float(took_seconds[frame] * self._fleet.noise[turn, frame])
            self._links[PAIRS.index(pair)].transfer(now, size, took, sender_limited=False, short=True)

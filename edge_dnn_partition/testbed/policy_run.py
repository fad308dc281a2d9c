# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy at work in a simulated fleet: frames, switches, shadow frames, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge_dnn_partition.control.decision.policy import Assignment, Frame, Policy
from edge_dnn_partition.planning.cost_model.problem import Bools, Floats

from .policy_estimates import Estimates
from .policy_world import JETSON, World


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


def run(world: World, policy: Policy, rules: Rules | None = None) -> Trace:
    """Let a policy decide through a world's course of events, from its first choice on.

    A shadow frame starts when its real frame is done; where both do not fit into the period, the
    next frame waits for the rest.
    """
    rules = rules or Rules()
    scenario, thermal = world.scenario, world.thermal
    frames, period = scenario.frames, scenario.period_seconds
    trace = Trace(np.zeros(frames), np.zeros(frames, dtype=np.bool_), np.zeros(frames, dtype=np.bool_))
    temperature, hot = thermal.ambient, False
    estimates = Estimates(world)
    first = policy.choose(conditions := estimates.conditions(0, temperature)).assignment
    if first is None:
        raise ValueError('the policy has no first plan')
    plan = first
    policy.moved(0.0, plan)
    times = world.times(plan)
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
            plan, times = target, world.times(target)
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
        cost = seconds * float(world.noise[0, frame]) + extra
        timed = world.timed(0, frame, parts)
        estimates.frame(frame, 0, plan, timed)
        policy.learn(Frame(now + seconds, plan, cost, device_seconds=timed))
        busy = float(parts[JETSON])
        if shadow is not None:
            trace.shadows += 1
            other = world.times(shadow)
            parts = other.parts(frame, slow)
            took = float(parts.sum() + other.links[frame]) * disturbed
            busy += float(parts[JETSON])
            carry = max(0.0, seconds + took - period)
            cost = took * float(world.noise[1, frame])
            timed = world.timed(1, frame, parts)
            estimates.frame(frame, 1, shadow, timed)
            policy.learn(Frame(now + seconds + took, shadow, cost, shadow=True, device_seconds=timed))
        temperature, hot = thermal.step(temperature, hot, min(busy / period, 1.0), period)
    return trace

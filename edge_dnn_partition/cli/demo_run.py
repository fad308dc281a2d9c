# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's two parts on a running fleet: the live run through the phases, and fixed plans in the same conditions."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_dnn_partition.cli.running_fleet import RunningFleet
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.compose import compose, placement_of
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.sensing.link import LinkEstimate
from edge_dnn_partition.testbed.scenario import Phase

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

LEAST_FRAMES = 6
MOST_SECONDS = 14.0


@dataclass
class PhaseRun:
    """A phase as it was lived through; ``begin`` and ``end`` in seconds of this process's steady clock."""

    phase: Phase
    begin: float
    end: float = float('nan')
    frames: list[FrameRecord] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)


@dataclass
class FixedRun:
    """A fixed plan in a phase's conditions."""

    label: str
    frames: list[FrameRecord]

    @property
    def p50_seconds(self) -> float | None:
        """The median latency; None without a frame."""
        delivered = [frame.latency_seconds for frame in self.frames if frame.delivered]
        return float(np.median(delivered)) if delivered else None


class DemoRun:
    """Drives a fleet that is up.

    :param seconds: of each phase.
    :param say: takes lines for people.
    """

    def __init__(self, running: RunningFleet, *, seconds: float, say: Callable[[str], None]) -> None:
        self._running, self._client, self._supervisor = running, running.client, running.supervisor
        self._seconds, self._say = seconds, say
        self._stopped: str | None = None
        devices = running.fleet.devices.items()
        self._usual = {name: device.emulate.factor if device.emulate else 1.0 for name, device in devices}
        self.phase_name = 'starting'

    def conditions(self, phase: Phase) -> None:
        """Put a phase's conditions in force: slowness, links, and which worker is dead."""
        self._client.emulate({name: self._usual[name] * factor for name, factor in phase.factors().items()}, phase.all_links())
        if phase.stopped == self._stopped:
            return
        if self._stopped is not None:
            self._supervisor.start(self._running.process(f'{self._stopped}/worker'))
        if phase.stopped is not None:
            self._supervisor.signal(f'{phase.stopped}/worker', signal.SIGKILL)
        self._stopped = phase.stopped

    def live(self, phases: Sequence[Phase]) -> list[PhaseRun]:
        """Go through the phases while the scheduler is free to choose."""
        runs = []
        for number, phase in enumerate(phases, 1):
            self.phase_name = phase.name
            self._say(f'phase {number} of {len(phases)}: {phase.name}')
            with self._client.lock:
                known = len(self._client.news.frames)
            run = PhaseRun(phase, time.monotonic())
            self.conditions(phase)
            if phase.scheduler_killed:
                self._supervisor.signal('scheduler', signal.SIGKILL)
                time.sleep(self._seconds / 2)
                self._say('  the scheduler is started again')
                self._supervisor.start(self._running.process('scheduler'))
                time.sleep(self._seconds / 2)
            else:
                time.sleep(self._seconds)
            run.end = time.monotonic()
            with self._client.lock:
                run.frames = list(self._client.news.frames[known:])
                run.plans = [plan for at, plan in self._client.news.plans if run.begin <= at < run.end]
            runs.append(run)
        return runs

    def fixed(self, phase: Phase, labels: Sequence[str], seconds: float) -> list[FixedRun]:
        """Measure fixed plans, one after the other, in a phase's conditions."""
        self.conditions(phase)
        runs = []
        for label in labels:
            self.phase_name = f'fixed plan {label} in: {phase.name}'
            self._client.set_scheduler({'policy': 'fixed', 'fixed_plan': label})
            self._client.wait_for(partial(self._in_force, label), 30.0, f'the fixed plan {label}')
            plan = self._client.plan
            assert plan is not None
            runs.append(FixedRun(label, self._collect(plan.version, seconds)))
        return runs

    def _in_force(self, label: str) -> bool:
        plan = self._client.plan
        return plan is not None and plan.label() == label

    def _collect(self, version: int, seconds: float) -> list[FrameRecord]:
        """Return the frames of one plan; the first, which may have waited behind the plan before, is left out."""
        begin = time.monotonic()
        while True:
            time.sleep(0.05)
            with self._client.lock:
                frames = [frame for frame in self._client.news.frames if frame.plan_version == version][1:]
            passed = time.monotonic() - begin
            if (passed >= seconds and len(frames) >= LEAST_FRAMES) or passed >= MOST_SECONDS:
                return frames


def true_problem(pipeline: Pipeline, phase: Phase, input_bytes: float) -> Problem:
    """Return the planning problem under a phase's true conditions, which the scheduler is not told."""
    devices = [name for name in pipeline.fleet.devices if name != phase.stopped]
    links = {}
    for (a, b), (rate, latency) in phase.all_links().items():
        links[a, b] = links[b, a] = LinkEstimate(rate, latency, measured=True)
    return pipeline.problem(devices=devices, factors=phase.factors(), links=links, input_bytes=input_bytes)


def best_fixed_labels(model: Model, pipeline: Pipeline, problem: Problem, count: int) -> list[str]:
    """Return the plans of at most two cuts that are predicted to be fastest.

    Of plans with the same devices in the same order only the best is taken, so that the
    candidates differ in kind and not only in where exactly they cut.
    """
    nodes = problem.nodes
    best: dict[tuple[str, ...], tuple[float, tuple[str, ...]]] = {}
    for cuts in range(3):
        for devices in itertools.permutations(problem.names, cuts + 1):
            for places in itertools.combinations(range(1, nodes), cuts):
                edges = (0, *places, nodes)
                assignment = tuple(
                    device
                    for device, start, stop in zip(devices, edges, edges[1:], strict=False)
                    for _ in range(start, stop)
                )
                seconds = evaluate(problem, assignment).latency_seconds
                if np.isfinite(seconds) and seconds < best.get(devices, (float('inf'),))[0]:
                    best[devices] = (seconds, assignment)
    ranked = sorted(best.values())[:count]
    return [label_of(model, placement_of(assignment, pipeline.boundaries), pipeline) for _, assignment in ranked]


def label_of(model: Model, placement: Any, pipeline: Pipeline) -> str:
    """Return a placement's label."""
    fleet = pipeline.fleet
    return compose(model, placement, version=1, source=fleet.source, sink=fleet.sink_device).label()


def all_on(model: Model, pipeline: Pipeline, device: str) -> str:
    """Return the label of the plan that runs everything on one device."""
    return label_of(model, ((device, True, ((0, len(model.layers)),)),), pipeline)

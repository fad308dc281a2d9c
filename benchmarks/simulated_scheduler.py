# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler in simulated time around the product's classes, and the run of a whole fleet.

The product's are `FleetEstimator` with its `FleetView`, `EncodingController`, `worth_probing`, `Urgency`, `PlanSwitch`, and
the policy with
its `Calibration`. Simulated is what `nodes.scheduler` adds with ROS. Shadow frames are not run.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

from edge_dnn_partition.control.decision.decide import feasible
from edge_dnn_partition.control.decision.exploration import Hope, Pair, worth_probing
from edge_dnn_partition.control.decision.policy import Conditions, Policy
from edge_dnn_partition.control.decision.policy import Frame as Told
from edge_dnn_partition.control.scheduling.fleet_estimator import FleetEstimator
from edge_dnn_partition.control.scheduling.switch import Activate, Drop, PlanSwitch
from edge_dnn_partition.control.scheduling.urgency import Urgency
from edge_dnn_partition.control.state.derating import DeratingSettings
from edge_dnn_partition.deployment.node_parameters import SCHEDULER
from edge_dnn_partition.execution.frames.admission import frames_at_a_time
from edge_dnn_partition.execution.frames.frame_parts import device_seconds
from edge_dnn_partition.execution.frames.ledger import Frame
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.nodes.scheduling.encoding_controller import EncodingController
from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.sensing.link import LEAST_RATE, LinkEstimate
from edge_dnn_partition.testbed.traces import Capacity

from .simulated_fleet import Simulation, Source, Worker
from .simulated_transport import CHATTER_BYTES, CHATTER_SECONDS, HEARTBEAT_BYTES, PLAN_BYTES, Loop, Wire
from .trace_models import IMAGE_BYTES

DECIDE_SECONDS: Final = 0.01
"""Modelled: what a decision takes."""
PROBING_SHARE: Final = 0.02
PROBE_PERIOD_SECONDS: Final = 0.5
WARM_UP_SECONDS: Final = 8.0
"""The fleet runs for so long before the recording begins."""
_OVERTIME_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 5.0
_PUMP_SECONDS: Final = 0.1
_EXPLORE_SECONDS: Final = 0.5

Assignment = tuple[str, ...]
Capacities = Mapping[tuple[str, str], Capacity]


class Parameters:
    """A scheduler's parameters, as their defaults are but for what is given."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._values = {parameter.name: parameter.default for parameter in SCHEDULER} | dict(given)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def number(self, name: str) -> float:
        """Return a number."""
        return float(self._values[name])

    def whole(self, name: str) -> int:
        """Return a whole number."""
        return int(self._values[name])


class Scheduler:
    """Decides and moves the fleet.

    :param truth: the links' rates, of which it is told before each decision; None: it has only what the fleet measures.
    """

    def __init__(
        self, simulation: Simulation, policy: Policy, parameters: Mapping[str, Any], say: Callable[[Plan, PlanStatus], None],
        truth: Capacities | None = None,
    ) -> None:  # fmt: skip
        params = Parameters(parameters)
        self._simulation, self._policy, self._say, self._truth = simulation, policy, say, truth
        self._fleet_estimator = FleetEstimator(
            simulation.model, simulation.fleet, heartbeat_timeout=params.number('heartbeat_timeout'),
            input_bytes=simulation.image_bytes,
        )  # fmt: skip
        self._view = self._fleet_estimator.view
        for name, view in self._view.devices.items():
            view.profile = simulation.pipeline.profiles[name]
        self._encodings = EncodingController(SimpleNamespace(params=params), self._fleet_estimator.images)
        self._switch = PlanSwitch(scheduler=1, prepare_seconds=params.number('prepare_timeout'))
        self._urgency = Urgency()
        self._goal, self._derating = Goal(), DeratingSettings()
        self._assignment: Assignment | None = None
        self._proposed: Assignment | None = None
        self._failed_until: dict[Assignment, float] = {}
        self._worth: dict[Pair, float] = {}
        self._explored_at = -math.inf
        self._least_gain = params.number('least_gain')
        self.on_worth: Callable[[Mapping[Pair, tuple[float, float]]], None] = lambda _: None
        self.moves: list[tuple[float, str, str]] = []
        """When a plan came into force, what it is and why."""
        simulation.loop.every(params.number('decision_period'), self.decide, first=0.5)

    # What the fleet says --------------------------------------------------------------------------------------

    def heartbeat(self, message: Any) -> None:
        """Take in a heartbeat."""
        now = self._simulation.loop.now
        self._fleet_estimator.links(message, now)
        if message.node == 'worker':
            self._fleet_estimator.worker(message, now)
        self._heard(message.device)

    def ready(self, device: str, plan: Plan) -> None:
        """Take in that a worker has prepared a plan."""
        self._apply(self._switch.ready(device, plan.version, plan.scheduler))

    def report(self, frame: Frame, in_flight: int) -> None:
        """Take in how a frame went."""
        now, active = self._simulation.loop.now, self._switch.active
        message = SimpleNamespace(
            plan_version=frame.plan_version, stages=frame.stages, hops=frame.hops, attempt=frame.attempt, in_flight=in_flight,
            latency_seconds=frame.latency_seconds,
        )  # fmt: skip
        if active is None or not self._fleet_estimator.report(message, active, now):
            return
        if frame.attempt == 0 and in_flight == 1 and self._assignment is not None:
            parts = device_seconds(message, active)
            self._policy.learn(Told(now, self._assignment, frame.latency_seconds, device_seconds=parts))
        self._heard(active.devices[0])

    def _heard(self, device: str) -> None:
        plan, now = self._switch.active, self._simulation.loop.now
        used = set() if plan is None else self._view.used_by(plan.devices)
        concerned = plan is not None and (device in used or any(device == sender for sender, _ in self._worth))
        if concerned and self._urgency.is_due(now, self._signs):
            self.decide()
            self._urgency.took(now + DECIDE_SECONDS, DECIDE_SECONDS)

    def _signs(self) -> Mapping[Any, float]:
        plan = self._switch.active
        return {} if plan is None else self._view.signs(self._simulation.loop.now, plan.devices, self._worth)

    # Deciding -------------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """Decide now, as `nodes.scheduler.Scheduler._decide`."""
        now = self._simulation.loop.now
        if self._truth is not None:
            self._know()
        self._urgency.decided(now, self._signs())
        alive = self._view.alive(now)
        self._apply(self._switch.tick(now))
        for device in self._switch.proposal.devices if self._switch.proposal else ():
            if device not in alive:
                self._apply(self._switch.lost(device))
        ready = self._view.ready(now)
        if self._simulation.source not in ready or self._switch.proposal is not None:
            return
        problem, under = self._problem(ready)
        self._explore(problem, under)
        used = self._switch.active.devices if self._switch.active else ready
        conditions = Conditions(now, problem, math.nan, self._view.deviation(used, now), under=under)
        choice = self._policy.choose(conditions)
        self._policy.maintain(conditions)
        if choice.assignment in (None, self._assignment):
            self._encode_anew(problem, under, conditions.deviation)
        elif self._failed_until.get(choice.assignment, 0.0) <= now and set(choice.assignment) <= set(ready):
            costs = choice.costs or evaluate(under(choice.assignment), choice.assignment)
            self._propose(choice.assignment, costs, choice.reason, conditions.deviation)

    def _explore(self, problem: Problem, under: Callable[[Assignment], Problem]) -> None:
        """Say which links are worth probing, as `nodes.scheduling.ExplorationController`."""
        now, plan = self._simulation.loop.now, self._assignment
        if now - self._explored_at < _EXPLORE_SECONDS or self._truth is not None:
            return
        self._explored_at = now
        there = set(problem.names)
        hopes = {pair: Hope(*hope) for pair, hope in self._view.hopes(now).items() if there.issuperset(pair)}
        usable = hopes and plan is not None and there.issuperset(plan)
        self._worth = worth_probing(problem, plan, under(plan), hopes, self._goal, self._least_gain) if usable else {}  # type: ignore[arg-type]
        self.on_worth({pair: (share, hopes[pair].amount) for pair, share in self._worth.items()})

    def _know(self) -> None:
        """Take the links' true rates for what was measured."""
        assert self._truth is not None
        now = self._simulation.loop.now
        for (sender, reader), capacity in self._truth.items():
            rate = max(capacity.rate_at(now), LEAST_RATE)
            estimate = LinkEstimate(rate, self._simulation.wires[sender, reader].delay, measured=True)
            self._view.link(sender, reader, 0, estimate, 0.0, now)
            for (device, _), endpoint in self._simulation.endpoints.items():
                if device == sender:
                    endpoint.know(reader, rate)

    def _problem(self, ready: tuple[str, ...]) -> tuple[Problem, Callable[[Assignment], Problem]]:
        now = self._simulation.loop.now
        problem = self._fleet_estimator.problem(ready, now, self._encodings.permitted, self._goal, self._derating)
        self._encodings.take(problem, self._fleet_estimator.pipeline.profiles)
        under = self._encodings.under(
            self._fleet_estimator.pipeline, problem, self._view.factors(now), self._switch.active, self._assignment
        )
        return problem, under

    def _encode_anew(self, problem: Problem, under: Callable[[Assignment], Problem], deviation: float) -> None:
        plan, assignment, now = self._switch.active, self._assignment, self._simulation.loop.now
        if plan is None or assignment is None or not feasible(problem, assignment):
            return
        best = self._encodings.anew(self._fleet_estimator.pipeline, problem, plan, self._view.factors(now))
        why = self._encodings.needs_others(plan, assignment, under(assignment), best, self._goal, now)
        if why:
            self._propose(assignment, evaluate(best(), assignment), why, deviation)

    # Moving ---------------------------------------------------------------------------------------------------

    def _propose(self, assignment: Assignment, costs: Costs, reason: str, deviation: float) -> None:
        loop = self._simulation.loop
        plan = self._fleet_estimator.pipeline.plan(assignment, self._switch.next_version())
        plan = replace(
            plan, max_in_flight=frames_at_a_time(len(plan.stages), costs, pipelined=self._goal.pipelined),
            latency_seconds=costs.latency_seconds, latency_deviation=deviation * costs.latency_seconds,
            bottleneck_seconds=costs.bottleneck_seconds, objective=self._goal.name, reason=reason,
        )  # fmt: skip
        proposed = self._switch.propose(self._encodings.encode(plan), loop.now)
        self._proposed = assignment
        loop.at(loop.now + DECIDE_SECONDS, lambda: self._say(proposed, PlanStatus.PROPOSED))

    def _apply(self, outcome: Activate | Drop | None) -> None:
        if outcome is None:
            return
        now, plan = self._simulation.loop.now, outcome.plan
        assert self._proposed is not None
        if isinstance(outcome, Activate):
            self._say(plan, PlanStatus.ACTIVE)
            self._assignment = self._proposed
            self._policy.moved(now, self._assignment)
            self.moves.append((now, plan.label(), plan.reason))
        else:
            self._say(plan, PlanStatus.DROPPED)
            self._failed_until[self._proposed] = now + _RETRY_SECONDS


@dataclass(frozen=True)
class Played:
    """What became of a recording.

    :param frames: when each frame was accepted, in seconds of the recording, and what it took until it ended.
    :param lost: how many of them ended without a result.
    :param moves: when a plan came into force, what it is and why.
    """

    frames: list[tuple[float, float]]
    lost: int
    moves: list[tuple[float, str, str]]


def play(
    pipeline: Pipeline, capacities: Capacities, delays: Mapping[tuple[str, str], float], policy: Policy, *, seconds: float,
    fps: float, informed: bool = False, seed: int = 0, parameters: Mapping[str, Any] | None = None,
    image_bytes: int = IMAGE_BYTES,
) -> Played:  # fmt: skip
    """Let a fleet live through what the links carry.

    :param capacities: of each link, by sender and reader; their time includes `WARM_UP_SECONDS` before the recording.
    :param informed: tell the scheduler and the senders the true rates before each frame, and let it decide then.
    """
    loop = Loop()
    wires = {pair: Wire(capacity, delays[pair]) for pair, capacity in capacities.items()}
    simulation = Simulation(loop, pipeline, wires, image_bytes, seed)

    def say(plan: Plan, status: PlanStatus) -> None:
        source.hear(plan, status)
        for name, worker in workers.items():
            simulation.tell(simulation.source, name, PLAN_BYTES, lambda worker=worker: worker.told(plan, status))  # type: ignore[misc]

    def beat(message: Any) -> None:
        source.alive(message)
        scheduler.heartbeat(message)

    def source_beat(message: Any) -> None:
        workers[simulation.source].endpoint.on_beat(message)
        scheduler.heartbeat(message)

    for number, ((sender, receiver), wire) in enumerate(wires.items()):
        kind = 'from source' if sender == simulation.source else 'to source' if receiver == simulation.source else 'else'
        chat = functools.partial(lambda wire, size: wire.send(loop.now, size), wire, CHATTER_BYTES[kind])
        loop.every(CHATTER_SECONDS, chat, first=number * CHATTER_SECONDS / len(wires))
    scheduler = Scheduler(simulation, policy, parameters or {}, say, capacities if informed else None)
    workers = {
        name: Worker(
            simulation, name, probing_share=0.0 if informed else PROBING_SHARE, probe_period=PROBE_PERIOD_SECONDS,
            on_ready=scheduler.ready, on_beat=beat,
        )
        for name in pipeline.fleet.devices
    }  # fmt: skip

    def explore(worth: Mapping[Pair, tuple[float, float]]) -> None:
        for name, worker in workers.items():
            of_links = {receiver: rates for (sender, receiver), rates in worth.items() if sender == name}
            simulation.tell(simulation.source, name, HEARTBEAT_BYTES,
                            lambda sender=worker.endpoint.sender, worth=of_links: sender.on_exploration(worth, loop.now))  # type: ignore[misc]

    scheduler.on_worth = explore
    source = Source(simulation, fps, scheduler.report)
    source.on_beat = source_beat
    for worker in workers.values():
        worker.on_failure = source.failed
    if informed:
        source.before_image = scheduler.decide
    source.start()
    end = WARM_UP_SECONDS + seconds
    loop.run(end)
    source.stop()
    while source.ledger.unfinished and loop.now < end + _OVERTIME_SECONDS:
        loop.run(loop.now + _PUMP_SECONDS)
    ended = [*source.frames, *((frame.accepted_at, loop.now - frame.accepted_at) for frame in source.ledger.unfinished)]
    frames = [(at - WARM_UP_SECONDS, took) for at, took in ended if at >= WARM_UP_SECONDS]
    return Played(frames, source.ledger.counts.lost, [(at - WARM_UP_SECONDS, *rest) for at, *rest in scheduler.moves])  # type: ignore[misc]

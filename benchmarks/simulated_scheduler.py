# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The product's scheduler (`control.scheduling.scheduler`) in simulated time, and the run of a whole fleet.

Simulated is what `nodes.scheduler` adds with ROS. Shadow frames are not run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policy import Policy
from edge_dnn_partition.control.scheduling.background import Background, Task, TaskQueue
from edge_dnn_partition.control.scheduling.exploration import Hope, Pair
from edge_dnn_partition.control.scheduling.scheduler import FleetScheduler
from edge_dnn_partition.control.scheduling.settings import SchedulerSettings
from edge_dnn_partition.control.scheduling.switch import Activate, Drop, StagePhase
from edge_dnn_partition.execution.frames.ledger import Frame
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import Permitted
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
_FIRST_DECISION_SECONDS: Final = 0.5
_OVERTIME_SECONDS: Final = 10.0
_PUMP_SECONDS: Final = 0.1

Capacities = Mapping[tuple[str, str], Capacity]


class Outlet:
    """Hands over what the scheduler decides.

    :param say: takes a plan to workers and frame source.
    :param explore: takes what is to be probed to the workers: the share of the budget and what is hoped of each.
    """

    def __init__(
        self, loop: Loop, say: Callable[[Plan, PlanStatus], None], explore: Callable[[Mapping[Pair, tuple[float, float]]], None]
    ) -> None:
        self._loop, self._say, self._explore = loop, say, explore
        self.moves: list[tuple[float, str, str]] = []
        """When a plan came into force, what it is and why."""

    def publish_plan(self, plan: Plan, status: PlanStatus, *, shadow: bool = False) -> None:  # noqa: ARG002
        """Hand a plan over; a proposal takes the time of a decision."""
        if status is PlanStatus.PROPOSED:
            self._loop.at(self._loop.now + DECIDE_SECONDS, lambda: self._say(plan, status))
        else:
            self._say(plan, status)

    def publish_exploration(self, shares: Mapping[Pair, float], hopes: Mapping[Pair, Hope]) -> None:
        """Tell the workers what to probe."""
        self._explore({pair: (share, hopes[pair].amount) for pair, share in shares.items()})

    def on_problem(self, problem: Problem, now: float) -> None:
        """Explain nothing."""

    def on_move(self, now: float) -> None:
        """Share no hosts."""

    def on_move_end(self, outcome: Activate | Drop) -> None:
        """Record a plan that came into force."""
        if isinstance(outcome, Activate):
            self.moves.append((self._loop.now, outcome.plan.label(), outcome.plan.reason))

    def others_publish(self) -> bool:
        """Return False: there is one scheduler."""
        return False

    def info(self, text: str) -> None:
        """Log nothing."""

    def warn(self, kind: str, text: str) -> None:
        """Log nothing."""

    def refuse(self, kind: str, text: str) -> None:
        """Fail: a simulated fleet says nothing that is refused."""
        raise RuntimeError(f'{kind}: {text}')


class SimulatedBackground(Background):
    """Does all work at once, in simulated time.

    :param clock: returns the simulated time at which work that begins now is done.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def now(self) -> float:
        """Return the simulated time."""
        return self._clock()

    def processor_seconds(self) -> float:
        """Return 0: simulated work takes no processor time."""
        return 0.0

    def run(self, work: Callable[[], Any], name: str) -> Future[Any]:  # noqa: ARG002
        """Do work at once."""
        future: Future[Any] = Future()
        future.set_result(work())
        return future

    def task_queue(self, run: Callable[[Task], None], name: str) -> TaskQueue:  # noqa: ARG002
        """Return a queue that runs each task at once."""
        return InstantQueue(run)


class InstantQueue(TaskQueue):
    """Runs each task in the caller's thread, when it is put."""

    def __init__(self, run: Callable[[Task], None]) -> None:
        self.put = run

    def close(self, seconds: float) -> None:
        """Do nothing: all tasks are done."""


class InformedScheduler(FleetScheduler):
    """Is told the links' true rates before each decision, and so has nothing probed."""

    capacities: Capacities
    simulation: Simulation

    def decide(self, now: float) -> None:
        """Use the links' true rates instead of what was measured."""
        for (sender, reader), capacity in self.capacities.items():
            rate = max(capacity.rate_at(now), LEAST_RATE)
            estimate = LinkEstimate(rate, self.simulation.wires[sender, reader].delay, measured=True)
            self.view.on_link(sender, reader, 0, estimate, 0.0, now)
            for (device, _), endpoint in self.simulation.endpoints.items():
                if device == sender:
                    endpoint.know(reader, rate)
        super().decide(now)

    def _explore(self, problem: Problem, now: float) -> None:
        pass


def settings_of(parameters: Mapping[str, Any]) -> SchedulerSettings:
    """Return a scheduler's settings, at their defaults but for some parameters, by the names that these have."""
    given, permitted = dict(parameters), Permitted()
    names = Permitted(tuple(given.pop('encodings', permitted.names)), given.pop('largest_error', permitted.largest_error))
    decide = {name: given.pop(name) for name in ('least_gain', 'dwell_seconds', 'confirmations') if name in given}
    return SchedulerSettings(permitted=names, decide=Settings(**decide), **given)


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
        scheduler.on_heartbeat(message, loop.now)

    def source_beat(message: Any) -> None:
        workers[simulation.source].endpoint.on_beat(message)
        scheduler.on_heartbeat(message, loop.now)

    def ready(device: str, plan: Plan) -> None:
        state = SimpleNamespace(state=StagePhase.READY, device=device, plan_version=plan.version, scheduler=plan.scheduler)
        scheduler.mover.on_stage(state, loop.now)

    def report(frame: Frame, in_flight: int) -> None:
        scheduler.on_report(SimpleNamespace(
            plan_version=frame.plan_version, stages=frame.stages, hops=frame.hops, attempt=frame.attempt, in_flight=in_flight,
            latency_seconds=frame.latency_seconds, status=0, shadow=False,
        ), loop.now)  # fmt: skip

    def explore(worth: Mapping[Pair, tuple[float, float]]) -> None:
        for name, worker in workers.items():
            of_links = {receiver: rates for (sender, receiver), rates in worth.items() if sender == name}
            simulation.tell(simulation.source, name, HEARTBEAT_BYTES,
                            lambda sender=worker.endpoint.sender, worth=of_links: sender.on_exploration(worth, loop.now))  # type: ignore[misc]

    for number, ((sender, receiver), wire) in enumerate(wires.items()):
        kind = 'from source' if sender == simulation.source else 'to source' if receiver == simulation.source else 'else'
        chat = functools.partial(lambda wire, size: wire.send(loop.now, size), wire, CHATTER_BYTES[kind])
        loop.every(CHATTER_SECONDS, chat, first=number * CHATTER_SECONDS / len(wires))
    outlet = Outlet(loop, say, explore)
    settings = settings_of({'input_bytes': simulation.image_bytes} | dict(parameters or {}))
    kind_of = InformedScheduler if informed else FleetScheduler
    scheduler = kind_of(
        simulation.model, simulation.fleet, settings, outlet, incarnation=1, policy=policy,
        background=SimulatedBackground(lambda: loop.now + DECIDE_SECONDS),
    )  # fmt: skip
    if isinstance(scheduler, InformedScheduler):
        scheduler.simulation, scheduler.capacities = simulation, capacities
    for name, view in scheduler.view.devices.items():
        view.profile = pipeline.profiles[name]
    scheduler.start(loop.now)
    loop.every(settings.decision_period, lambda: scheduler.decide(loop.now), first=_FIRST_DECISION_SECONDS)
    workers = {
        name: Worker(
            simulation, name, probing_share=0.0 if informed else PROBING_SHARE, probe_period=PROBE_PERIOD_SECONDS,
            on_ready=ready, on_beat=beat,
        )
        for name in pipeline.fleet.devices
    }  # fmt: skip

    source = Source(simulation, fps, report)
    source.on_beat = source_beat
    for worker in workers.values():
        worker.on_failure = source.failed
    if informed:
        source.before_image = lambda: scheduler.decide(loop.now)
    source.start()
    end = WARM_UP_SECONDS + seconds
    loop.run(end)
    source.stop()
    while source.ledger.unfinished and loop.now < end + _OVERTIME_SECONDS:
        loop.run(loop.now + _PUMP_SECONDS)
    ended = [*source.frames, *((frame.accepted_at, loop.now - frame.accepted_at) for frame in source.ledger.unfinished)]
    frames = [(at - WARM_UP_SECONDS, took) for at, took in ended if at >= WARM_UP_SECONDS]
    return Played(frames, source.ledger.counts.lost, [(at - WARM_UP_SECONDS, *rest) for at, *rest in outlet.moves])  # type: ignore[misc]

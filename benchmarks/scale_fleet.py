# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Large fleets without processes: the scheduler's own code, fed with what so many devices would say.

What a scheduler does, four times a second, is: look up what is believed of links and devices (`FleetView`), make the
planning problem of it (`Pipeline.problem`, with the lossless encodings), and let the policy decide (`auto`, the default,
which solves the problem, and tends what it would learn from). Between two decisions it takes in heartbeats. All of that
is the real code; profiles, rates and sizes are made up from a seed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np

from edge_dnn_partition.control.decision.auto import AutoPolicy
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policy import Conditions
from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.graph.work import layer_operations
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet, Link
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import Permitted, TensorCoding
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate
from edge_dnn_partition.testbed import demo_model

SEED: Final = 5
SHAPES: Final = ('hubs', 'mesh')
"""hubs: each device has links to eight servers; mesh: to every other device."""

HUBS: Final = 8
DECISIONS_PER_SECOND: Final = 4.0
WORKER_BEATS: Final = 10.0
MONITOR_BEATS: Final = 2.0
SOURCE_BEATS: Final = 5.0
INPUT_BYTES: Final = 60_000.0

# Messages a second that a scheduler hears: of a device a worker's and a monitor's heartbeats and telemetry; of the
# stream the frame source's heartbeats and a report of each frame.
HEARD_OF_A_DEVICE: Final = WORKER_BEATS + 2 * MONITOR_BEATS
FPS: Final = 5.0
_SERVERS: Final = 8  # that streams share
_SERVER_CORES: Final = 16.0


@dataclass
class Ground:
    """A network, and what it takes on this fleet's kind of device."""

    model: Model
    profile: Profile


def ground() -> Ground:
    """Return the demo's network with a profile that follows its arithmetic (30 ms in all), encodings included."""
    model = load_model(demo_model.cached('demo'))
    boundaries = tuple(candidate_boundaries(model, limit=20))
    work = np.array(layer_operations(model))
    parts = np.array([work[a:b].sum() for a, b in itertools.pairwise(boundaries)])
    seconds = np.maximum(0.03 * parts / parts.sum(), 1e-4)
    names = {name for layer in model.layers for name in layer.outputs} | set(model.inputs)
    codings = tuple(
        TensorCoding(name, encoding, int(model.tensors[name].bytes * share), model.tensors[name].bytes / speed,
                     model.tensors[name].bytes / (2 * speed))
        for name in sorted(names) for encoding, share, speed in (('zstd', 0.7, 2e8), ('lz4', 0.8, 5e8))
    )  # fmt: skip
    profile = Profile(
        model_sha256=model.sha256, device='host', provider='CPUExecutionProvider', threads=1, boundaries=boundaries,
        segment_seconds=tuple(seconds.tolist()), seam_seconds=(0.0,) * (len(boundaries) - 2), preprocess_seconds=0.004,
        codings=codings,
    )  # fmt: skip
    return Ground(model, profile)


class Simulated:
    """One scheduler's fleet.

    :param shape: of :data:`SHAPES`.
    """

    def __init__(self, ground: Ground, devices: int, shape: str, seed: int) -> None:
        rng = np.random.default_rng([SEED, devices, seed])
        names = [f'd{i}' for i in range(devices)]
        self.servers = names[1 : 1 + HUBS]
        if shape == 'mesh':
            pairs = list(itertools.combinations(names, 2))
        else:
            robots = [name for name in names if name not in self.servers]
            pairs = [*itertools.combinations(self.servers, 2), *itertools.product(robots, self.servers)]
        rates = 10 ** rng.uniform(6.0, 7.5, len(pairs)) / 8
        self.links = dict(zip(pairs, rates.tolist(), strict=True))
        # The schema's own check of every key would take longer than all that is measured here.
        self.fleet = Fleet.model_construct(
            fleet='scale', source='d0', sink=None, objective='latency', devices={name: Device() for name in names},
            links=tuple(Link.model_construct(between=pair, rate=rate, delay=0.002, channel=None, emulate=False)
                        for pair, rate in self.links.items()),
        )  # fmt: skip
        slow = dict(zip(names, (10 ** rng.uniform(0.0, 1.0, devices)).tolist(), strict=True))
        slow['d0'] = 10.0
        slow |= {name: min(slow[name], 2.0) for name in self.servers}
        self.profiles = {name: ground.profile.scaled(factor) for name, factor in slow.items()}
        self.view = FleetView(self.fleet)
        for name, profile in self.profiles.items():
            self.view.devices[name].profile = profile
        self.pipeline = Pipeline(ground.model, self.profiles, self.fleet)
        self.policy = AutoPolicy(Settings())
        self.peers: dict[str, list[tuple[str, float]]] = {name: [] for name in names}
        for (a, b), rate in self.links.items():
            self.peers[a].append((b, rate))
            self.peers[b].append((a, rate))
        self.rng = rng
        self.slowed: dict[str, float] = {}

    def hear(self, now: float) -> None:
        """Take in one heartbeat of each device's worker, as the scheduler does."""
        for number, (name, peers) in enumerate(self.peers.items(), 1):
            for peer, rate in peers:
                self.view.on_link(name, peer, number, LinkEstimate(rate, 0.002, measured=True), 0.1, now)
            self.view.on_heartbeat(name, number, self.slowed.get(name, 1.0), now)

    def describe(self, now: float) -> Any:
        """Return the planning problem of this moment."""
        return self.pipeline.problem(
            devices=self.view.ready(now), factors=self.view.factors(now),
            preprocessing_factors=self.view.preprocessing_factors(now), links=self.view.links(),
            input_bytes=INPUT_BYTES, permitted=Permitted(),
        )  # fmt: skip

    def decide(self, now: float) -> Any:
        """Return the problem, and what the policy says of it; a move is made at once, and the policy tends its affairs."""
        problem = self.describe(now)
        conditions = Conditions(now, problem)
        choice = self.policy.choose(conditions)
        if choice.assignment is not None:
            self.policy.moved(now, choice.assignment)
        self.policy.maintain(conditions)
        return problem, choice


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    value = call()
    return time.process_time() - begin, value


def one_fleet(ground: Ground, devices: int, shape: str, *, rounds: int) -> dict[str, Any]:
    """Return what a scheduler of one stream takes in CPU seconds, the medians of some rounds, in turns."""
    made, fleet = _timed(lambda: Simulated(ground, devices, shape, 0))
    times: dict[str, list[float]] = {key: [] for key in ('hear', 'describe', 'plan', 'decide')}
    for i in range(rounds + 1):
        now = i / DECISIONS_PER_SECOND
        hear, _ = _timed(lambda now=now: fleet.hear(now))
        describe, problem = _timed(lambda now=now: fleet.describe(now))
        plan, solution = _timed(lambda problem=problem: solve(problem))
        decide, (_, choice) = _timed(lambda now=now: fleet.decide(now))
        del choice
        if i:  # the first round's imports and tables are not the usual case
            for key, value in (('hear', hear), ('describe', describe), ('plan', plan), ('decide', decide)):
                times[key].append(value)
    found = {f'{key}_seconds': median(values) for key, values in times.items()}
    found['decide_longest_seconds'] = max(times['decide'])  # every two seconds candidates are looked at again
    # A heartbeat names the links that its worker has measured, so hearing grows with the links.
    share = found['hear_seconds'] * WORKER_BEATS + found['decide_seconds'] * DECISIONS_PER_SECOND
    return {
        'case': 'fleet', 'shape': shape, 'devices': devices, 'links': 2 * len(fleet.links), 'rounds': rounds,
        'build_seconds': made, **found, 'cores_at_4_decisions': share, 'optimal': solution.optimal,
        'messages_per_second': HEARD_OF_A_DEVICE * devices + SOURCE_BEATS + FPS,
    }  # fmt: skip


def streams(ground: Ground, count: int, *, seconds: float) -> dict[str, Any]:
    """Return what happens where many streams, each with a scheduler of its own, share eight servers of 16 cores.

    Each robot plans for itself, four times a second, and knows of the others only that a server takes longer: by the
    load of a moment ago, over its cores, where that is above one. Whether they calm down is the question.

    :param count: robots, one stream each at `FPS`.
    """
    fleets = [Simulated(ground, 1 + _SERVERS, 'hubs', seed) for seed in range(count)]
    slow = {name: 1.0 + 0.2 * i for i, name in enumerate(fleets[0].servers)}
    for fleet in fleets:  # all robots share the same servers
        for name, factor in slow.items():
            fleet.view.devices[name].profile = fleet.profiles[name] = ground.profile.scaled(factor)
        fleet.pipeline = Pipeline(ground.model, fleet.profiles, fleet.fleet)
    load = dict.fromkeys(slow, 0.0)
    spent: list[float] = []
    course = []
    for step in range(int(seconds * DECISIONS_PER_SECOND)):
        now = step / DECISIONS_PER_SECOND
        seen = {name: max(1.0, value / _SERVER_CORES) for name, value in load.items()}
        load = dict.fromkeys(slow, 0.0)
        moved, latency = 0, []
        for number, fleet in enumerate(fleets):
            fleet.slowed = seen
            # Robots do not decide in the same instant: what one does the next one sees, a fleet's whole round later.
            at = now + number / (count * DECISIONS_PER_SECOND)
            fleet.hear(at)
            before = fleet.policy.present
            taken, (problem, _) = _timed(lambda fleet=fleet, at=at: fleet.decide(at))
            spent.append(taken)
            plan = fleet.policy.present
            assert plan is not None
            moved += before is not None and plan != before
            for name, busy in _busy(problem, plan).items():
                if name in load:
                    load[name] += FPS * busy / seen[name]
            latency.append(_latency(problem, plan))
        course.append((now, moved, float(np.mean(latency)), max(load.values()) / _SERVER_CORES))
    settled = [row for row in course if row[0] >= 0.75 * seconds]
    return {
        'case': 'streams', 'streams': count, 'servers': _SERVERS, 'cores_of_a_server': _SERVER_CORES, 'seconds': seconds,
        'decide_seconds': median(spent), 'decide_p95_seconds': float(np.percentile(spent, 95)),
        'cores_at_4_decisions': median(spent) * DECISIONS_PER_SECOND * count,
        'messages_per_second': count * (HEARD_OF_A_DEVICE * (1 + _SERVERS) + SOURCE_BEATS + FPS),
        'moves_per_stream': sum(row[1] for row in course) / count,
        'moves_per_stream_and_minute_settled': sum(row[1] for row in settled) / count / (0.25 * seconds) * 60,
        'mean_latency_seconds_settled': float(np.mean([row[2] for row in settled])),
        'busiest_server_settled': float(np.mean([row[3] for row in settled])),
        'course': [{'at': at, 'moved': moved, 'mean_latency_seconds': lat, 'busiest': busy} for at, moved, lat, busy in course],
    }  # fmt: skip


def _busy(problem: Any, plan: Sequence[str]) -> Mapping[str, float]:
    from edge_dnn_partition.planning.cost_model.evaluate import loads

    seconds = loads(problem, problem.indices(plan)).device_seconds
    return dict(zip(problem.names, seconds.tolist(), strict=True))


def _latency(problem: Any, plan: Sequence[str]) -> float:
    from edge_dnn_partition.planning.cost_model.evaluate import evaluate

    return float(evaluate(problem, plan).latency_seconds)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of a straight line through the logarithms: 1 grows in proportion, 2 with the square."""
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


def fleets(ground: Ground, sizes: Mapping[str, Sequence[int]], progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield a row for each shape and size."""
    for shape, numbers in sizes.items():
        for devices in numbers:
            links = devices * (HUBS if shape == 'hubs' else devices)
            row = one_fleet(ground, devices, shape, rounds=3 if links > 50_000 else 9)
            progress(f'{devices} devices, {shape}: plan {row["plan_seconds"] * 1e3:.1f} ms, '
                     f'decision {row["decide_seconds"] * 1e3:.1f} ms')  # fmt: skip
            yield row

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the plans of a cell on a fleet in real processes, frame by frame: the next image comes when the result is there.

A plan that a frame takes long under gets fewer frames; one whose frame is predicted to take over `COMPOSED_SECONDS` is not
run but composed of what was measured: its stages' seconds and what bytes take on that link (see `compose_missing`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.planning.cost_model.evaluate import loads
from edge_dnn_partition.planning.plans.encodings import LOSSLESS, RAW
from edge_dnn_partition.planning.plans.plan import IMAGE

from .grid_plans import CLOUD, SOURCE, Choice, Conditions, Planner, wire_bytes
from .intervals import interval, ratio_interval

if TYPE_CHECKING:
    from edge_dnn_partition.cli.testbed import Testbed

COMPOSED_SECONDS: Final = 8.0
_BUDGET_SECONDS: Final = 1.2
_LEAST: Final = 2
_MOST: Final = 8
_AGAIN_SECONDS: Final = 2.0
_TURNS: Final = 2
"""So often the best fixed plan and this system are run again, one after the other, where a frame takes less than that."""
_CALM_SECONDS: Final = 2.6
"""A plan that has stayed so long is taken for settled: the scheduler's dwell time and its confirmations are over."""
_PATIENT_SECONDS: Final = 14.0

Row = dict[str, Any]

STYLES: Final = {
    'all_on_source': ('s', 'tab:blue'), 'all_on_cloud': ('^', 'tab:red'), 'cloud_tensor': ('v', 'tab:pink'),
    'neurosurgeon': ('D', 'tab:purple'), 'dads': ('P', 'tab:olive'),
}  # fmt: skip


class Bench:
    """Drives one fleet whose camera is ours.

    :param testbed: a testbed that runs.
    :param image: what each frame shows.
    """

    def __init__(self, testbed: Testbed, image: CameraImage) -> None:
        from edge_dnn_partition.msg import Result

        from edge_dnn_partition.nodes.core import qos

        self.testbed = testbed
        self.client = testbed.client
        self.image = image
        fleet = testbed.fleet
        topic = f'/{fleet.fleet}/{fleet.source}/{fleet.camera.topic}'
        self._publish = self.client.camera(topic, compressed=fleet.camera.compressed)
        self._results: dict[int, Any] = {}
        self.client.node.create_subscription(Result, self.client.topics.result, self._take, qos.RESULT)
        self.client.wait_for(self._shown, 60.0, 'a result of a first image')

    def _shown(self) -> bool:
        """Show images until a result comes: the first ones may find nobody who listens."""
        try:
            self.shoot(1.0)
        except UserError:
            return bool(self._results)
        return True

    def _take(self, message: Any) -> None:
        stamp = message.header.stamp
        self._results[stamp.sec * 1_000_000_000 + stamp.nanosec] = message

    def shoot(self, patience_seconds: float = 60.0) -> Any:
        """Show an image and return its result.

        :raises UserError: if none comes in time.
        """
        stamp = self._publish(self.image)
        self.client.wait_for(lambda: stamp in self._results, patience_seconds, 'a result')
        return self._results.pop(stamp)

    def conditions(self, cell: Conditions, slowdowns: Mapping[str, float]) -> None:
        """Put a cell's link and slowdowns in force.

        :param slowdowns: those of the testbed's file.
        """
        self.testbed.set_rate(SOURCE, CLOUD, cell.rate * 1e6)
        for name, slowdown in slowdowns.items():
            self.testbed.set_load(name, cell.slowdowns[name] / slowdown)

    def follow(self, choice: Choice) -> None:
        """Make the fleet follow a fixed plan."""
        encodings = [RAW] if choice.raw else list(LOSSLESS)
        client = self.client
        client.set_scheduler({'encodings': encodings, 'policy': 'fixed', 'fixed_plan': choice.label})

        def there() -> bool:
            plan = client.plan
            if plan is None or plan.label() != choice.label:
                return False
            coded = [t.encoding for t in plan.transfers if t.tensor != IMAGE and t.from_device != t.to_device]
            return not choice.raw or all(encoding == RAW for encoding in coded)

        client.wait_for(there, 40.0, choice.label)

    def free(self, encodings: Sequence[str] = LOSSLESS) -> None:
        """Let the scheduler choose."""
        self.client.set_scheduler({'encodings': list(encodings), 'policy': 'auto', 'fixed_plan': ''})

    def settle(self) -> float:
        """Show images until the plan stays; return how long that took (seconds)."""
        begin = since = time.monotonic()
        plan, shots = self.client.plan, 0
        while time.monotonic() - begin < _PATIENT_SECONDS:
            self.shoot()
            shots += 1
            if self.client.plan != plan:
                plan, since, shots = self.client.plan, time.monotonic(), 0
            if time.monotonic() - since >= _CALM_SECONDS and shots >= 2:
                break
        return since - begin

    def frames(self, expected_seconds: float) -> list[Any]:
        """Return the results of a few frames, more where they are quick; none if one does not come."""
        count = int(np.clip(_BUDGET_SECONDS / expected_seconds, _LEAST if expected_seconds < 3 else 1, _MOST))
        try:
            if expected_seconds < 1.0:
                self.shoot()  # the first run of a stage finds cold caches
            return [self.shoot(15 + 3 * expected_seconds) for _ in range(count)]
        except UserError:
            return []


def row_of(results: Sequence[Any], watts: Mapping[str, float], rate_mbit: float) -> Row:
    """Return latency, frames per second one at a time, and modelled joules at the source of some frames.

    :param watts: idle, active, radio; of the source.
    """
    latency = [r.latency_seconds for r in results]
    joules = {kind: statistics.mean(_joules(r, watts, rate_mbit)[kind] for r in results) for kind in watts}
    return {
        'frames': len(latency), 'p50_seconds': statistics.median(latency), 'p95_seconds': float(np.percentile(latency, 95)),
        'seconds': [round(value, 6) for value in latency], 'p50_interval': interval(latency),
        'fps': 1 / statistics.mean(latency), 'joules': joules, 'repeated': sum(r.attempt > 0 for r in results),
        'composed': False,
    }  # fmt: skip


def _joules(result: Any, watts: Mapping[str, float], rate_mbit: float) -> dict[str, float]:
    busy = sum(s.decode_seconds + s.run_seconds for s in result.stages if s.device == SOURCE)
    air = sum(hop.size for hop in result.hops if hop.sender != hop.receiver) * 8 / (rate_mbit * 1e6)
    return {'idle': watts['idle'] * result.latency_seconds, 'active': watts['active'] * busy, 'radio': watts['radio'] * air}


def hops_of(results: Sequence[Any], rate_mbit: float) -> list[Row]:
    """Return what each frame spent on links: bytes, number of hops, seconds that no stage accounts for."""
    rows = []
    for result in results:
        crossing = [hop for hop in result.hops if hop.sender != hop.receiver]
        if crossing and not result.attempt:
            inside = sum(s.queue_seconds + s.decode_seconds + s.run_seconds for s in result.stages)
            rows.append({'rate': rate_mbit, 'bytes': sum(hop.size for hop in crossing), 'hops': len(crossing),
                         'seconds': result.latency_seconds - inside - sum(hop.encode_seconds for hop in crossing)})  # fmt: skip
    return rows


def run_cell(
    bench: Bench, planner: Planner, cell: Conditions, watts: Mapping[str, float], *, turn: int = 0,
    planned_for: Conditions | None = None, known: Mapping[tuple[str, bool], Row] | None = None,
    encodings: Sequence[str] = LOSSLESS,
) -> tuple[Row, list[Row]]:  # fmt: skip
    """Run the baselines, the oracle's candidates and this system; return a row, and what was seen of the links.

    :param turn: rotates the order of the fixed plans.
    :param planned_for: what Neurosurgeon and DADS are planned for, once; the cell itself if None.
    :param known: rows of plans that no link is in, which have been measured under these slowdowns already.
    :param encodings: that this system may use.
    """
    bench.conditions(cell, planner.nominal)
    baselines = planner.baselines(cell, planned_for or cell)
    candidates, front = planner.oracle(cell)
    choices = {choice.key: choice for choice in (*baselines.values(), *candidates)}
    order = list(choices)
    order = order[turn % len(order) :] + order[: turn % len(order)]
    rows: dict[tuple[str, bool], Row] = {key: dict(row) for key, row in (known or {}).items() if key in choices}
    ladder: list[Row] = []
    seen: dict[tuple[str, bool], list[Any]] = {}
    for key in order:
        if key in rows:
            continue
        choice = choices[key]
        seconds = choice.predicted.latency_seconds
        if seconds > COMPOSED_SECONDS:
            rows[key] = _parts(planner, cell, choice)
            continue
        bench.follow(choice)
        results = bench.frames(seconds)
        seen[key] = results
        rows[key] = row_of(results, watts, cell.rate) if results else {**_parts(planner, cell, choice), 'failed': True}
        ladder += hops_of(results, cell.rate)
    bench.free(encodings)
    settled = bench.settle()
    plan = bench.client.plan
    assert plan is not None
    expected = plan.latency_seconds if np.isfinite(plan.latency_seconds) else 1.0
    results = bench.frames(expected)
    if not results:
        raise UserError(f'no result came under {plan.label()}, which the scheduler chose')
    best = min((key for key in rows if not rows[key]['composed']), key=lambda key: rows[key]['p50_seconds'], default=None)
    for _ in range(_TURNS if best is not None and best in seen and rows[best]['p50_seconds'] < _AGAIN_SECONDS else 0):
        # What disturbs the machine comes and goes: the plan that this system is held against ran before it, runs after it,
        # and this system once more after that, in turns.
        assert best is not None
        bench.follow(choices[best])
        seen[best] += bench.frames(rows[best]['p50_seconds'])
        rows[best] = row_of(seen[best], watts, cell.rate)
        bench.free(encodings)
        bench.settle()
        if bench.client.plan is not None and bench.client.plan.label() == plan.label():
            results += bench.frames(expected)
    adaptive = {
        **row_of(results, watts, cell.rate), 'plan': plan.label(), 'settled_seconds': settled,
        'encodings': sorted({t.encoding for t in plan.transfers if t.tensor != IMAGE} - {RAW}),
        'plans_seen': len({r.plan_version for r in results}),
    }  # fmt: skip
    ladder += hops_of(results, cell.rate)
    for key, row in rows.items():
        row |= {'plan': choices[key].label, 'raw': choices[key].raw, 'interior': choices[key].interior,
                'predicted_seconds': choices[key].predicted.latency_seconds}  # fmt: skip
    return {
        'rate': cell.rate, 'slowdowns': dict(cell.slowdowns), 'image_bytes': cell.image_bytes, 'front': front,
        'baselines': {name: rows[choice.key] for name, choice in baselines.items()},
        'oracle': [rows[choice.key] for choice in candidates], 'adaptive': adaptive,
    }, ladder  # fmt: skip


def _parts(planner: Planner, cell: Conditions, choice: Choice) -> Row:
    """Return the parts that a plan is composed of later: seconds on devices, and bytes on the link."""
    problem = planner.problem(cell, raw=choice.raw)
    busy = loads(problem, problem.indices(choice.assignment)).device_seconds
    ends = [SOURCE, *choice.assignment, SOURCE]
    return {
        'composed': True, 'frames': 0, 'device_seconds': dict(zip(problem.names, busy.tolist(), strict=True)),
        'bytes': wire_bytes(problem, choice.assignment), 'hops': sum(a != b for a, b in zip(ends, ends[1:], strict=False)),
    }  # fmt: skip


def fit_links(ladder: Sequence[Row]) -> dict[float, tuple[float, float]]:
    """Return by rate what a hop and what a byte takes (seconds), by least squares over the frames that were run."""
    found = {}
    for rate in sorted({row['rate'] for row in ladder}):
        rows = [row for row in ladder if row['rate'] == rate]
        left = np.array([[row['hops'], row['bytes'] * 8 / (rate * 1e6)] for row in rows])
        weights = 1 / np.array([row['seconds'] for row in rows]).clip(1e-3)
        solution, *_ = np.linalg.lstsq(left * weights[:, None], np.ones(len(rows)), rcond=None)
        nominal = 8 / (rate * 1e6)  # on a quick link what bytes take drowns in what else a hop takes
        found[rate] = (max(float(solution[0]), 0.0), float(solution[1]) * nominal if solution[1] > 0 else nominal)
    return found


def compose_missing(cells: Sequence[Row], links: Mapping[float, tuple[float, float]], watts: Mapping[str, float]) -> int:
    """Fill in the rows of plans that were not run; return how many."""
    done = 0
    for cell in cells:
        rows = [*cell['baselines'].values(), *cell['oracle']]
        per_hop, per_byte = links.get(cell['rate'], (0.01, 8 / (cell['rate'] * 1e6)))
        for row in rows:
            if row['composed'] and 'p50_seconds' not in row:
                on_link = row['hops'] * per_hop + row['bytes'] * per_byte
                seconds = sum(row['device_seconds'].values()) + on_link
                air = row['bytes'] * 8 / (cell['rate'] * 1e6)
                row |= {'p50_seconds': seconds, 'p95_seconds': seconds, 'fps': 1 / seconds, 'repeated': 0, 'joules': {
                    'idle': watts['idle'] * seconds, 'active': watts['active'] * row['device_seconds'][SOURCE],
                    'radio': watts['radio'] * air}}  # fmt: skip
                done += 1
    return done


def summary(cell: Mapping[str, Any]) -> Row:
    """Return what a cell comes to: the best fixed split, this system over it, and over each baseline.

    ``chosen_over_oracle`` is what the plan that this system chose took when it was run as a fixed plan, where it was: the two
    differ by what disturbed the machine meanwhile.
    """
    fixed = [*cell['oracle'], *cell['baselines'].values()]
    best = min(fixed, key=lambda row: row['p50_seconds'])
    mine = cell['adaptive']['p50_seconds']
    chosen = [row['p50_seconds'] for row in fixed if row['plan'] == cell['adaptive']['plan']]
    return {
        'best_seconds': best['p50_seconds'], 'best_plan': best['plan'], 'interior_wins': best['interior'],
        'over_oracle': mine / best['p50_seconds'],
        'over_oracle_interval': ratio_interval(cell['adaptive']['seconds'], best.get('seconds') or [best['p50_seconds']]),
        'chosen_over_oracle': min(chosen) / best['p50_seconds'] if chosen else None,
        'speedup': {name: row['p50_seconds'] / mine for name, row in cell['baselines'].items()},
    }  # fmt: skip


def note(say: Callable[[str], None], name: str, row: Row) -> None:
    """Say in a line how a cell went."""
    def milliseconds(entry: Row) -> str:
        return f'{entry["p50_seconds"] * 1e3:.0f}' if 'p50_seconds' in entry else 'composed'

    rivals = ', '.join(f'{key} {milliseconds(entry)}' for key, entry in row['baselines'].items())
    oracle = ', '.join(milliseconds(entry) for entry in row['oracle'])
    say(f'{name}, {row["rate"]:g} Mbit/s: adaptive {milliseconds(row["adaptive"])} ms ({row["adaptive"]["plan"]}); {rivals}; '
        f'best of {row["front"]}: {oracle}')  # fmt: skip

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Exact planning, Q-learning and their rivals in a simulated fleet, with and without what telemetry does not show.

Every policy is tuned with the same number of draws on the same fleets (:mod:`.policy_tuning`), then all meet the same 20
courses of events per scenario. Intervals are 95 % bootstrap intervals over seeds, of paired differences where two policies
are compared. Latencies are without measurement noise; waiting, switching and shadow frames are in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.control.decision.policy import FixedPolicy
from edge_dnn_partition.planning.cost_model.problem import Floats

from .intervals import mean_and_interval
from .policy_fleet import EFFECTS, Scenario, SimulatedFleet
from .policy_measures import Measures, measure
from .policy_oracle import fixed_seconds, oracle_seconds, plan_pool
from .policy_run import run as play
from .policy_tuning import KINDS, tune, tuning_fleets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = list[dict[str, Any]]

BANDITS: Final = ('discounted bandit', 'sliding-window bandit', 'ElasticROS kind')
FIXED: Final = 'best fixed'
FIELDS: Final = ('mean_seconds', 'over_oracle', 'regret_seconds', 'recovery_frames', 'near_share')
CURVE_STEP: Final = 20


def scenarios(frames: int) -> list[Scenario]:
    """Return the scenarios: nothing hidden, each effect alone, all of them."""
    return [
        Scenario('nothing hidden', (), frames=frames),
        *(Scenario(effect, (effect,), frames=frames) for effect in EFFECTS),
        Scenario('all', EFFECTS, frames=frames),
    ]


class _Table:
    """Measures by scenario, policy and seed; of each policy the mean course of its regret."""

    def __init__(self) -> None:
        self.measures: dict[tuple[str, str], list[Measures]] = {}
        self.counts: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        self.curves: dict[tuple[str, str], Floats] = {}

    def add(self, scenario: str, policy: str, found: Measures, counts: tuple[float, float, float], regret: Floats) -> None:
        key = scenario, policy
        self.measures.setdefault(key, []).append(found)
        self.counts.setdefault(key, []).append(counts)
        self.curves[key] = self.curves.get(key, np.zeros(len(regret))) + regret

    def values(self, scenarios: list[str], policy: str, field: str) -> list[float]:
        """Return one value per seed: the mean over scenarios."""
        rows = [[float(getattr(m, field)) for m in self.measures[s, policy]] for s in scenarios]
        return [float(v) for v in np.mean(rows, axis=0)]


def _compare(frames: int, seeds: int, tuned: dict[str, dict[str, float]], progress: Callable[[str], None]) -> _Table:
    table = _Table()
    for scenario in scenarios(frames):
        for seed in range(seeds):
            fleet = SimulatedFleet(scenario, seed)
            traces = {kind.name: play(fleet, kind.make(tuned[kind.name], seed)) for kind in KINDS}
            pool = plan_pool(fleet, {plan for trace in traces.values() for plan in trace.plans})
            oracle = oracle_seconds(fleet, pool)
            fixed = fixed_seconds(fleet, pool)
            courses = {name: trace.seconds for name, trace in traces.items()}
            courses[FIXED] = fixed[fixed.mean(axis=1).argmin()]
            for name, seconds in courses.items():
                trace = traces.get(name)
                counts = (
                    (float(trace.switches), trace.shadows / frames, float(trace.learning.mean())) if trace else (0.0, 0.0, 0.0)
                )
                regret = np.cumsum(seconds - oracle)[CURVE_STEP - 1 :: CURVE_STEP]
                table.add(scenario.name, name, measure(seconds, oracle, fleet.changes), counts, regret)
        over = {name: np.mean(table.values([scenario.name], name, 'over_oracle')) for name in (*tuned, FIXED)}
        progress(f'{scenario.name}: latency over the oracle ' + ', '.join(f'{n} {v:.3f}' for n, v in over.items()))
    return table


def _rows(table: _Table, groups: dict[str, list[str]], names: list[str], seeds: int) -> Results:
    rows: Results = []
    for label, members in groups.items():
        for name in names:
            row: dict[str, Any] = {'case': 'policy', 'scenario': label, 'policy': name, 'seeds': seeds}
            for field in FIELDS:
                mean, low, high = mean_and_interval(table.values(members, name, field))
                row |= {field: mean, f'{field}_interval': [low, high]}
            counts = np.mean([np.mean(table.counts[s, name], axis=0) for s in members], axis=0)
            row |= dict(zip(('switches', 'shadow_share', 'learning_share'), counts.tolist(), strict=True))
            if name != 'auto':
                for field in ('mean_seconds', 'regret_seconds', 'recovery_frames'):
                    mine, his = table.values(members, 'auto', field), table.values(members, name, field)
                    mean, low, high = mean_and_interval([b - a for a, b in zip(mine, his, strict=True)])
                    row |= {f'{field}_more_than_auto': mean, f'{field}_more_than_auto_interval': [low, high]}
            if len(members) == 1:
                row['regret_course_seconds'] = (table.curves[members[0], name] / seeds).tolist()
            rows.append(row)
    return rows


def decision_seconds(decisions: int, learned: dict[str, float]) -> tuple[float, float]:
    """Return the median and the 95th percentile of the seconds of one decision of Q-learning.

    The policy has learned for as many frames; each problem is a fresh one, as in the scheduler.
    """
    policy = next(kind for kind in KINDS if kind.name == 'Q-learning').make(learned, 0)
    play(SimulatedFleet(Scenario('decisions', EFFECTS, frames=400), 0), policy)
    took = []
    fresh = SimulatedFleet(Scenario('decisions', EFFECTS, frames=decisions), 0)
    for frame in range(decisions):
        conditions = fresh.conditions(frame, 50.0)
        begin = time.perf_counter()
        policy.choose(conditions)
        took.append(time.perf_counter() - begin)
    return float(np.median(took)), float(np.percentile(took, 95))


def _frames_per_second(frames: int) -> float:
    fleet = SimulatedFleet(Scenario('speed', EFFECTS, frames=frames), 0)
    policy = FixedPolicy(('cloud',) * fleet.problem.nodes)
    begin = time.perf_counter()
    play(fleet, policy)
    return frames / (time.perf_counter() - begin)


def _targets(rows: Results, median: float) -> list[Target]:
    def find(scenario: str, policy: str) -> dict[str, Any]:
        return next(r for r in rows if r['case'] == 'policy' and (r['scenario'], r['policy']) == (scenario, policy))

    over = find('hidden effects', 'auto')['over_oracle']
    targets = [Target('hidden effects: mean latency of auto over the oracle', '<= 1.10', over, 'x', over <= 1.10)]
    for bandit in BANDITS:
        row = find('hidden effects', bandit)
        for field, what, unit in (('regret_seconds', 'regret', 's'), ('recovery_frames', 'frames to recover', 'frames')):
            more, (low, _) = row[f'{field}_more_than_auto'], row[f'{field}_more_than_auto_interval']
            name = f'hidden effects: {what}, {bandit} less auto (interval above 0)'
            targets.append(Target(name, '> 0', more, unit, low > 0))
    auto, exact = (find('nothing hidden', name)['mean_seconds'] for name in ('auto', 'exact'))
    targets.append(Target('nothing hidden: mean latency of auto over exact', '<= 1.02', auto / exact, 'x', auto / exact <= 1.02))
    targets.append(Target('one decision of Q-learning, median', '< 0.26', median * 1e3, 'ms', median < 0.26e-3))
    return targets


def _conclusion(rows: Results, targets: list[Target]) -> str:
    missed = [t.name for t in targets if not t.met]
    better, worse = [], []
    for row in rows:
        if row['case'] == 'policy' and row['policy'] in BANDITS[:2] and 'regret_course_seconds' in row:
            low, high = row['regret_seconds_more_than_auto_interval']
            label = f'{row["scenario"]} ({row["policy"]})'
            if low > 0:
                better.append(label)
            elif high < 0:
                worse.append(label)
    return (
        f'{len(targets) - len(missed)} of {len(targets)} targets reached'
        + (f'; missed: {"; ".join(missed)}' if missed else '')
        + f'. Auto has less regret, interval above 0, in: {", ".join(better) or "none"}; more, interval below 0, in: '
        + f'{", ".join(worse) or "none"}.'
    )


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes two seeds, short courses and two draws."""
    frames, seeds, draws = (120, 2, 2) if quick else (900, 20, 12)
    results: Results = []
    tuned: dict[str, dict[str, float]] = {}
    fleets = tuning_fleets(60 if quick else 600)
    for kind in KINDS:
        values, scores = tune(kind, fleets, draws)
        tuned[kind.name] = values
        results.append({
            'case': 'tuning', 'policy': kind.name, 'draws': draws, 'values': values,
            'mean_latency_of_draws': [float(np.exp(s)) for s in scores],
        })  # fmt: skip
        progress(f'tuned {kind.name}: {", ".join(f"{n} {v:.3g}" for n, v in values.items())}')
    table = _compare(frames, seeds, tuned, progress)
    singles = {s.name: [s.name] for s in scenarios(frames)}
    groups = {**singles, 'hidden effects': [name for name in singles if name != 'nothing hidden']}
    results += _rows(table, groups, [*tuned, FIXED], seeds)
    median, tail = decision_seconds(100 if quick else 600, tuned['Q-learning'])
    speed = _frames_per_second(2000 if quick else 20000)
    results.append({'case': 'speed', 'decision_median_seconds': median, 'decision_p95_seconds': tail, 'frames_per_second': speed})
    progress(f'one decision: {median * 1e3:.3f} ms; {speed:.0f} simulated frames a second')
    targets = _targets(results, median)
    return BenchResult(results, targets, lambda figure: _plot(figure, results), _conclusion(results, targets))


def _plot(figure: Figure, results: Results) -> None:
    left, right = figure.subplots(1, 2)
    rows = [r for r in results if r['case'] == 'policy']
    names = list(dict.fromkeys(r['policy'] for r in rows))
    labels = list(dict.fromkeys(r['scenario'] for r in rows))
    for number, name in enumerate(names):
        mine = [r for r in rows if r['policy'] == name]
        at = np.arange(len(labels)) + (number - len(names) / 2) * 0.09
        mean = np.array([r['over_oracle'] for r in mine])
        bounds = np.array([r['over_oracle_interval'] for r in mine])
        left.errorbar(at, mean, yerr=np.abs(bounds.T - mean), fmt='o', markersize=3, linewidth=1, label=name)
        course = next(r['regret_course_seconds'] for r in mine if r['scenario'] == 'all')
        right.plot((np.arange(len(course)) + 1) * CURVE_STEP, course, label=name)
    left.axhline(1.1, color='grey', linewidth=0.8, linestyle='--')
    left.set_xticks(np.arange(len(labels)), labels, rotation=40, ha='right')
    left.set(ylabel='mean latency over the oracle', ylim=(0.98, 1.3), title='20 seeds, 95 % intervals')
    left.legend(fontsize=7)
    right.set(xlabel='frame', ylabel='cumulative regret, s', title='all hidden effects')
    right.legend(fontsize=7)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How planning, deciding and messages grow with devices and streams: the real decision code for up to 1,000 devices.

The large fleets are simulated, without ROS (scale_fleet.py); small ones run in real processes (scale_processes.py), as many
devices as two cores bear. Between them, a real scheduler hears a hundred devices that join, leave and only speak
(scale_crowd.py). *hubs*: each device has links to eight servers; *mesh*: to every other device (up to 300, since
1,000 would have a million links). Times are CPU seconds of one core. An exponent of 1 means growth in proportion.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.cli.bench_report import BenchResult, Target

from . import processes, scale_crowd, scale_fleet, scale_processes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS',)
_SIZES: Final = {'hubs': (10, 30, 100, 300, 1000), 'mesh': (10, 30, 100, 300)}
_QUICK: Final = {'hubs': (10, 30, 100), 'mesh': (10, 30, 60)}
_LARGE: Final = 30
_PERIOD_SECONDS: Final = 1 / scale_fleet.DECISIONS_PER_SECOND


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes fleets of up to 100 devices and runs one of four in processes."""
    processes.prepare()
    ground = scale_fleet.ground()
    results = list(scale_fleet.fleets(ground, _QUICK if quick else _SIZES, progress))
    for count in (10, 30) if quick else (10, 100, 300):
        results.append(scale_fleet.streams(ground, count, seconds=6.0))
        row = results[-1]
        progress(f'{count} streams on 8 servers: {row["cores_at_4_decisions"]:.2f} cores decide, '
                 f'{row["moves_per_stream"]:.1f} moves a stream')  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        sizes, seconds = ((4,), 4.0) if quick else ((4, 8, 12), 6.0)
        results += scale_processes.measure(Path(folder), sizes, seconds, progress)
        results += scale_crowd.measure(Path(folder), (10, 30) if quick else (10, 30, 100), 5.0 if quick else 20.0, progress)
    growth = _growth(results)
    results.append({'case': 'growth', **growth})
    targets = _targets(results, growth)
    return BenchResult(results, targets, lambda figure: _plot(figure, results), _conclusion(results, growth))


def _rows(results: Sequence[Mapping[str, Any]], case: str, shape: str | None = None) -> list[Mapping[str, Any]]:
    return [row for row in results if row['case'] == case and shape in (None, row.get('shape'))]


def _growth(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return exponents over the number of devices, fitted to the sizes where constants matter less."""
    found = {}
    for shape in ('hubs', 'mesh'):
        rows = [row for row in _rows(results, 'fleet', shape) if row['devices'] >= _LARGE]
        for key in ('plan', 'decide', 'hear'):
            if len(rows) > 1:
                values = [row[f'{key}_seconds'] for row in rows]
                found[f'{shape}_{key}'] = scale_fleet.exponent([row['devices'] for row in rows], values)
    rows = _rows(results, 'processes')
    if len(rows) > 1:
        sizes = [row['devices'] for row in rows]
        for key in ('messages_per_second', 'scheduler_core_share'):
            found[f'processes_{key}'] = scale_fleet.exponent(sizes, [row[key] for row in rows])
    rows = _rows(results, 'crowd')
    for key in ('steady_core_share', 'churn_core_share', 'decision_seconds', 'resident_bytes'):
        found[f'crowd_{key}'] = scale_fleet.exponent([row['devices'] for row in rows], [row[key] for row in rows])
    return found


def _targets(results: Sequence[Mapping[str, Any]], growth: Mapping[str, float]) -> list[Target]:
    targets = []
    for shape in ('hubs', 'mesh'):
        last = _rows(results, 'fleet', shape)[-1]
        most, decide = 1e3 * _PERIOD_SECONDS, 1e3 * last['decide_seconds']
        name = f'one decision, {last["devices"]} devices, {shape}'
        targets.append(Target(name, f'<= {most:g}', decide, 'ms', decide <= most))
    for shape, most in (('hubs', 1.2), ('mesh', 2.2)):
        value = growth[f'{shape}_decide']
        targets.append(Target(f'decisions, {shape}: exponent over devices', f'<= {most}', value, '', value <= most))
    for row in _rows(results, 'processes')[-1:]:
        share, ratio = row['scheduler_core_share'] * 100, row['messages_per_second'] / row['messages_per_second_expected']
        targets.append(Target(f'scheduler, {row["devices"]} devices in processes', '<= 20', share, '% of a core', share <= 20))
        name = 'messages a second there over those counted on for a thousand devices'
        targets.append(Target(name, '0.9 to 1.1', ratio, 'x', 0.9 <= ratio <= 1.1))
        targets.append(Target('accepted frames lost there', 0, row['lost'], '', row['lost'] == 0))
    return targets + _crowd_targets(results, growth)


def _crowd_targets(results: Sequence[Mapping[str, Any]], growth: Mapping[str, float]) -> list[Target]:
    row = _rows(results, 'crowd')[-1]
    devices, share, heard = row['devices'], 100 * row['churn_core_share'], row['churn_heard_by_a_device_per_second']
    targets = [Target(f'scheduler, {devices} devices that come and go', '<= 60', share, '% of a core', share <= 60)]
    decide = 1e3 * row['decision_seconds']
    targets.append(Target('a decision there', '<= 100', decide, 'ms', decide <= 100))
    targets.append(Target('messages that a device hears there', '<= 5', heard, '1/s', heard <= 5))
    for key, name in (('steady', 'all stay'), ('churn', 'they come and go')):
        value = growth[f'crowd_{key}_core_share']
        targets.append(Target(f'scheduler, {name}: exponent over devices', '<= 1.1', value, '', value <= 1.1))
    return targets


def _conclusion(results: Sequence[Mapping[str, Any]], growth: Mapping[str, float]) -> str:
    parts = []
    for shape in ('hubs', 'mesh'):
        last = _rows(results, 'fleet', shape)[-1]
        parts.append(
            f'{last["devices"]} devices, {shape}: planning {last["plan_seconds"] * 1e3:.0f} ms, a decision '
            f'{last["decide_seconds"] * 1e3:.0f} ms (exponents {growth[f"{shape}_plan"]:.1f} and '
            f'{growth[f"{shape}_decide"]:.1f}), {last["messages_per_second"]:.0f} messages/s'
        )
    last = _rows(results, 'streams')[-1]
    parts.append(
        f'{last["streams"]} streams on {last["servers"]} servers: {last["cores_at_4_decisions"]:.1f} cores for all decisions '
        f'together, {last["moves_per_stream"]:.1f} moves a stream in {last["seconds"]:g} s'
    )
    parts += [
        f'{row["devices"]} devices in real processes: scheduler {row["scheduler_core_share"]:.1%} of a core, '
        f'{row["messages_per_second"]:.0f} messages/s heard'
        for row in _rows(results, 'processes')[-1:]
    ]
    parts += [
        f'{row["devices"]} devices that only speak, one leaving and one joining each second: scheduler '
        f'{row["churn_core_share"]:.0%} of a core ({row["steady_core_share"]:.0%} while all stay) and '
        f'{row["resident_bytes"] / 1e6:.0f} MB, a decision {1e3 * row["decision_seconds"]:.0f} ms; a device hears '
        f'{row["churn_heard_by_a_device_per_second"]:.1f} messages/s'
        for row in _rows(results, 'crowd')[-1:]
    ]
    return '; '.join(parts) + '.'


def _plot(figure: Figure, results: Sequence[Mapping[str, Any]]) -> None:
    left, middle, right = figure.subplots(1, 3)
    figure.set_size_inches(13, 4.8)
    for shape, style in (('hubs', '-'), ('mesh', '--')):
        rows = _rows(results, 'fleet', shape)
        devices = [row['devices'] for row in rows]
        for key, colour in (('plan', 'tab:blue'), ('decide', 'tab:orange'), ('hear', 'tab:green')):
            name = {'plan': 'planning', 'decide': 'a decision in all', 'hear': 'a heartbeat of each'}[key]
            left.plot(devices, [1e3 * row[f'{key}_seconds'] for row in rows], style, marker='o', color=colour,
                      label=f'{name}, {shape}')  # fmt: skip
    left.axhline(1e3 * _PERIOD_SECONDS, color='grey', linewidth=0.8)
    left.set(xscale='log', yscale='log', xlabel='devices', ylabel='CPU time, ms', title='one stream; grey: decision period')
    left.legend(fontsize='x-small')
    for row in _rows(results, 'streams'):
        course = row['course']
        middle.plot([p['at'] for p in course], [1e3 * p['mean_latency_seconds'] for p in course],
                    label=f'{row["streams"]} streams, {row["cores_at_4_decisions"]:.1f} cores decide')  # fmt: skip
    middle.set(xlabel='seconds', ylabel='mean latency, ms', yscale='log', title='streams that share 8 servers (simulated)')
    middle.legend(fontsize='x-small')
    rows = _rows(results, 'processes')
    devices = [row['devices'] for row in rows]
    for kind in ('scheduler', 'frame_source', 'worker', 'device_monitor'):
        right.plot(devices, [100 * row[f'{kind}_core_share'] for row in rows], marker='o', label=kind)
    rows = _rows(results, 'crowd')
    for key, name in (('steady', 'scheduler, others only speak'), ('churn', 'scheduler, they come and go')) if rows else ():
        right.plot([row['devices'] for row in rows], [100 * row[f'{key}_core_share'] for row in rows], '--', marker='x', label=name)
    right.set(xlabel='devices', ylabel='% of a core, one process', title='in real processes', xscale='log', ylim=(0, None))
    right.legend(fontsize='x-small')

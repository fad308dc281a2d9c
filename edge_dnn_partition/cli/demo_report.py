# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the demo found, as a JSON document, a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge_dnn_partition.cli.demo_run import FixedRun, PhaseRun
from edge_dnn_partition.planning.plans.plan import Plan


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 2)


def phase_document(run: PhaseRun, before: Plan | None, fixed: Mapping[str, FixedRun | None]) -> dict[str, Any]:
    """Return one phase of the report.

    :param before: the plan that was in force when the phase began.
    :param fixed: the measured fixed plans: ``all_on_source``, ``all_on_cloud`` and candidates by label.
    """
    delivered = [frame for frame in run.frames if frame.delivered]
    latencies = np.array([frame.latency_seconds for frame in delivered])
    plans = ([before] if before else []) + run.plans
    counts = {plan.label(): sum(f.plan_version == plan.version for f in delivered) for plan in plans}
    measured = {name: run.p50_seconds for name, run in fixed.items() if run is not None and run.p50_seconds is not None}
    best = min(measured, key=lambda name: measured[name], default=None)
    best_run = fixed[best] if best is not None else None
    return {
        'name': run.phase.name,
        'plan': max(counts, key=lambda label: counts[label], default=''),
        'plans': [plan.label() for plan in plans],
        'changed': bool(run.plans),
        'frames': len(delivered),
        'p50_ms': _ms(float(np.median(latencies))) if len(latencies) else None,
        'p95_ms': _ms(float(np.percentile(latencies, 95))) if len(latencies) else None,
        'fps': round(len(delivered) / (run.end - run.begin), 2),
        'seconds': round(run.end - run.begin, 2),
        'baselines': {
            'all_on_source': {'p50_ms': _ms(measured.get('all_on_source'))},
            'all_on_cloud': {
                'p50_ms': _ms(measured.get('all_on_cloud')),
                **({'note': f'{run.phase.stopped} is stopped: no result'} if run.phase.stopped == 'cloud' else {}),
            },
            'best_fixed': {
                'p50_ms': _ms(measured.get(best)) if best else None,
                'plan': best_run.label if best_run else None,
            },
            'measured': {r.label: _ms(r.p50_seconds) for r in fixed.values() if r is not None},
        },
    }  # fmt: skip


def timeline(runs: Sequence[PhaseRun]) -> list[dict[str, Any]]:
    """Return every frame of the live part, for the dashboard: when it ended, and where its time went; in seconds."""
    return [
        {
            'seconds': round(frame.at - runs[0].begin, 3), 'latency': round(frame.latency_seconds, 5),
            'compute': round(frame.busy_seconds, 5), 'waiting': round(frame.queue_seconds, 5), 'plan': frame.plan_version,
        }
        for run in runs
        for frame in run.frames
        if frame.delivered
    ]  # fmt: skip


def whole_run(runs: Sequence[PhaseRun], fixed: Sequence[Mapping[str, FixedRun | None]]) -> dict[str, Any]:
    """Return medians over the whole run: each phase counts for the same time, one sample a phase's every frame.

    A choice that gives no result in a phase (everything on a cloud that is stopped) is compared over the phases
    in which it can run; its gap is named.
    """
    mine = np.concatenate([np.array([f.latency_seconds for f in r.frames if f.delivered]) for r in runs])
    document: dict[str, Any] = {'adaptive': {'p50_ms': _ms(float(np.median(mine))), 'mean_ms': _ms(float(mine.mean()))}}
    for name in ('all_on_source', 'all_on_cloud'):
        pairs = [(run, table.get(name)) for run, table in zip(runs, fixed, strict=True)]
        medians = [(run, f.p50_seconds) for run, f in pairs if f is not None and f.p50_seconds is not None]
        if not medians:
            document[name] = {'p50_ms': None, 'phases': 0}
            continue
        samples = np.concatenate([np.full(100, seconds) for _, seconds in medians])
        same = np.concatenate(
            [
                np.quantile([f.latency_seconds for f in run.frames if f.delivered] or [np.nan], np.linspace(0, 1, 100))
                for run, _ in medians
            ]
        )
        document[name] = {
            'p50_ms': _ms(float(np.median(samples))),
            'mean_of_p50_ms': _ms(float(np.mean([seconds for _, seconds in medians]))),
            'phases': len(medians),
            'adaptive_p50_ms_in_these_phases': _ms(float(np.median(same))),
            'adaptive_is_lower_by': round(1 - float(np.median(same)) / float(np.median(samples)), 3),
        }
    return document


def table(report: Mapping[str, Any]) -> Table:
    """Return the report's phases for the terminal."""
    result = Table(
        title='latency in ms: the adaptive split, and p50 with all on the source, all on the cloud, and the best fixed split',
        title_justify='left', box=SIMPLE_HEAD, padding=(0, 1),
    )  # fmt: skip
    for name in ('phase', 'plan'):
        result.add_column(name, overflow='fold', min_width=12)
    for name in ('moves', 'p50', 'p95', 'fps', 'source', 'cloud', 'best'):
        result.add_column(name, justify='right')
    for phase in report['phases']:
        base = phase['baselines']

        def show(value: float | None) -> str:
            return '–' if value is None else f'{value:.0f}'

        result.add_row(
            phase['name'], phase['plan'], str(len(phase['plans']) - 1), show(phase['p50_ms']), show(phase['p95_ms']),
            f'{phase["fps"]:.1f}', show(base['all_on_source']['p50_ms']), show(base['all_on_cloud']['p50_ms']),
            show(base['best_fixed']['p50_ms']),
        )  # fmt: skip
    return result


def plot(
    path: Path, runs: Sequence[PhaseRun], report: Mapping[str, Any], changes: Sequence[tuple[float, Plan]]
) -> None:
    """Draw latency over time with phases, plan changes and each phase's best fixed split."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout='constrained')
    axes = figure.add_subplot()
    zero = runs[0].begin
    tops = []
    for index, (run, phase) in enumerate(zip(runs, report['phases'], strict=True)):
        begin, end = run.begin - zero, run.end - zero
        axes.axvspan(begin, end, color='0.93' if index % 2 else '0.98', zorder=0)
        axes.text(begin + 0.1, 0.985, phase['name'], transform=axes.get_xaxis_transform(), va='top', fontsize=9)
        frames = [f for f in run.frames if f.delivered]
        values = [f.latency_seconds * 1e3 for f in frames]
        axes.plot(
            [f.at - zero for f in frames], values, '.', color='tab:blue', label='adaptive' if index == 0 else None
        )
        tops += values
        for name, colour in (('best_fixed', 'tab:green'), ('all_on_source', 'tab:orange'), ('all_on_cloud', 'tab:red')):
            p50 = phase['baselines'][name]['p50_ms']
            if p50 is not None:
                axes.hlines(
                    p50, begin, end, color=colour, label=name.replace('_', ' ') + ' (p50)' if index == 0 else ''
                )
                tops.append(min(p50, 600.0))
    for at, plan in changes:
        if 0 <= at - zero <= runs[-1].end - zero:
            axes.axvline(at - zero, color='black', linestyle=':', linewidth=1)
            axes.text(
                at - zero,
                0.02,
                plan.label(),
                transform=axes.get_xaxis_transform(),
                rotation=90,
                fontsize=7,
                va='bottom',
                ha='right',
            )
    axes.set(
        xlabel='time, s',
        ylabel='latency from acceptance to result, ms',
        ylim=(0, 1.15 * max(tops, default=1)),
        title='Live split of a camera stream over an emulated Pi, Jetson and cloud (dotted: plan changes)',
    )
    axes.legend(loc='center right', fontsize=8)
    figure.savefig(path, dpi=110)

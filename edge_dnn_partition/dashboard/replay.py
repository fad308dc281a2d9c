# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A report of `demo` or of `bench` as a board: what happened in a run, or which targets were met."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan, parse_label

from .board import Board, FrameParts

_PHASE_KEYS: Final = ('name', 'plan', 'p50_ms', 'p95_ms', 'fps', 'frames')


def board_of_report(path: str | Path) -> Board:
    """Return the board of a file that ``demo --report`` or ``bench --out`` has written.

    :raises UserError: if it is none.
    """
    path = Path(path)
    try:
        report = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); give a report of `demo` or `bench`') from error
    except ValueError as error:
        raise UserError(f'{path}: is not JSON: {error}') from error
    try:
        if isinstance(report, Mapping) and 'phases' in report:
            return _run(report)
        if isinstance(report, Mapping) and 'targets' in report:
            return _benchmark(report)
    except (KeyError, TypeError, ValueError, AttributeError, PlanError) as error:
        raise UserError(f'{path}: is an incomplete report: {type(error).__name__} {error}') from error
    raise UserError(f'{path}: is not a report of `demo` (with phases) or `bench` (with targets)')


def _run(report: Mapping[str, Any]) -> Board:
    """Return the course of a run. Frames are shown where the report has them (``timeline``), else each phase's median."""
    board = Board('demo', mode='replay', emulated=bool(report.get('emulated')))
    begin, phases = 0.0, []
    for phase in report['phases']:
        end = begin + float(phase['seconds'])
        baselines = {name: base.get('p50_ms') for name, base in phase['baselines'].items() if name != 'measured'}
        phases.append({**{key: phase.get(key) for key in _PHASE_KEYS}, 'begin': begin, 'end': end, 'baselines': baselines})
        begin = end
    log = report.get('plan_change_log', [])
    first = report['phases'][0]['plans'][:1] if report['phases'] else []
    changes = [{'seconds': 0.0, 'plan': label, 'reason': 'in force when the run began'} for label in first] + list(log)
    for version, change in enumerate(changes, 1):
        board.plan(float(change['seconds']), _plan(version, change))
    for row in report.get('timeline', ()):
        at, latency, compute, waiting = (float(row[key]) for key in ('seconds', 'latency', 'compute', 'waiting'))
        board.frame(at, int(row['plan']), FrameParts(latency, compute, waiting), float('nan'), measured=False)
    counts = report.get('frames', {})
    shown = ('accepted', 'delivered', 'expired', 'lost', 'failed', 'repeated')
    board.counters({name: counts[name] for name in shown if name in counts})
    board.add(phases=phases, seconds=begin)
    return board


def _plan(version: int, change: Mapping[str, Any]) -> Plan:
    label = str(change['plan'])
    layers = max(int(part.rpartition('-')[2]) for part in label.replace(',', ' ').split() if '-' in part)
    placement = parse_label(label, layers)
    stages = tuple(StagePlan(device, preprocess, ranges) for device, preprocess, ranges in placement)
    source = stages[0].device
    predicted = change.get('predicted_ms')
    return Plan(
        version, '', source, source, stages, (), latency_seconds=float('nan') if predicted is None else predicted / 1e3,
        reason=str(change['reason']),
    )  # fmt: skip


def _benchmark(report: Mapping[str, Any]) -> Board:
    board = Board(f'bench {report["name"]}', mode='benchmark')
    targets = [
        {key: target.get(key) for key in ('name', 'asked', 'measured', 'unit', 'met')} for target in report['targets']
    ]
    machine = report.get('machine', {})
    board.add(
        targets=targets, conclusion=str(report.get('conclusion', '')), command=str(report.get('command', '')),
        machine=f'{machine.get("cpu", "?")}, {machine.get("cores", "?")} cores' if machine else '',
    )  # fmt: skip
    return board

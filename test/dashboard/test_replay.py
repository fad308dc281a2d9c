# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Reports of a run and of a benchmark as a board."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_dnn_partition.cli.demo_report import timeline
from edge_dnn_partition.dashboard.replay import board_of_report
from edge_dnn_partition.errors import UserError

REPORTS = Path(__file__).resolve().parents[2] / 'docs' / 'benchmarks'


def test_the_demos_report():
    report = json.loads((REPORTS / 'demo.json').read_text())
    shown = board_of_report(REPORTS / 'demo.json').snapshot(0.0)
    assert shown['mode'] == 'replay' and shown['emulated'] is True
    assert [phase['name'] for phase in shown['phases']] == [phase['name'] for phase in report['phases']]
    assert shown['phases'][0]['begin'] == 0 and shown['phases'][-1]['end'] == pytest.approx(shown['seconds'])
    assert len(shown['plans']) == 1 + report['plan_changes']
    assert [p['label'] for p in shown['plans'][1:]] == [change['plan'] for change in report['plan_change_log']]
    assert shown['log'][-1]['text'] == report['plan_change_log'][-1]['reason']
    assert shown['counters']['lost'] == report['frames']['lost']


def test_frames_of_a_run_that_has_them(tmp_path):
    report = json.loads((REPORTS / 'demo.json').read_text())
    frame = {'delivered': True, 'at': 101.5, 'latency_seconds': 0.3, 'busy_seconds': 0.2, 'queue_seconds': 0.02, 'plan_version': 1}
    lost = {'delivered': False}
    report['timeline'] = timeline([SimpleNamespace(begin=100.0, frames=[SimpleNamespace(**f) for f in (frame, lost)])])
    path = tmp_path / 'report.json'
    path.write_text(json.dumps(report))
    (row,) = board_of_report(path).snapshot(0.0)['frames']
    assert row == [1.5, 0.3, 0.2, pytest.approx(0.08), 0.02, 1, None, False]


@pytest.mark.parametrize('path', sorted(REPORTS.glob('*.json')), ids=lambda path: path.stem)
def test_every_benchmark_in_docs(path):
    shown = board_of_report(path).snapshot(0.0)
    assert shown.get('targets') or shown.get('phases')


@pytest.mark.parametrize(
    ('text', 'words'),
    [('{', 'not JSON'), ('[]', 'not a report'), ('{"phases": [{}]}', 'an incomplete report'), ('{"targets": [3], "name": "x"}', 'incomplete report'), (None, 'cannot be read')],
)  # fmt: skip
def test_what_is_no_report_is_refused(tmp_path, text, words):
    path = tmp_path / 'x.json'
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        board_of_report(path)

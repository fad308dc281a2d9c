# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
import json
from types import SimpleNamespace

import numpy as np
import pytest

from edge_dnn_partition.cli import bench
from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.cli.main import main

BENCHMARK = '''
"""Counts to three.

More words.
"""
from edge_dnn_partition.cli.bench_report import BenchResult, Target


def run(*, quick, progress):
    progress('counting')
    target = Target('count', 3, 3.0 if quick else 2.0, 'things', met=quick)
    return BenchResult([{'n': 3}], [target], lambda figure: figure.subplots().plot([1, 2, 3]), 'It counts.')
'''


def result() -> BenchResult:
    targets = [Target('ratio', '<= 2 %', np.float64(1.5), '%', np.bool_(True))]
    return BenchResult([{'a': np.int64(1), 'b': float('nan')}], targets, lambda figure: None, 'Fine.')


def test_the_document_is_plain_json():
    from edge_dnn_partition.cli.bench_report import document

    plain = json.loads(json.dumps(document('x', result(), command='c'), allow_nan=False))
    assert set(plain) >= {'name', 'machine', 'versions', 'command', 'results', 'targets'}
    assert plain['results'] == [{'a': 1, 'b': None}]
    assert plain['targets'] == [{'name': 'ratio', 'asked': '<= 2 %', 'measured': 1.5, 'unit': '%', 'met': True}]
    assert plain['machine']['cores'] >= 1
    assert 'numpy' in plain['versions']


@pytest.fixture
def counting(tmp_path, monkeypatch):
    path = tmp_path / 'bench_counting.py'
    path.write_text(BENCHMARK)
    monkeypatch.setattr(bench, 'find', lambda: {'counting': path})
    namespace: dict = {}
    exec(compile(BENCHMARK, path, 'exec'), namespace)
    monkeypatch.setattr(bench, 'load', lambda name, path: SimpleNamespace(run=namespace['run']))


def test_a_run_writes_figures_and_plot_and_fails_on_a_missed_target(counting, tmp_path, capsys):
    assert main(['bench', 'counting', '--quick', '--out', str(tmp_path / 'out')]) == 0
    assert main(['bench', 'counting', '--json', '--out', str(tmp_path / 'out')]) == 1
    captured = capsys.readouterr()
    written = json.loads((tmp_path / 'out' / 'counting.json').read_text())
    assert written['targets'][0]['met'] is False
    assert written['command'].startswith('edge-dnn-partition bench counting --out ')
    assert (tmp_path / 'out' / 'counting.png').read_bytes().startswith(b'\x89PNG')
    assert json.loads(captured.out[captured.out.index('{\n') :]) == written


def test_the_list_shows_the_first_line_of_each(counting, capsys):
    assert main(['bench']) == 0
    assert capsys.readouterr().out.startswith('counting     Counts to three.\n\nAll need matplotlib.')


def test_out_that_is_a_file_is_refused(counting, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert main(['bench', 'counting', '--out', str(tmp_path / 'file')]) == 2
    assert 'name a folder' in capsys.readouterr().err

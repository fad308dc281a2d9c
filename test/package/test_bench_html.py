# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
import base64
import json

import pytest

from edge_dnn_partition.cli import bench, bench_report
from edge_dnn_partition.cli.main import main

PNG = b'\x89PNG made up'


def document(name, *, met=True, **more):
    target = {'name': 'a <b> & c', 'asked': '<= 2', 'measured': 1.23456789, 'unit': 'ms', 'met': met}
    unknown = {'name': 'unknown', 'asked': 3, 'measured': None, 'unit': '', 'met': False}
    return {
        'name': name, 'machine': {'cpu': 'made up', 'cores': 2, 'memory_bytes': 2**31, 'os': 'Linux'},
        'versions': {'python': '3.11'}, 'command': f'edge-dnn-partition bench {name}', 'results': [],
        'targets': [target, unknown], **more,
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'first.json').write_text(json.dumps(document('first', conclusion='It <works>.')))
    (tmp_path / 'second.json').write_text(json.dumps(document('second', met=False)))
    (tmp_path / 'other.json').write_text('{"phases": []}')
    (tmp_path / 'first.png').write_bytes(PNG)
    return tmp_path


def test_the_report_is_one_page_with_each_benchmarks_targets_plot_and_conclusion(folder, capsys):
    assert main(['bench', 'report', '--out', str(folder)]) == 0
    text = (folder / 'report.html').read_text()
    assert 'It &lt;works&gt;.' in text
    assert 'a &lt;b&gt; &amp; c' in text
    assert '0 of 2 targets reached; missed: a &lt;b&gt; &amp; c; unknown.' in text  # made from the targets
    assert '1 of 4 targets of 2 benchmarks' in text
    assert '1.235' in text
    assert base64.b64encode(PNG).decode() in text
    assert 'phases' not in text
    assert str(folder / 'report.html') in capsys.readouterr().out


def test_plots_may_stay_beside_the_page(folder):
    assert main(['bench', 'report', '--linked', '--out', str(folder)]) == 0
    text = (folder / 'report.html').read_text()
    assert 'src="first.png"' in text
    assert 'base64' not in text


def test_a_folder_without_figures_is_refused(tmp_path, capsys):
    assert main(['bench', 'report', '--out', str(tmp_path)]) == 2
    assert 'contains no benchmark results' in capsys.readouterr().err
    (tmp_path / 'broken.json').write_text('{')
    assert main(['bench', 'report', '--out', str(tmp_path)]) == 2
    assert 'broken.json: cannot be read' in capsys.readouterr().err


def test_a_suite_goes_on_after_a_benchmark_that_failed(tmp_path):
    started, said = [], []

    def start(command, env):
        started.append((command[command.index('bench') + 1], '--quick' in command, env['PYTHONSAFEPATH']))
        return {'a': 0, 'b': 2, 'c': 1}[started[-1][0]]

    codes = bench.run_suite(['a', 'b', 'c'], tmp_path, quick=True, say=said.append, start=start)
    assert codes == {'a': 0, 'b': 2, 'c': 1}
    assert started == [(name, True, '1') for name in 'abc']
    assert any('failed with exit code 2' in line for line in said)


def test_a_conclusion_of_no_targets():
    assert bench_report.conclusion_of([]) == '0 of 0 targets reached.'

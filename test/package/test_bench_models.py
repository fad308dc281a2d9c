# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of ``bench models``: a few small models whole, and what the page makes of rows."""

import json
import sys
from pathlib import Path

import pytest

from edge_dnn_partition.cli import bench
from edge_dnn_partition.graph import zoo

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'scripts'))

import write_benchmarks_page  # noqa: E402


@pytest.fixture(scope='module')
def models():
    pytest.importorskip('torch')
    return bench.load('models', bench.find()['models'])


@pytest.fixture(scope='module')
def model_rows(models):
    from edge_dnn_partition.benchmarks import model_rows

    return model_rows


@pytest.mark.parametrize('name', ['inception_small', 'bert_small'])
def test_a_model_that_runs(name, models, model_rows):
    row = model_rows.row_of('zoo', name, '', zoo.model_path(name))
    assert [models.outcome(row, column) for column in models.COLUMNS] in (['ok', 'exact', '-'], ['ok', 'equal', '-'])
    assert row['inspect']['cuts'] == row['inspect']['layers'] + 1
    assert len(row['split']['cuts']) == 2


def test_a_model_that_fails_is_a_row_without_folders_of_this_machine(models, model_rows, tmp_path):
    broken = tmp_path / 'broken.script.onnx'
    broken.write_bytes(b'no model')
    row = model_rows.row_of('mine', 'broken', 'script', broken)
    assert [models.outcome(row, column) for column in models.COLUMNS] == ['fails', '-', '-']
    assert 'broken.script.onnx' in row['inspect']['error'] and str(tmp_path) not in json.dumps(row)


def test_frames_stream_through_two_devices(models, model_rows, ros_domain, monkeypatch, tmp_path):
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    found = model_rows.stream_of(zoo.model_path('bert_small'))
    assert 'error' not in found, found
    assert found['equal'] == found['frames'] == 3 and found['plan'].startswith('pi:pre-') and ' box:' in found['plan']


def test_rows_are_kept_and_streams_come_last(models, monkeypatch, tmp_path):
    made = []
    good = {'bit_exact': True, 'relative_difference': 0.0, 'cuts': [1]}

    def row_of(family, name, exporter, path):
        made.append(name)
        inspect = {'error': 'no'} if name == 'bad' else {'layers': 2, 'cuts': 3}
        return {'family': family, 'model': name, 'exporter': exporter, 'kind': {'kind': '', 'guess': False}, 'inspect': inspect,
                **({} if name == 'bad' else {'split': good})}  # fmt: skip

    def stream_of(path):
        made.append(f'stream {path.stem}')
        return {'frames': 3, 'equal': 2, 'bit_exact': 0, 'relative_difference': 0.5, 'plan': ''}

    from edge_dnn_partition.benchmarks import model_rows, processes

    monkeypatch.setattr(model_rows, 'row_of', row_of)
    monkeypatch.setattr(model_rows, 'stream_of', stream_of)
    monkeypatch.setattr(processes, 'prepare', lambda: None)
    monkeypatch.setattr(models.zoo, 'names', lambda: ())
    for name in ('bad.script', 'good.dynamo'):
        (tmp_path / 'some').mkdir(exist_ok=True)
        (tmp_path / 'some' / f'{name}.onnx').write_bytes(b'1')
    rows = tmp_path / 'rows.jsonl'
    result = models.run(quick=False, progress=lambda text: None, rows=rows, models=tmp_path, seconds=-1)
    assert made == ['bad', 'good'] and [target.met for target in result.targets] == [False, True, True]
    result = models.run(quick=False, progress=lambda text: None, rows=rows, models=tmp_path)
    assert made == ['bad', 'good', 'stream good.dynamo']
    assert [models.outcome(row, 'stream') for row in result.results] == ['-', 'differs']
    page = write_benchmarks_page.models_page({'conclusion': 'So.', 'results': result.results})
    assert '| bad | script | **fails** (1) | – | – |  |' in page and '| good | dynamo | 2 layers | exact | **2 of 3** equal |  |' in page
    assert '1. no' in page


def test_the_page_is_made_of_the_record():
    record = json.loads((ROOT / 'docs/benchmarks/models.json').read_text(encoding='utf-8'))
    assert (ROOT / 'docs/models.md').read_text(encoding='utf-8') == write_benchmarks_page.models_page(record)

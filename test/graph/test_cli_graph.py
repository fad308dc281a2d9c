# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The verbs inspect and split."""

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_dnn_partition.cli.main import main
from edge_dnn_partition.graph.zoo.tiny import TINY, open_shapes


def test_shapes_come_from_a_fleet_file(tmp_path, capsys):
    onnx.save(open_shapes(), tmp_path / 'model.onnx')
    (tmp_path / 'fleet.yaml').write_text('{source: pi, devices: {pi: {}}, model: {path: model.onnx, shapes: {image: [2, 3, 8, 8]}}}')
    arguments = ['inspect', str(tmp_path / 'model.onnx'), '--json']
    assert main([*arguments, '--fleet', str(tmp_path / 'fleet.yaml')]) == 0
    assert [t['shape'] for t in json.loads(capsys.readouterr().out)['cuts'][0]['tensors']] == [[2, 3, 8, 8], [2, 4]]
    assert main(arguments) == 2
    assert 'shapes: {image: [1, 3, 224, 224]}' in capsys.readouterr().err


def test_inspect_says_which_sizes_are_examples(models, capsys):
    assert main(['inspect', str(models('data_dependent').source_path)]) == 0
    assert 'depend on the data: those shown are an example' in capsys.readouterr().out


def test_inspect_prints_the_fixed_document(models, capsys):
    path = models('diamond').source_path
    assert main(['inspect', str(path), '--json']) == 0
    document = json.loads(capsys.readouterr().out)
    assert document['model'] == {'name': 'diamond', 'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}
    assert set(document) == {'model', 'layers', 'cuts'}
    for layer in document['layers']:
        assert set(layer) >= {'index', 'name', 'operators', 'output_bytes', 'weight_bytes'}
        assert layer['memory_bytes'] >= layer['output_bytes'] + layer['weight_bytes']
        assert layer['seconds'] is layer['joules'] is None  # reading the graph does not tell them
    assert len(document['cuts']) == len(document['layers']) + 1
    assert document['cuts'][2] == {'index': 2, 'bytes': 128, 'tensors': [
        {'name': 'a', 'dtype': 1, 'shape': [2, 8], 'bytes': 64}, {'name': 'c', 'dtype': 1, 'shape': [2, 8], 'bytes': 64}]}


def test_inspect_for_people(models, capsys):
    assert main(['inspect', str(models('quantised').source_path)]) == 0
    assert 'QuantizeLinear' in capsys.readouterr().out


def test_split_writes_stages_that_run(models, tmp_path, capsys):
    path = models('skip').source_path
    assert main(['split', str(path), '--cut', '2', '--cut', '3', '--out', str(tmp_path / 'out'), '--verify', '--json']) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer['verification']['passed']
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    values = {'x': np.ones((2, 8), np.float32)}
    expected = onnxruntime.InferenceSession(str(path)).run(['y'], values)[0]
    for stage in manifest['stages']:
        session = onnxruntime.InferenceSession(str(tmp_path / 'out' / stage['path']))
        results = session.run(stage['outputs'], {name: values[name] for name in stage['inputs']})
        values.update(zip(stage['outputs'], results, strict=True))
    assert np.allclose(values['y'], expected, rtol=1e-5)


def test_split_for_people(models, tmp_path, capsys):
    path = models('chain').source_path
    assert main(['split', str(path), '--cut', '1', '--out', str(tmp_path), '--verify']) == 0
    assert 'bit for bit equal' in capsys.readouterr().out


@pytest.mark.parametrize(('arguments', 'message'), [
    (['split', 'MODEL', '--cut', '9', '--out', 'OUT'], 'there is no cut 9'),
    (['split', 'MODEL', '--cut', '0', '--out', 'OUT'], 'there is no cut 0'),
    (['split', 'MODEL', '--cut', 'x', '--out', 'OUT'], 'cut'),
    (['split', 'MODEL', '--cut', '1', '--out', 'MODEL'], 'MODEL|cannot be written'),
    (['split', 'MODEL', '--out', 'OUT'], '--cut'),
    (['inspect', 'none.onnx'], 'does not exist'),
    (['inspect', 'MODEL', '--shape', 'x'], 'NAME=1x3x224x224'),
    (['inspect', 'OPEN'], '--shape image='),
])
def test_bad_input_is_one_line_and_code_2(arguments, message, models, tmp_path, capsys):
    onnx.save(TINY['open_shapes'](), tmp_path / 'open.onnx')
    names = {'MODEL': str(models('chain').source_path), 'OUT': str(tmp_path / 'out'),
             'OPEN': str(tmp_path / 'open.onnx')}
    assert main([names.get(argument, argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.startswith('error: ')
    assert captured.err.count('\n') == 1
    assert any(part in captured.err for part in message.split('|'))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What ``doctor --fleet`` refuses no node starts with, and what it passes starts: the same functions, asked by both."""

import re

import onnx
import pytest
import yaml
from onnx import TensorProto, helper

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from support import wait_until

from edge_dnn_partition.cli import doctor_fleet


def write_model(path, inputs, dtype=TensorProto.FLOAT):
    values = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()]
    nodes = []
    for name in inputs:
        nodes.append(helper.make_node('Abs', [name], [f'size_{name}']))
        nodes.append(helper.make_node('Relu' if dtype == TensorProto.FLOAT else 'Sign', [f'size_{name}'], [f'out_{name}']))
    outputs = [helper.make_tensor_value_info(f'out_{name}', dtype, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, 'small', values, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)


IMAGE = {'x': [1, 3, 8, 8]}


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))

    def write(change=lambda document: None, model=IMAGE, preprocessing='size: [8, 8]', **options):
        write_model(tmp_path / 'model.onnx', model, **options)
        (tmp_path / 'preprocessing.yaml').write_text(preprocessing)
        (tmp_path / 'labels.txt').write_text('a\nb\n')
        document = {
            'fleet': 'asked', 'source': 'pi', 'model': {'path': 'model.onnx', 'preprocessing': 'preprocessing.yaml'},
            'devices': {'pi': {'emulate': {}}, 'box': {'emulate': {}}}, 'parameters': {},
            'links': [{'between': ['pi', 'box'], 'rate': '1 MB/s', 'emulate': True}],
        }  # fmt: skip
        change(document)
        path = tmp_path / 'fleet.yaml'
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def refusals(path):
    return [check for check in doctor_fleet.fleet_file(path) if check.status == 'fail']


STATE_TOO = {'x': [1, 3, 8, 8], 'state': [1, 4]}


def joints(**keys):
    """Return what gives a fleet file an input from joints."""
    given = {'kind': 'message', 'topic': '/joints', 'type': 'sensor_msgs/msg/JointState', 'field': 'position', **keys}
    return lambda document: document.update(inputs={'state': given}, camera={'topic': 'a'})


BAD = {
    'two inputs': (
        {'model': {'x': [1, 3, 8, 8], 'state': [1, 4]}, 'change': lambda d: d.update(camera={'topic': 'a/compressed'})},
        'worker', "nothing gives the input 'state'"),
    'no such input': ({'change': lambda d: d.update(inputs={'y': {'kind': 'constant', 'value': 1}})}, 'worker', "has no input 'y'"),
    'constant': (
        {'model': {'x': [1, 3, 8, 8], 'state': [1, 4]}, 'change': lambda d: d.update(inputs={'state': {'kind': 'constant', 'value': [1, 2]}})},
        'worker', r"\[2\] does not fit 'state'"),
    'open size': ({'model': {'x': [1, 1, 'samples']}, 'change': lambda d: d['model'].pop('preprocessing')}, 'worker', 'leaves sizes open'),
    'no reference': (
        {'change': lambda d: d.update(synchronise={'reference': 'y'})}, 'frame_source', "'y' is no input that begins frames"),
    'type of a message': ({'model': STATE_TOO, 'change': joints(type='no_such_msgs/msg/State')}, 'frame_source', 'there is no no_such_msgs'),
    'field of a message': ({'model': STATE_TOO, 'change': joints(field='positoin')}, 'frame_source', "no field 'positoin'.*position"),
    'no image': ({'model': {'x': [1, 1, 1600]}, 'change': lambda d: (d['model'].pop('preprocessing'), d.update(camera={'topic': 'a'}))}, 'worker',
                 'does not say how'),
    'int8 input': ({'dtype': TensorProto.INT8}, 'worker', 'preprocessing gives float32|cannot|INT8|int8'),
    'other size': ({'preprocessing': 'size: [8, 9]'}, 'worker', r'gives \[1, 3, 9, 8\]'),
    'bad preprocessing': ({'preprocessing': 'size: [8, 8'}, 'worker', 'is not valid YAML'),
    'no such model': ({'change': lambda d: d['model'].update(path='nowhere.onnx')}, 'worker', 'does not exist'),
    'no model': ({'change': lambda d: d.pop('model')}, 'worker', 'names no model'),
    'provider': ({'change': lambda d: d['devices']['pi'].update(providers=['NowhereProvider'])}, 'worker', 'is not in this onnxruntime'),
    'sink': ({'change': lambda d: d.update(sink='box')}, 'frame_source', 'results go to the frame source'),
    'postprocessing': ({'change': lambda d: d['model'].update(postprocessing={'kind': 'guess'})}, 'frame_source', "there is no 'guess'"),
    'labels': (
        {'change': lambda d: d['model'].update(postprocessing={'kind': 'classification', 'labels': 'no.txt'})}, 'frame_source', 'no.txt'),
    'watts': ({'change': lambda d: d.update(objective='energy')}, 'scheduler', 'the watts of box, pi are not known'),
    'pin': ({'change': lambda d: d.update(constraints={'pin': {'nowhere': 'pi'}})}, 'scheduler', "has no layer 'nowhere'"),
    'fixed plan': (
        {'change': lambda d: d.update(parameters={'scheduler': {'fixed_plan': 'tpu:pre-end'}})}, 'scheduler', "no device is called 'tpu'"),
    'deadline': ({'change': lambda d: d.update(parameters={'scheduler': {'objective': 'deadline'}})}, 'scheduler', 'needs a deadline'),
    'parameter': ({'change': lambda d: d.update(parameters={'worker': {'threds': 2}})}, 'up', "did you mean 'threads'"),
    'topic': ({'change': lambda d: d.update(camera={'topic': 'a b'})}, 'up', 'is not a ROS topic'),
}  # fmt: skip
STARTED = ('two inputs', 'sink', 'watts', 'parameter')


@pytest.mark.parametrize('name', BAD)
def test_the_doctor_refuses_what_the_nodes_refuse(nodes, fleet, name):
    given, node, words = BAD[name]
    path = fleet(**given)
    found = refusals(path)
    assert len(found) == 1 and re.search(words, found[0].found), found
    assert '\n' not in found[0].found and found[0].advice
    if name in STARTED:
        process = nodes.start(*start(node, path))
        wait_until(lambda: not process.running, f'the end of {name}')
        assert process.code == 2 and re.search(words, process.output) and 'Traceback' not in process.output


def start(node, path):
    if node == 'up':
        return ('-m', 'edge_dnn_partition.cli', 'up', str(path))
    namespace = '/asked' if node == 'scheduler' else '/asked/pi'
    return ('-m', 'edge_dnn_partition.nodes', node, '--ros-args', '-r', f'__ns:={namespace}', '-p', f'fleet_file:={path}')


def test_what_the_doctor_passes_starts(nodes, fleet):
    path = fleet()
    assert not refusals(path), refusals(path)
    process = nodes.start(*start('up', path))
    process.wait_for(': active', count=6)
    process.wait_for('plan 1: ')


def test_of_other_machines_only_what_can_be_known_is_said(fleet):
    def real(document):
        document['devices'] = {'pi': {}, 'box': {'providers': ['NowhereProvider']}}
        document['links'][0].pop('emulate')

    path = fleet(real)
    assert [c.status for c in doctor_fleet.fleet_file(path) if c.name == 'providers'] == ['warn']
    assert not [c for c in doctor_fleet.fleet_file(path, 'pi') if c.name == 'providers']
    assert [c.status for c in doctor_fleet.fleet_file(path, 'box') if c.name == 'providers'] == ['fail']
    assert doctor_fleet.fleet_file(path, 'bax')[0].status == 'fail'

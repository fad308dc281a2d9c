# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet file that starts and then never has a plan, or says what nothing reads, is not well for the doctor."""

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.cli import doctor_fleet


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp('fleet')
    weights = [numpy_helper.from_array(np.ones((192, 4), np.float32), 'w'), numpy_helper.from_array(np.array([1, 192]), 's')]
    nodes = [
        helper.make_node('Relu', ['x'], ['r'], name='relu'), helper.make_node('Reshape', ['r', 's'], ['f'], name='flat'),
        helper.make_node('MatMul', ['f', 'w'], ['y'], name='fc'),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (('x', [1, 3, 8, 8]), ('y', [1, 4]))]
    graph = helper.make_graph(nodes, 'small', ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'model.onnx')
    (tmp_path / 'none').mkdir()
    (tmp_path / 'some').mkdir()
    cv2.imwrite(str(tmp_path / 'some' / 'a.jpg'), np.zeros((16, 16, 3), np.uint8))

    return tmp_path


@pytest.fixture
def asked(folder, monkeypatch):
    """Return what changes a good fleet file and asks the doctor for all that is not well."""
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))

    def ask(change):
        (folder / 'preprocessing.yaml').write_text('size: [8, 8]')
        document = {
            'fleet': 'asked', 'source': 'pi', 'model': {'path': 'model.onnx', 'preprocessing': 'preprocessing.yaml'},
            'devices': {'pi': {'emulate': {}}, 'box': {'emulate': {}}},
            'links': [{'between': ['pi', 'box'], 'rate': '1 MB/s', 'emulate': True}], 'constraints': {}, 'camera': {},
        }  # fmt: skip
        change(document, folder)
        (folder / 'fleet.yaml').write_text(yaml.safe_dump(document))
        return {check.name: check for check in doctor_fleet.fleet_file(folder / 'fleet.yaml') if check.status != 'ok'}

    return ask


NO_PLAN = {
    'all excluded': ({'exclude': ['pi', 'box']}, 'cannot run on any device'),
    'pinned where nothing may run': ({'exclude': ['box'], 'pin': {'fc': 'box'}}, "'flat … fc' cannot run"),
    'private and pinned elsewhere': ({'private_until': 'fc', 'pin': {'relu': 'box'}}, "'relu … relu' cannot run"),
    'private without the source': ({'private_until': 'relu', 'exclude': ['pi']}, 'cannot run'),
}


@pytest.mark.parametrize('name', NO_PLAN)
def test_constraints_that_leave_no_plan_fail(asked, name):
    constraints, words = NO_PLAN[name]
    check = asked(lambda document, _: document.update(constraints=constraints))['plan']
    assert check.status == 'fail' and words in check.found and 'constraints' in check.found


def test_devices_too_small_for_any_layer_and_a_pin_without_a_link_fail(asked):
    def small(document, _):
        for device in document['devices'].values():
            device['memory'] = '1 kB'

    assert 'fit into no device' in asked(small)['plan'].found
    assert 'links' in asked(lambda d, _: d.update(links=[], constraints={'pin': {'fc': 'box'}}))['plan'].found


def test_constraints_that_leave_one_plan_pass(asked):
    assert not asked(lambda d, _: d.update(constraints={'exclude': ['pi'], 'pin': {'fc': 'box'}}))


UNUSED = {
    'deadline': (lambda d, _: d.update(deadline='200 ms'), 'objective: deadline'),
    'weights': (lambda d, _: d.update(weights=[0.7, 0.3]), 'objective: balanced'),
    'fixed plan': (lambda d, _: d.update(parameters={'scheduler': {'fixed_plan': 'pi:pre-end'}}), 'policy: fixed'),
    'a device without a link': (lambda d, _: d['devices'].update(far={'emulate': {}}), 'far has none'),
    'a raw topic': (lambda d, _: d.update(camera={'topic': '/cam/image_raw'}), 'of type CompressedImage'),
    'a compressed topic': (lambda d, _: d.update(camera={'topic': '/cam/compressed', 'compressed': False}), 'of type Image'),
    'a budget of bytes': (lambda d, _: d.update(parameters={'worker': {'memory_budget': '4'}}), 'memory_budget: 4 is 4 bytes'),
    'a mean of bytes': (lambda _, p: (p / 'preprocessing.yaml').write_text('{size: [8, 8], mean: [123.7, 116.3, 103.5]}'), 'scale: 1'),
}


@pytest.mark.parametrize('name', UNUSED)
def test_what_does_nothing_is_named(asked, name):
    change, words = UNUSED[name]
    found = asked(change)
    assert list(found) == ['unused keys'] and found['unused keys'].status == 'warn' and words in found['unused keys'].found


WEIGHTLESS = {'emulate': {}, 'power': {'weight': 0}}


def test_what_counts_is_not_named(asked):
    assert not asked(lambda d, _: d.update(objective='balanced', weights=[0.7, 0.3], devices=dict.fromkeys(d['devices'], WEIGHTLESS)))
    assert not asked(lambda d, _: d.update(camera={'topic': '/cam/image_raw', 'compressed': False}))


MEANINGS = {
    'an output that is not there': ({'kind': 'classification', 'output': 'z'}, "the model has no 'z'"),
    'labels without the background': ({'kind': 'classification', 'labels': 'three.txt'}, 'room for 4 classes, the labels file has 3'),
    'boxes of a classifier': ({'kind': 'detection', 'head': 'yolov8'}, 'that looks like {kind: classification}'),
    'logits as probabilities': ({'kind': 'classification', 'softmax': False}, 'is no probability'),
}


@pytest.mark.parametrize('name', MEANINGS)
def test_a_postprocessing_that_the_outputs_do_not_fit_fails(asked, name):
    """One run of the model tells what no key does."""
    meaning, words = MEANINGS[name]
    found = asked(lambda d, p: ((p / 'three.txt').write_text('a\nb\nc'), d['model'].update(postprocessing=meaning)))
    assert list(found) == ['postprocessing'] and words in found['postprocessing'].found
    assert not asked(lambda d, _: d['model'].update(postprocessing={'kind': 'classification'}))


def test_images_and_cameras_that_are_not_there_fail(asked):
    assert 'contains no image' in asked(lambda d, _: d.update(camera={'topic': 'a/compressed', 'samples': 'none'}))['camera'].found
    assert '/dev/video60001' in asked(lambda d, _: d.update(camera={'camera': 60001}))['camera'].found
    assert not asked(lambda d, _: d.update(camera={'images': 'some', 'samples': 'some'}))


def test_a_journal_that_cannot_be_written_and_a_missing_token_are_told(asked, folder):
    """A fleet runs without both, but not as it was meant to."""
    found = asked(lambda d, _: d.update(parameters={'frame_source': {'journal': '/proc/nowhere'}}))
    assert list(found) == ['journal'] and found['journal'].status == 'warn' and '/proc/nowhere' in found['journal'].found
    assert not asked(lambda d, p: d.update(parameters={'frame_source': {'journal': str(p / 'made' / 'later')}}))
    assert not (folder / 'made').exists()
    found = asked(lambda d, p: d.update(parameters={'dashboard': {'token_file': str(p / 'no.txt')}}))
    assert list(found) == ['dashboard'] and found['dashboard'].status == 'fail' and 'no.txt' in found['dashboard'].found
    (folder / 'token').write_text('word')
    (folder / 'token').chmod(0o600)
    assert not asked(lambda d, p: d.update(parameters={'dashboard': {'token_file': str(p / 'token')}}))


def test_two_pins_in_one_segment_fail(asked):
    assert 'in one segment' in asked(lambda d, _: d.update(constraints={'pin': {'flat': 'pi', 'fc': 'box'}}))['planning'].found


@pytest.mark.parametrize(('worker', 'timeout', 'slowest'), [
    ({}, 0.7, 4), ({'heartbeat_hz': 2}, 1.4, 2), ({'rest_heartbeat_hz': 10}, 0.25, 10),
])  # fmt: skip
def test_a_patience_shorter_than_three_heartbeats_is_told(asked, worker, timeout, slowest):
    def found(**seconds):
        nodes = {node: {'heartbeat_timeout': value} for node, value in seconds.items()}
        return asked(lambda d, _: d.update(parameters={'worker': worker, **nodes}))

    enough = 3.01 / slowest
    assert not found(scheduler=enough, frame_source=enough)
    for node, other in (('scheduler', 'frame_source'), ('frame_source', 'scheduler')):
        told = found(**{node: timeout, other: enough})['unused keys'].found
        assert f'{node}.heartbeat_timeout: {timeout} s is shorter than three heartbeats' in told
        assert f'({slowest} a second' in told and other not in told


def test_a_mistake_among_the_parameters_is_told_once(asked):
    assert list(asked(lambda d, _: d.update(parameters={'scheduler': {'encodings': ['gzip']}}))) == ['parameters']


def test_a_camera_that_is_missing_beside_other_sources_is_told(asked, folder):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ('x', 'more', 'y')]
    graph = helper.make_graph([helper.make_node('Add', ['x', 'more'], ['y'], name='sum')], 'two', ends[:2], ends[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), folder / 'two.onnx')
    more = {'more': {'kind': 'message', 'topic': 'more', 'type': 'edge_dnn_partition/msg/TensorData'}}

    def change(document, _, **others):
        document.update(inputs=more, **others)
        document['model']['path'] = 'two.onnx'

    assert 'no source gives x, so frames come by infer only' in asked(change)['unused keys'].found
    assert not asked(lambda d, f: change(d, f, camera={'topic': 'a/compressed'}))
    assert not asked(lambda d, f: change(d, f, parameters={'frame_source': {'image_topic': 'a/compressed'}}))

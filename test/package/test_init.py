# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``init`` writes files that the fleet accepts as they are, or says in them what a person has to fill in."""

import json

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.cli import doctor_fleet
from edge_dnn_partition.cli.main import main
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.results.postprocess import postprocessor_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path, inputs, outputs, **properties):
    """Save a model that makes each output of all inputs by sums and products of seeded weights."""
    random = np.random.default_rng(3)
    nodes, weights, sums = [], [], []
    for name in inputs:
        nodes.append(helper.make_node('ReduceMean', [name], [f'{name}.mean'], keepdims=0))
        sums.append(f'{name}.mean')
    nodes.append(helper.make_node('Sum', sums, ['sum']))
    for name, shape in outputs.items():
        weights.append(numpy_helper.from_array(random.random(shape, np.float32) / 4, f'{name}.weight'))
        nodes += [helper.make_node('Mul', [f'{name}.weight', 'sum'], [f'{name}.raw']),
                  helper.make_node('Sigmoid', [f'{name}.raw'], [name])]  # fmt: skip
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in each.items()] for each in (inputs, outputs)]
    graph = helper.make_graph(nodes, 'made', *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in properties.items()})
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path)


def failures(path):
    return {check.name: check.found for check in doctor_fleet.fleet_file(path) if check.status == 'fail'}


def test_a_detector_of_ultralytics_is_ready(folder, capsys):
    names = {0: 'cat', 1: 'guard: dog', 2: '#3'}
    save(folder / 'best.onnx', {'images': ['batch', 3, 'height', 'width']}, {'output0': [1, 7, 84]}, task='detect', stride=32,
         names=names, imgsz=[64, 96], version='8.3.0')  # fmt: skip
    (folder / 'photos').mkdir()
    cv2.imwrite(str(folder / 'photos' / 'a.jpg'), np.full((40, 60, 3), 90, np.uint8))
    assert main(['init', 'best.onnx', '--images', 'photos']) == 0
    assert 'not known' not in capsys.readouterr().out
    fleet = load_fleet('robot.yaml')
    assert fleet.model.path == folder / 'best.onnx' and 'path: best.onnx' in (folder / 'robot.yaml').read_text()
    preprocessing = Preprocessing.from_yaml(fleet.model.preprocessing)
    assert (preprocessing.shape, preprocessing.resize, preprocessing.pad_value) == ((1, 3, 64, 96), 'letterbox', 114)
    assert fleet.model.postprocessing == {'kind': 'detection', 'head': 'yolov8', 'labels': 'labels.txt'}
    assert postprocessor_of(fleet.model.postprocessing, folder).names == ('cat', 'guard: dog', '#3')
    assert failures('robot.yaml') == {}


def test_real_devices_are_linked_and_not_emulated(folder):
    save(folder / 'm.onnx', {'x': [1, 3, 16, 16]}, {'y': [1, 4]})
    assert main(['init', 'm.onnx', '--device', 'pi', '--device', 'jetson', '--device', 'cloud', '--fleet', 'rover', '--out', 'out']) == 0
    fleet = load_fleet('out/rover.yaml')
    assert (fleet.fleet, fleet.source, list(fleet.devices)) == ('rover', 'pi', ['pi', 'jetson', 'cloud'])
    assert not fleet.emulated and {frozenset(link.between) for link in fleet.links} == {
        frozenset(pair) for pair in (('pi', 'jetson'), ('pi', 'cloud'), ('jetson', 'cloud'))}  # fmt: skip
    assert fleet.model.path == folder / 'm.onnx'  # outside the folder, so by its whole path


def test_a_folder_of_hugging_face_whose_labels_do_not_fit_is_said(folder, capsys):
    save(folder / 'hub' / 'model.onnx', {'pixel_values': [1, 3, 32, 32]}, {'logits': [1, 4]})
    (folder / 'hub' / 'config.json').write_text(json.dumps(
        {'architectures': ['ViTForImageClassification'], 'id2label': {'0': 'background', '1': 'cat', '2': 'dog'}}))  # fmt: skip
    (folder / 'hub' / 'preprocessor_config.json').write_text(json.dumps({'size': 32, 'image_mean': [0.5] * 3, 'image_std': [0.5] * 3}))
    assert main(['init', 'hub', '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    assert any('4 classes' in line for line in told['unknown'])
    assert '# NOT KNOWN: ' in (folder / 'robot.yaml').read_text() and load_fleet('robot.yaml').model.postprocessing is None
    assert told['files'] == ['preprocessing.yaml', 'labels.txt', 'robot.yaml'] and 'config.json' in told['source']


def test_labels_for_some_classes_only_are_doubted(folder, capsys):
    save(folder / 'cls.onnx', {'images': [1, 3, 16, 16]}, {'output0': [1, 9]}, task='classify', stride=1, names={0: 'cat', 1: 'dog'})
    assert main(['init', 'cls.onnx']) == 0
    assert 'not known: labels: 2 names for 9 classes' in capsys.readouterr().out
    assert load_fleet('robot.yaml').model.postprocessing['labels'] == 'labels.txt'


def test_characters_of_a_text_recogniser_are_kept_as_they_are(folder):
    save(folder / 'rec.onnx', {'x': [1, 3, 48, 64]}, {'y': [1, 8, 5]}, character='a\n\u3000\n1')
    assert main(['init', 'rec.onnx']) == 0
    fleet = load_fleet('robot.yaml')
    assert postprocessor_of(fleet.model.postprocessing, folder).names == ('a', '\u3000', '1')
    assert Preprocessing.from_yaml(fleet.model.preprocessing).resize == 'fit_height'


def test_several_inputs_have_to_be_filled_in(folder):
    save(folder / 'policy.onnx', {'front': [1, 3, 16, 16], 'state': [1, 7], 'h_in': [1, 8]}, {'action': [1, 5, 7], 'h_out': [1, 8]})
    assert main(['init', 'policy.onnx']) == 0
    found = failures('robot.yaml')
    assert list(found) == ['fleet file']
    for place in ('inputs.front.topic (the camera topic of front)', 'inputs.state.topic', 'inputs.state.type', 'inputs.state.field'):
        assert place in found['fleet file']
    text = (folder / 'robot.yaml').read_text()
    assert 'h_in: {kind: state, output: h_out, initial: 0.0}' in text and 'postprocessing' not in text
    assert Preprocessing.from_yaml(folder / 'front.yaml').shape == (1, 3, 16, 16)


def test_a_decoder_with_open_sizes_gets_a_window(folder):
    ends = {'input_ids': ['b', 's'], 'attention_mask': ['b', 'all'], 'past_key_values.0.key': ['b', 2, 'past', 8]}
    save(folder / 'decoder.onnx', ends, {'logits': [1, 1, 9], 'present.0.key': [1, 2, 129, 8]})
    assert main(['init', 'decoder.onnx']) == 0
    fleet = load_fleet('robot.yaml')
    shapes = {name: list(shape) for name, shape in fleet.model.shapes.items()}
    assert shapes == {'input_ids': [1, 1], 'attention_mask': [1, 129], 'past_key_values.0.key': [1, 2, 128, 8]}
    assert {name: given.output for name, given in fleet.inputs.items()} == {'past_key_values.0.key': 'present.0.key'}
    assert list(failures('robot.yaml')) == []


def test_a_depth_image_beside_colour(folder):
    save(folder / 'rgbd.onnx', {'rgb': [1, 3, 16, 16], 'depth': [1, 1, 16, 16]}, {'y': [1, 4]})
    assert main(['init', 'rgbd.onnx']) == 0
    assert Preprocessing.from_yaml(folder / 'depth.yaml').colour == 'depth' and Preprocessing.from_yaml(folder / 'rgb.yaml').colour == 'rgb'
    assert "'TODO: the camera topic of depth', compressed: false" in (folder / 'robot.yaml').read_text()


def test_a_model_without_images_is_left_to_infer(folder):
    save(folder / 'speech.onnx', {'audio': [1, 1600]}, {'y': [1, 4]})
    assert main(['init', 'speech.onnx']) == 0
    assert load_fleet('robot.yaml').model.preprocessing is None and '#   audio: float [1, 1600]' in (folder / 'robot.yaml').read_text()


def test_a_decoder_gets_its_cache_from_the_frame_before_and_its_tokens_by_infer(folder):
    cache = {'past_key_values.0.key': [1, 2, 8, 4], 'past_key_values.0.value': [1, 2, 8, 4]}
    save(folder / 'decoder.onnx', {'tokens': [1, 1], **cache}, {'logits': [1, 1, 9], 'present.0.key': [1, 2, 8, 4], 'present.0.value': [1, 2, 8, 4]})
    assert main(['init', 'decoder.onnx']) == 0
    inputs = load_fleet('robot.yaml').inputs
    assert {name: given.output for name, given in inputs.items()} == {name: name.replace('past_key_values', 'present') for name in cache}
    assert failures('robot.yaml') == {} and '#   tokens: float [1, 1]' in (folder / 'robot.yaml').read_text()


@pytest.mark.parametrize(('shape', 'guess'), [([1, 84, 189], 'head: yolov8'), ([1, 300, 6], 'head: end_to_end'), ([1, 10], 'classif')])
def test_a_guess_is_called_one(folder, capsys, shape, guess):
    save(folder / 'm.onnx', {'x': [1, 3, 96, 96]}, {'y': shape})
    assert main(['init', 'm.onnx']) == 0
    out = capsys.readouterr().out
    assert guess in out and 'guessed: postprocessing' in out and 'nothing says how its pixels are scaled' in out
    line = next(line for line in (folder / 'robot.yaml').read_text().splitlines() if 'postprocessing' in line)
    assert guess in line and '# a guess' in line


@pytest.mark.parametrize(('outputs', 'kind'), [
    ({'last_hidden_state': [1, 50, 16], 'pooler_output': [1, 16]}, 'embedding'), ({'image_embeds': [1, 16]}, 'embedding'),
    ({'boxes': [20, 4], 'other': [20]}, None), ({'logits': [1, 30, 5], 'pred_boxes': [1, 30, 4]}, 'detection'),
])  # fmt: skip
def test_names_of_outputs_tell_more_than_shapes(folder, outputs, kind):
    save(folder / 'm.onnx', {'x': [1, 3, 32, 32]}, outputs)
    assert main(['init', 'm.onnx']) == 0
    meaning = load_fleet('robot.yaml').model.postprocessing
    assert (meaning and meaning['kind']) == kind


@pytest.mark.parametrize(('words', 'part'), [
    (['--device', 'pi', '--device', 'pi'], '--device pi is given twice'), (['--device', 'no-name'], "such as 'no_name'"),
    (['--fleet', '1st'], "such as 'n1st'"), (['--out', 'm.onnx'], 'choose another folder'), ([], 'is there already; overwrite with --force'),
])  # fmt: skip
def test_what_cannot_be_written_is_one_line(folder, capsys, words, part):
    save(folder / 'm.onnx', {'x': [1, 3, 16, 16]}, {'y': [1, 4]})
    (folder / 'robot.yaml').write_text('mine')
    assert main(['init', 'm.onnx', *words]) == 2
    error = capsys.readouterr().err
    assert part in error and len(error.splitlines()) == 1 and (folder / 'robot.yaml').read_text() == 'mine'
    assert main(['init', 'm.onnx', '--force']) == 0 and load_fleet('robot.yaml')


@pytest.mark.parametrize('labels', [TensorProto.INT64, TensorProto.FLOAT])
def test_lists_without_names_that_tell_are_read_by_their_types(folder, labels):
    """torchvision's detectors come out of the exporter with numbers as names, RetinaNet's scores before its labels."""
    values = [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 3, 320, 320])]
    values += [helper.make_tensor_value_info(name, dtype, shape) for name, dtype, shape in (
        ('1204', TensorProto.FLOAT, ['n', 4]), ('1190', TensorProto.FLOAT, ['n']), ('1191', labels, ['n']))]  # fmt: skip
    nodes = [helper.make_node('Abs', ['x'], [value.name]) for value in values[1:]]
    graph = helper.make_graph(nodes, 'lists', values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), 'retina.onnx')
    main(['init', 'retina.onnx'])
    given = load_fleet('robot.yaml').model.postprocessing
    lists = {'kind': 'detection', 'head': 'lists', 'output': '1204', 'scores': '1190', 'classes': '1191'}
    assert given == (lists if labels == TensorProto.INT64 else None)


@pytest.mark.parametrize(('file', 'kind'), [('dinov2.onnx', 'embedding'), ('encoder_model.onnx', None)])
def test_what_a_decoder_reads_is_no_embedding(folder, file, kind):
    save(folder / file, {'pixel_values': [1, 3, 192, 192]}, {'last_hidden_state': [1, 145, 256]})
    assert main(['init', file]) == 0
    given = load_fleet('robot.yaml').model.postprocessing
    assert (given and given['kind']) == kind

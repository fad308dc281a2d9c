# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What exporters and hubs write of a model is read as its own library reads it, and what they leave out is said."""

import json

import pytest
from onnx import TensorProto, helper

from edge_dnn_partition.errors import ModelError, UserError
from edge_dnn_partition.graph.metadata.ends import read_ends
from edge_dnn_partition.graph.metadata.read import read_facts
from edge_dnn_partition.graph.metadata.sidecars import model_file


def model(inputs, outputs, dtype=TensorProto.FLOAT, **properties):
    """Return a model of which only the ends matter."""
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()]
    made = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in outputs.items()]
    nodes = [helper.make_node('Identity', [given[0].name], [value.name]) for value in made]
    built = helper.make_model(helper.make_graph(nodes, 'ends', given, made), opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    helper.set_model_props(built, {key: str(value) for key, value in properties.items()})
    return built


@pytest.fixture
def said(save, tmp_path):
    def read(outputs=None, inputs=None, files=(), **properties):
        for name, content in dict(files).items():
            (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return read_facts(read_ends(save(model(inputs or {'images': [1, 3, 64, 64]}, outputs or {'output0': [1, 7, 84]}, **properties))))

    return read


def plain(facts):
    return {key: fact.value for key, fact in facts.items()}


YOLO = {'stride': 32, 'version': '8.3.0', 'names': {0: 'cat', 1: 'dog', 2: 'cow'}, 'imgsz': [64, 96], 'args': {'nms': False}}
HEADS = {
    'detect': ('detect', {'o': [1, 7, 84]}, {}, {'kind': 'detection', 'head': 'yolov8'}),
    'nms inside': ('detect', {'o': [1, 300, 6]}, {'args': {'nms': True}}, {'kind': 'detection', 'head': 'end_to_end'}),
    'end to end': ('detect', {'o': [1, 300, 6]}, {'end2end': True}, {'kind': 'detection', 'head': 'end_to_end'}),
    'RT-DETR': ('detect', {'o': [1, 300, 7]}, {'head': 'RTDETRDecoder'}, {'kind': 'detection', 'normalised': True, 'overlap': 1.0}),
    'segment': ('segment', {'o': [1, 39, 84], 'p': [1, 32, 16, 16]}, {}, {'kind': 'instance_segmentation', 'head': 'yolov8'}),
    'pose': ('pose', {'o': [1, 58, 84]}, {'kpt_shape': [17, 3]}, {'kind': 'pose', 'head': 'yolov8', 'keypoints': 17}),
    'flat pose': (
        'pose', {'o': [1, 15, 84]}, {'kpt_shape': [4, 2]}, {'kind': 'pose', 'head': 'yolov8', 'keypoints': 4, 'keypoint_values': 2}),
    'obb': ('obb', {'o': [1, 8, 84]}, {}, {'kind': 'oriented_detection', 'head': 'yolov8'}),
    'classify': ('classify', {'o': [1, 3]}, {}, {'kind': 'classification', 'softmax': False}),
}  # fmt: skip


@pytest.mark.parametrize('name', HEADS)
def test_ultralytics_tasks(said, name):
    task, outputs, more, meaning = HEADS[name]
    facts = said(outputs, task=task, **(YOLO | more))
    assert plain(facts.postprocessing) == meaning
    assert facts.labels == ('cat', 'dog', 'cow') and facts.size == (96, 64) and not facts.unknown
    resize = facts.preprocessing['resize'].value
    assert resize == ('center_crop' if task == 'classify' else 'letterbox') and facts.preprocessing['scale'].value == 1 / 255


def test_yolov5_wrote_names_and_stride_alone(said):
    facts = said({'output0': [1, 252, 8]}, stride=32, names=['cat', 'dog', 'cow'])
    assert plain(facts.postprocessing) == {'kind': 'detection', 'head': 'yolov5'} and facts.labels == ('cat', 'dog', 'cow')
    assert any('no task' in line for line in facts.unknown)
    assert plain(said({'output0': [1, 3]}, stride=32, names=['a', 'b', 'c']).postprocessing) == {'kind': 'classification', 'softmax': True}


@pytest.mark.parametrize('names', ['None', '{}', '__import__("os").getcwd()', "{'a': 1}", '[' * 5000])
def test_names_that_are_none_are_asked_for(said, names):
    facts = said(task='detect', **(YOLO | {'names': names}))
    assert facts.labels == () and any(line.startswith('labels') for line in facts.unknown)


def test_a_class_that_was_left_out_keeps_the_others_in_place(said):
    assert said(task='detect', **(YOLO | {'names': {0: 'cat', 2: 'cow'}})).labels == ('cat', 'class 1', 'cow')


VIT = {'size': {'height': 64, 'width': 64}, 'image_mean': [0.5] * 3, 'image_std': [0.25] * 3, 'resample': 2, 'do_rescale': True,
       'rescale_factor': 1 / 255, 'do_normalize': True, 'do_resize': True}  # fmt: skip
CONFIG = {'architectures': ['ViTForImageClassification'], 'id2label': {'1': 'dog', '0': 'cat', '10': 'cow'}}
LOGITS = {'logits': [1, 11]}


def folder(said, config=CONFIG, processor=VIT, outputs=LOGITS, **rest):
    files = {'config.json': config} | ({} if processor is None else {'preprocessor_config.json': processor})
    return said(outputs, {'pixel_values': ['batch_size', 'num_channels', 'height', 'width']}, files, **rest)


def test_a_folder_of_hugging_face(said):
    facts = folder(said)
    assert plain(facts.preprocessing) == {
        'colour': 'rgb', 'scale': 1 / 255, 'mean': [0.5] * 3, 'std': [0.25] * 3, 'resize': 'stretch', 'interpolation': 'area'}  # fmt: skip
    assert facts.size == (64, 64) and plain(facts.postprocessing) == {'kind': 'classification'} and not facts.unknown
    assert facts.labels[:2] == ('cat', 'dog') and facts.labels[10] == 'cow' and facts.labels[5] == 'class 5'  # by number, not by text


PROCESSORS = {
    'clip': ({'size': {'shortest_edge': 256}, 'do_center_crop': True, 'crop_size': {'height': 224, 'width': 224}},
             {'resize': 'center_crop', 'crop_ratio': 0.875}, (224, 224)),
    'an old clip': ({'size': 256, 'do_center_crop': True, 'crop_size': 224}, {'resize': 'center_crop', 'crop_ratio': 0.875}, (224, 224)),
    'an old vit': ({'size': 224}, {'resize': 'stretch'}, (224, 224)),
    'convnext': ({'size': {'shortest_edge': 224}, 'crop_pct': 0.875}, {'resize': 'center_crop', 'crop_ratio': 0.875}, (224, 224)),
    'a large convnext': ({'size': {'shortest_edge': 384}, 'crop_pct': 0.875}, {'resize': 'stretch'}, (384, 384)),
    'mobilevit': ({'size': 224, 'do_flip_channel_order': True, 'do_normalize': False}, {'colour': 'bgr', 'mean': None}, (224, 224)),
    'pixels': ({'size': 224, 'do_rescale': False, 'image_mean': [127.5] * 3}, {'scale': 1.0, 'mean': [127.5] * 3}, (224, 224)),
    'efficientnet': ({'size': 224, 'rescale_factor': 1 / 127.5, 'rescale_offset': True, 'do_normalize': False},
                     {'scale': 1 / 127.5, 'mean': [1.0]}, (224, 224)),
    'nearest': ({'size': 224, 'resample': 0}, {'interpolation': 'nearest'}, (224, 224)),
}  # fmt: skip


@pytest.mark.parametrize('name', PROCESSORS)
def test_steps_of_processors(said, name):
    more, keys, size = PROCESSORS[name]
    facts = folder(said, processor=VIT | more)
    found = plain(facts.preprocessing)
    assert {key: found.get(key) for key in keys} == keys and facts.size == size


def test_detr_pads_at_the_right_and_below_with_zeros(said):
    image = VIT | {'size': {'shortest_edge': 800, 'longest_edge': 1333}, 'do_pad': True, 'image_mean': [0.4, 0.5, 0.6]}
    facts = said({'logits': [1, 100, 92], 'pred_boxes': [1, 100, 4]}, {'pixel_values': [1, 3, 480, 640]},
                 {'config.json': {'architectures': ['DetrForObjectDetection']}, 'preprocessor_config.json': image})  # fmt: skip
    found = plain(facts.preprocessing)
    assert (found['resize'], found['align'], found['pad_value']) == ('letterbox', 'top_left', 127.5)
    assert plain(facts.postprocessing) == {'kind': 'detection', 'head': 'detr'}


@pytest.mark.parametrize(('architecture', 'meaning'), [
    ('RTDetrV2ForObjectDetection', {'kind': 'detection', 'head': 'rt_detr'}),
    ('SegformerForSemanticSegmentation', {'kind': 'segmentation'}),
    ('DepthAnythingForDepthEstimation', {'kind': 'depth', 'inverse': True}),
    ('ZoeDepthForDepthEstimation', {'kind': 'depth'}),
    ('Dinov2Model', {'kind': 'embedding'}),
    ('MaskFormerForInstanceSegmentation', {}),
])  # fmt: skip
def test_architectures(said, architecture, meaning):
    facts = folder(said, config={'architectures': [architecture]})
    assert plain(facts.postprocessing) == meaning
    assert bool(meaning) or any(architecture in line for line in facts.unknown)


def test_what_a_folder_leaves_out_is_said(said):
    placeholders = folder(said, config=CONFIG | {'id2label': {'0': 'LABEL_0', '1': 'LABEL_1'}})
    assert not placeholders.labels and any('LABEL_0' in line for line in placeholders.unknown)


def test_a_folder_without_its_processor_is_said(said):
    assert any('preprocessor_config.json' in line for line in folder(said, processor=None).unknown)


def test_timm_cuts_the_middle_out(said):
    config = {'architecture': 'resnet18', 'num_classes': 3, 'pretrained_cfg': {
        'input_size': [3, 288, 224], 'mean': [0.1, 0.2, 0.3], 'std': [0.4, 0.5, 0.6], 'crop_pct': 0.95, 'interpolation': 'bicubic',
        'label_names': ['n01', 'n02', 'n03'], 'label_descriptions': {'n01': 'cat', 'n03': 'cow'}}}  # fmt: skip
    facts = said({'y': [1, 3]}, files={'config.json': config})
    found = plain(facts.preprocessing)
    assert (found['mean'], found['std']) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert (found['resize'], found['crop_ratio'], found['interpolation']) == ('center_crop', 0.95, 'area')
    assert facts.size == (224, 288) and facts.labels == ('cat', 'n02', 'cow') and plain(facts.postprocessing) == {'kind': 'classification'}
    squash = config['pretrained_cfg'] | {'crop_mode': 'squash', 'crop_pct': 1.0}
    assert plain(said({'y': [1, 3]}, files={'config.json': config | {'pretrained_cfg': squash}}).preprocessing)['resize'] == 'stretch'


CHARACTERS = "0\n \n\u3000\nb\u2028\x85\n'\r\n"


@pytest.mark.parametrize(('classes', 'space'), [(6, None), (7, True)])
def test_the_characters_of_a_text_recogniser(said, classes, space):
    """White characters are characters: who strips them shifts all that follow."""
    facts = said({'y': [1, 40, classes]}, {'x': [1, 3, 48, 320]}, character=CHARACTERS)
    assert facts.labels == ('0', ' ', '\u3000', 'b\u2028\x85', "'") and not facts.unknown
    assert plain(facts.postprocessing) == {'kind': 'text'} | ({} if space is None else {'space': space})
    assert facts.preprocessing['resize'].value == 'fit_height' and facts.preprocessing['colour'].value == 'bgr'


def test_a_list_of_characters_of_another_model_is_noticed(said):
    assert any('5 characters and the output 97 classes' in line for line in said({'y': [1, 40, 97]}, character=CHARACTERS).unknown)


def test_paddlex_keeps_the_characters_beside_the_model(said):
    text = 'PostProcess: {name: CTCLabelDecode, character_dict: ["a", "\'", "1"]}'
    facts = said({'y': [1, 40, 5]}, {'x': [1, 3, 48, 320]}, {'inference.yml': text})
    assert facts.labels == ('a', "'", '1') and plain(facts.postprocessing) == {'kind': 'text', 'space': True}


def test_a_file_that_says_nothing_and_one_that_cannot_be_read(said):
    assert said() is None
    with pytest.raises(UserError, match=r'config.json cannot be read as JSON'):
        said(files={'config.json': '{"architectures": ['})


def test_images_and_states_among_the_inputs(save):
    assert not read_ends(save(model({'input_features': [1, 80, 300]}, {'y': [1, 5]}))).images  # a spectrogram
    inputs = {'rgb': [1, 3, 32, 32], 'nhwc': [1, 32, 48, 3], 'plain': [3, 32, 32], 'audio': [1, 1, 1600], 'vector': [1, 7],
              'h_in': [1, 1, 16], 'past_key_values.0.key': [1, 2, 0, 8], 'past_key_values.0.value': [1, 2, 0, 8], 'deep': [1, 64, 8, 8]}  # fmt: skip
    outputs = {'y': [1, 5], 'h_out': [1, 1, 16], 'present.0.value': [1, 2, 0, 8], 'present.0.key': [1, 2, 0, 8], 'vector2': [1, 8]}
    ends = read_ends(save(model(inputs, outputs)))
    assert {end.name: end.layout for end in ends.images} == {'rgb': 'NCHW', 'nhwc': 'NHWC', 'plain': 'CHW'}
    assert ends.states == {
        'h_in': 'h_out', 'past_key_values.0.key': 'present.0.key', 'past_key_values.0.value': 'present.0.value'}  # fmt: skip


def test_the_model_of_a_folder(save, tmp_path):
    (tmp_path / 'onnx').mkdir()
    with pytest.raises(ModelError, match='has no ONNX file'):
        model_file(tmp_path)
    for name in ('model_quantized.onnx', 'decoder.onnx'):
        save(model({'x': [1, 4]}, {'y': [1, 4]}), f'onnx/{name}')
    with pytest.raises(ModelError, match=r'several models; give one: decoder.onnx, model_quantized.onnx'):
        model_file(tmp_path)
    save(model({'x': [1, 4]}, {'y': [1, 4]}), 'onnx/model.onnx')
    (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
    assert model_file(tmp_path) == tmp_path / 'onnx' / 'model.onnx'
    assert read_facts(read_ends(model_file(tmp_path))).source == 'config.json'

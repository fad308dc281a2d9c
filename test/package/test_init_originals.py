# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What ``init`` writes for a folder of Hugging Face gives the model what transformers' own processor gives it."""

import importlib

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from edge_dnn_partition.cli.main import main
from edge_dnn_partition.inputs.preprocess import Preprocessing

pytest.importorskip('transformers', reason='transformers is in the extra `export`')
Image = pytest.importorskip('PIL.Image')

PROCESSORS = {
    'vit': ('ViT', {}),
    'convnext': ('ConvNext', {'size': {'shortest_edge': 224}}),
    'a large convnext': ('ConvNext', {'size': {'shortest_edge': 384}}),
    'clip': ('CLIP', {}),
    'levit': ('Levit', {}),  # enlarges the size that its file gives by 256 / 224
    'mobilevit': ('MobileViT', {'size': {'shortest_edge': 288}}),  # BGR, and its file has a mean that it does not use
    'efficientnet': ('EfficientNet', {'image_std': [0.4, 0.5, 0.6]}),  # divides by std twice
    'efficientnet with an offset': ('EfficientNet', {'rescale_factor': 1 / 127.5, 'rescale_offset': True, 'include_top': False}),
    'deit': ('DeiT', {}),  # stretched to 256 x 256, then cut
    'segformer': ('Segformer', {}),
    'detr': ('Detr', {'size': {'shortest_edge': 480, 'longest_edge': 640}, 'pad_size': {'height': 480, 'width': 640}}),
}
PICTURE = cv2.resize(np.random.default_rng(5).integers(0, 256, (6, 10, 3), np.uint8), (800, 480), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize('name', PROCESSORS)
def test_the_input_is_that_of_the_processor(tmp_path, name):
    kind, options = PROCESSORS[name]
    module = importlib.import_module(f'transformers.models.{kind.lower()}.image_processing_pil_{kind.lower()}')
    processor = getattr(module, f'{kind}ImageProcessorPil')(**options)
    processor.save_pretrained(tmp_path)
    wanted = np.asarray(processor(images=Image.fromarray(PICTURE), return_tensors='np')['pixel_values'])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, wanted.shape) for name in ('pixel_values', 'y')]
    graph = helper.make_graph([helper.make_node('Abs', ['pixel_values'], ['y'])], 'abs', ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'model.onnx')
    assert main(['init', str(tmp_path), '--out', str(tmp_path / 'out'), '--json']) == 0
    preprocessing = Preprocessing.from_dict(yaml.safe_load((tmp_path / 'out' / 'preprocessing.yaml').read_text()))
    given = preprocessing.apply(PICTURE, 'rgb8')
    assert np.abs(given - wanted).mean() < 0.01 * np.ptp(wanted)

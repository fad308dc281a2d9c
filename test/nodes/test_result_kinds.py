# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet whose model has an int8 input without a batch axis and a pose head: what comes out is what the whole model says."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

SIZE, POINTS = 64, 2
RANDOM = np.random.default_rng(8)
PREPROCESSING = '{size: [64, 64], dtype: int8, layout: CHW, colour: bgr, resize: letterbox}'
MEANING = {'kind': 'pose', 'keypoints': POINTS, 'least_score': 0.6}


def pose_net(path):
    """Write a model whose head gives 64 boxes with a score and keypoints each, ``[1, 5 + 3 * POINTS, 64]``."""
    values = 5 + 3 * POINTS
    scale = np.array([*[SIZE] * 4, 1, *[SIZE, SIZE, 1] * POINTS], np.float32).reshape(1, -1, 1)
    kernel = RANDOM.normal(0, 2e-3, (values, 3, 8, 8)).astype(np.float32)
    arrays = {'axes': np.array([0]), 'kernel': kernel, 'shape': np.array([1, values, -1]), 'scale': scale}
    nodes = [
        helper.make_node('Cast', ['x'], ['float'], to=TensorProto.FLOAT), helper.make_node('Unsqueeze', ['float', 'axes'], ['batch']),
        helper.make_node('Conv', ['batch', 'kernel'], ['cells'], strides=[8, 8]), helper.make_node('Sigmoid', ['cells'], ['shares']),
        helper.make_node('Reshape', ['shares', 'shape'], ['rows']), helper.make_node('Mul', ['rows', 'scale'], ['y']),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, 'g', [helper.make_tensor_value_info('x', TensorProto.INT8, [3, SIZE, SIZE])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, values, 64])],
        [onnx.numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)


def test_an_int8_input_without_a_batch_and_poses(nodes, context, tmp_path, monkeypatch):
    from test_named_inputs import client_of, fixed

    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.inputs.preprocess import Preprocessing
    from edge_dnn_partition.results.postprocess import postprocessor_of

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    pose_net(tmp_path / 'pose.onnx')
    (tmp_path / 'preprocessing.yaml').write_text(PREPROCESSING)
    model = {'path': 'pose.onnx', 'preprocessing': 'preprocessing.yaml', 'postprocessing': MEANING}
    images = [RANDOM.integers(0, 256, (90, 120, 3)).astype(np.uint8) for _ in range(3)]
    with client_of(nodes, context, tmp_path, {'model': model, 'parameters': fixed('box:pre-3 pi:3-end')}) as client:
        results = [client.infer_and_wait(image, timeout=20.0) for image in images]
    settings, read = Preprocessing.from_yaml(tmp_path / 'preprocessing.yaml'), postprocessor_of(MEANING, Path())
    for image, result in zip(images, results, strict=True):
        outputs = Engine(tmp_path / 'pose.onnx').run({'x': settings.apply(image, 'rgb8')})
        np.testing.assert_allclose(result.outputs['y'], outputs['y'], rtol=1e-4, atol=1e-4)
        expected = read(result.outputs, (120, 90), settings).boxes
        assert len(expected) > 1 and len(expected[0].keypoints) == POINTS
        assert result.detections == expected
    assert len({result.outputs['y'].tobytes() for result in results}) == 3

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Models with several inputs, or with none that is an image, run whole through `infer`, split over two devices."""

from contextlib import contextmanager

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

RANDOM = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Let no plan be resumed that another test's fleet left."""
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def weights(name, *shape, scale=1.0):
    return onnx.numpy_helper.from_array((scale * RANDOM.standard_normal(shape)).astype(np.float32), name)


def save(path, nodes, inputs, initialisers):
    """Write a model with the output y, ``[1, 5]``."""
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, 'g', infos, [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 5])], initialisers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)


def policy(path):
    """Write a model as robot policies are: two cameras and the robot's own state, and a task that does not change."""
    nodes = [
        helper.make_node('Conv', ['front', 'wf'], ['f1']), helper.make_node('Relu', ['f1'], ['f2']),
        helper.make_node('Conv', ['wrist', 'ww'], ['w1']), helper.make_node('Relu', ['w1'], ['w2']),
        helper.make_node('Flatten', ['f2'], ['f3']), helper.make_node('Flatten', ['w2'], ['w3']),
        helper.make_node('Concat', ['f3', 'w3', 'pose', 'task'], ['all'], axis=1),
        helper.make_node('Gemm', ['all', 'w'], ['hidden']), helper.make_node('Tanh', ['hidden'], ['y']),
    ]  # fmt: skip
    inputs = {'front': [1, 3, 8, 8], 'wrist': [1, 1, 8, 8], 'pose': [1, 6], 'task': [1, 2]}
    save(path, nodes, inputs, [weights('wf', 2, 3, 3, 3), weights('ww', 2, 1, 3, 3), weights('w', 152, 5, scale=0.02)])


def audio(path):
    """Write a model of one tensor that is no image."""
    nodes = [
        helper.make_node('Conv', ['sound', 'k'], ['a'], strides=[8]), helper.make_node('Relu', ['a'], ['b']),
        helper.make_node('ReduceMean', ['b'], ['c'], axes=[2], keepdims=0), helper.make_node('Gemm', ['c', 'w'], ['y']),
    ]  # fmt: skip
    save(path, nodes, {'sound': [1, 1, 400]}, [weights('k', 4, 1, 16), weights('w', 4, 5)])


@contextmanager
def client_of(nodes, context, folder, document):
    """Run a fleet until it follows its fixed plan; a client of it."""
    import rclpy

    from edge_dnn_partition.client import InferenceClient

    path = folder / 'fleet.yaml'
    path.write_text(yaml.safe_dump({
        'fleet': 'named', 'source': 'pi', 'devices': {'pi': {'emulate': {}}, 'box': {'emulate': {}}},
        'links': [{'between': ['pi', 'box'], 'rate': '50 MB/s', 'emulate': True}], **document,
    }))  # fmt: skip
    fleet = nodes.start('-m', 'edge_dnn_partition.cli', 'up', str(path))
    fleet.wait_for('moved here: asked for by fixed_plan')
    node = rclpy.create_node('asker', context=context)
    client = InferenceClient(node, 'named')
    try:
        yield client
    finally:
        client.close()
        node.destroy_node()


def fixed(plan):
    return {'scheduler': {'policy': 'fixed', 'fixed_plan': plan}, 'worker': {'profile_runs': 1}}


def test_two_images_a_vector_and_a_constant(nodes, context, tmp_path):
    from edge_dnn_partition.client import InferenceRefusedError
    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    policy(tmp_path / 'policy.onnx')
    (tmp_path / 'front.yaml').write_text('size: [8, 8]')
    (tmp_path / 'wrist.yaml').write_text('{size: [8, 8], colour: gray, scale: 0.01}')
    document = {
        'model': {'path': 'policy.onnx', 'preprocessing': 'front.yaml'}, 'parameters': fixed('pi:pre-3 box:3-end'),
        'inputs': {
            'wrist': {'kind': 'image', 'topic': 'wrist/compressed', 'preprocessing': 'wrist.yaml', 'private': True},
            'pose': {'kind': 'message', 'topic': 'pose', 'type': 'std_msgs/msg/Float32MultiArray'},
            'task': {'kind': 'constant', 'value': [0.5, -0.5]},
        },
    }  # fmt: skip
    asked = [
        {'front': RANDOM.integers(0, 256, (12, 16, 3)).astype(np.uint8), 'wrist': RANDOM.integers(0, 256, (9, 9)).astype(np.uint8),
         'pose': RANDOM.standard_normal(6)} for _ in range(3)
    ]  # fmt: skip
    with client_of(nodes, context, tmp_path, document) as client:
        results = [client.infer_and_wait(given, timeout=20.0) for given in asked]
        with pytest.raises(InferenceRefusedError, match="'pose' missing: give front"):
            client.infer_and_wait({name: value for name, value in asked[0].items() if name != 'pose'})
    front, wrist = (Preprocessing.from_yaml(tmp_path / f'{name}.yaml') for name in ('front', 'wrist'))
    whole = Engine(tmp_path / 'policy.onnx')
    for given, result in zip(asked, results, strict=True):
        expected = whole.run({
            'front': front.apply(given['front'], 'rgb8'), 'wrist': wrist.apply(given['wrist'][..., None], 'mono8'),
            'pose': given['pose'].astype(np.float32)[None], 'task': np.array([[0.5, -0.5]], np.float32),
        })  # fmt: skip
        np.testing.assert_allclose(result.outputs['y'], expected['y'], rtol=1e-4, atol=1e-5)
    assert len({result.outputs['y'].tobytes() for result in results}) == 3


def test_a_model_without_images_needs_no_preprocessing(nodes, context, tmp_path):
    from edge_dnn_partition.execution.stages.engine import Engine

    audio(tmp_path / 'audio.onnx')
    document = {'model': {'path': 'audio.onnx'}, 'parameters': fixed('box:pre-2 pi:2-end')}
    asked = [{'sound': RANDOM.standard_normal((1, 1, 400)).astype(np.float32)} for _ in range(3)]
    with client_of(nodes, context, tmp_path, document) as client:
        results = [client.infer_and_wait(given, timeout=20.0) for given in asked]
    whole = Engine(tmp_path / 'audio.onnx')
    for given, result in zip(asked, results, strict=True):
        np.testing.assert_allclose(result.outputs['y'], whole.run(given)['y'], rtol=1e-4, atol=1e-5)


def test_results_of_any_size_even_none(nodes, context, tmp_path):
    """The places where a sound is loud: another number of them in every frame, sent from one device to the other."""
    from edge_dnn_partition.execution.stages.engine import Engine

    nodes_ = [
        helper.make_node('Conv', ['sound', 'k'], ['a'], strides=[8]), helper.make_node('Relu', ['a'], ['b']),
        helper.make_node('Greater', ['b', 'least'], ['loud']), helper.make_node('NonZero', ['loud'], ['places']),
        helper.make_node('Cast', ['places'], ['wide'], to=TensorProto.FLOAT), helper.make_node('Mul', ['wide', 'least'], ['y']),
    ]  # fmt: skip
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
             for name, shape in (('sound', ['batch', 1, 400]), ('y', [3, 'n']))]  # fmt: skip
    graph = helper.make_graph(nodes_, 'g', infos[:1], infos[1:],
                              [weights('k', 4, 1, 16), onnx.numpy_helper.from_array(np.float32(2), 'least')])  # fmt: skip
    path = tmp_path / 'loud.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    document = {'model': {'path': 'loud.onnx'}, 'parameters': fixed('pi:pre-2 box:2-end')}
    sound = RANDOM.standard_normal((1, 1, 400)).astype(np.float32)
    asked = [sound * np.float32(loudness) for loudness in (1.0, 0.0, 3.0)]
    with client_of(nodes, context, tmp_path, document) as client:
        results = [client.infer_and_wait({'sound': given}, timeout=20.0) for given in asked]
    whole = Engine(path)
    counts = []
    for given, result in zip(asked, results, strict=True):
        expected = whole.run({'sound': given})['y']
        np.testing.assert_array_equal(result.outputs['y'], expected)
        counts.append(expected.shape[1])
    assert counts[1] == 0 < counts[0] < counts[2]

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A stream whose frames are of four topics, split over two devices, equals onnxruntime on what belongs together."""

import time

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

RANDOM = np.random.default_rng(8)
FRONT = [cv2.imencode('.jpg', RANDOM.integers(0, 256, (12, 16, 3)).astype(np.uint8))[1].tobytes() for _ in range(4)]
DEPTH = RANDOM.integers(0, 5000, (4, 12, 16)).astype(np.uint16)
JOINTS = ('shoulder', 'elbow', 'wrist')
TASK = np.array([[0.25, -1.0]], np.float32)


def write_model(path):
    def weights(name, *shape):
        return onnx.numpy_helper.from_array((0.1 * RANDOM.standard_normal(shape)).astype(np.float32), name)

    nodes = [
        helper.make_node('Conv', ['front', 'wf'], ['f1']), helper.make_node('Relu', ['f1'], ['f2']),
        helper.make_node('Conv', ['depth', 'wd'], ['d1']), helper.make_node('Relu', ['d1'], ['d2']),
        helper.make_node('Flatten', ['f2'], ['f3']), helper.make_node('Flatten', ['d2'], ['d3']),
        helper.make_node('Concat', ['f3', 'd3', 'state', 'task'], ['all'], axis=1),
        helper.make_node('Gemm', ['all', 'w'], ['hidden']), helper.make_node('Tanh', ['hidden'], ['y']),
    ]  # fmt: skip
    inputs = {'front': [1, 3, 8, 8], 'depth': [1, 1, 8, 8], 'state': [1, 3], 'task': [1, 2]}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(
        nodes, 'g', infos, [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 5])],
        [weights('wf', 2, 3, 3, 3), weights('wd', 2, 1, 3, 3), weights('w', 149, 5)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)


def write_fleet(folder):
    write_model(folder / 'policy.onnx')
    (folder / 'front.yaml').write_text('size: [8, 8]')
    (folder / 'depth.yaml').write_text('{size: [8, 8], colour: depth, scale: 0.5}')
    path = folder / 'fleet.yaml'
    path.write_text(yaml.safe_dump({
        'fleet': 'topics', 'source': 'pi', 'devices': {'pi': {'emulate': {}}, 'box': {'emulate': {}}},
        'links': [{'between': ['pi', 'box'], 'rate': '50 MB/s', 'emulate': True}], 'model': {'path': 'policy.onnx'},
        'parameters': {'scheduler': {'policy': 'fixed', 'fixed_plan': 'pi:pre-3 box:3-end'}, 'worker': {'profile_runs': 1}},
        'inputs': {  # the first one begins frames
            'front': {'kind': 'image', 'topic': '/front/compressed', 'preprocessing': 'front.yaml'},
            'depth': {'kind': 'image', 'topic': '/depth', 'compressed': False, 'preprocessing': 'depth.yaml'},
            'state': {'kind': 'message', 'topic': '/joints', 'type': 'sensor_msgs/msg/JointState', 'field': 'position',
                      'names': list(JOINTS)},
            'task': {'kind': 'message', 'topic': '/task', 'type': 'edge_dnn_partition/msg/TensorData', 'latest': True},
        },
        'synchronise': {'slop': '20 ms'},
    }, sort_keys=False))  # fmt: skip
    return path


def position(joint, tick):
    """Return where a joint is at a tick of 10 ms."""
    return float(np.sin(tick * 0.1 + JOINTS.index(joint)))


@pytest.fixture
def robot(context):
    """A node that publishes what belongs to frame k: at tick 5 k, the images 4 ms later, the depth another 3 ms later."""
    import rclpy
    from edge_dnn_partition.msg import TensorData
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image, JointState

    from edge_dnn_partition.nodes.conversions.camera_messages import image_message
    from edge_dnn_partition.nodes.conversions.wire import tensor_message

    node = rclpy.create_node('robot', context=context)
    front = node.create_publisher(CompressedImage, '/front/compressed', qos_profile_sensor_data)
    depth, joints = node.create_publisher(Image, '/depth', 5), node.create_publisher(JointState, '/joints', 50)
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_publisher(TensorData, '/task', kept).publish(tensor_message('task', TASK))

    def publish(k):
        for tick in range(5 * k - 2, 5 * k + 3):
            names = (*JOINTS[::-1], 'gripper')  # in another order than the model's
            message = JointState(name=names, position=[*(position(joint, tick) for joint in JOINTS[::-1]), 9.0])
            message.header = header(10_000_000 * tick)
            joints.publish(message)
        depth.publish(image_message(DEPTH[k % 4][..., None].view(np.uint8), '16UC1', header(50_000_000 * k + 7_000_000)))
        front.publish(CompressedImage(header=header(stamp_of(k)), format='', data=FRONT[k % 4] + bytes(100)))

    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, publish, lambda: executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    node.destroy_node()


def stamp_of(k):
    return 50_000_000 * k + 4_000_000


def header(nanoseconds):
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    return Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9), frame_id='robot')


def test_frames_of_four_topics(nodes, robot, tmp_path, monkeypatch):
    from edge_dnn_partition.msg import Result

    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.inputs.preprocess import Preprocessing
    from edge_dnn_partition.nodes.conversions.wire import tensor_array
    from edge_dnn_partition.nodes.core import qos

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    fleet = nodes.start('-m', 'edge_dnn_partition.cli', 'up', str(write_fleet(tmp_path)))
    fleet.wait_for('moved here: asked for by fixed_plan')
    node, publish, spin = robot
    results = []
    node.create_subscription(Result, '/topics/result', results.append, qos.RESULT)
    deadline, k = time.monotonic() + 25, 100
    while len(results) < 8 and time.monotonic() < deadline:
        publish(k)
        due = time.monotonic() + 0.05
        while time.monotonic() < due:
            spin()
        k += 1
    assert len(results) >= 8, 'results'
    front, depth = (Preprocessing.from_yaml(tmp_path / f'{name}.yaml') for name in ('front', 'depth'))
    whole, seen = Engine(tmp_path / 'policy.onnx'), set()
    for result in results:
        stamp = result.header.stamp.sec * 10**9 + result.header.stamp.nanosec
        k = stamp // 50_000_000
        assert (result.status, stamp, result.header.frame_id) == (Result.OK, stamp_of(k), 'robot')
        seen.add(k)
        expected = whole.run({
            'front': front.apply(np.frombuffer(FRONT[k % 4], np.uint8), 'jpeg'),
            'depth': depth.apply(DEPTH[k % 4][..., None].view(np.uint8), '16UC1'), 'task': TASK,
            'state': np.array([[position(joint, 5 * k) for joint in JOINTS]], np.float32),
        })  # fmt: skip
        np.testing.assert_allclose(tensor_array(result.outputs[0]), expected['y'], rtol=1e-4, atol=1e-5)
    assert len(seen) == len(results)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of several topics: which subscriptions are made, what a frame holds, and what is said when none is made."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from builtin_interfaces.msg import Time
from edge_dnn_partition.msg import TensorData
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Header

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.graph.model import TensorInfo
from edge_dnn_partition.inputs.images import made_up
from edge_dnn_partition.nodes.frames.input_feed import InputFeed
from edge_dnn_partition.planning.fleet.fleet import parse_fleet

SHAPES = {'image': (1, 3, 48, 64), 'depth': (1, 1, 48, 64), 'state': (1, 2), 'k': (9,), 'task': (1, 4)}
JPEG = bytes(made_up(0).data)


class Node:
    """As much of a frame source as the feed needs; what it subscribes to is called by hand."""

    def __init__(self, folder, **parameters):
        self.active, self.ending = True, threading.Event()
        self.now, self.said, self.callbacks, self.profiles, self.timers, self.offers = 100.0, [], {}, {}, [], {}
        values = {'fleet_file': str(folder / 'fleet.yaml'), 'image_topic': '', 'compressed': True, 'jpeg_quality': 90, 'rate': 0.0}
        values |= parameters
        self.params = SimpleNamespace(text=values.get, flag=values.get, whole=values.get, number=values.get)
        self.repeats = SimpleNamespace(warning=lambda kind, text: self.said.append(text))
        self.topics = SimpleNamespace(infer='/trial/infer')
        self._parameter_overrides = {}

    def get_logger(self):
        return SimpleNamespace(info=self.said.append)

    def get_clock(self):
        stamp = Time(sec=int(self.now), nanosec=round(self.now % 1 * 1e9))
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=round(self.now * 1e9), to_msg=lambda: stamp))

    def subscribe(self, kind, topic, callback, profile, **_):
        self.callbacks[topic], self.profiles[topic] = callback, (kind, profile)
        return topic

    def destroy_subscription(self, topic):
        del self.callbacks[topic]

    def resolve_topic_name(self, topic):
        return topic

    def every(self, seconds, callback, **_):
        self.timers.append(callback)

    def get_publishers_info_by_topic(self, topic):
        return self.offers.get(topic, [])


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a feed of a fleet file's inputs: its node, and the list of its frames."""
    for name, text in (('image', ''), ('depth', 'colour: depth\n')):
        (tmp_path / f'{name}.yaml').write_text(f'size: [64, 48]\n{text}')

    def build(inputs, names=None, *, parameters=(), **keys):
        document = {'source': 'pi', 'devices': {'pi': {}}, 'model': {'path': 'm.onnx'}, 'inputs': inputs, **keys}
        fleet = parse_fleet(document, base=tmp_path)
        model = SimpleNamespace(
            name='m', inputs=list(names or inputs), outputs=[], tensors={n: TensorInfo(n, 1, s) for n, s in SHAPES.items()}
        )
        node, frames = Node(tmp_path, **dict(parameters)), []
        feed = InputFeed(node, fleet, model, frames.append)
        return node, frames, feed

    return build


def header(seconds, frame='camera'):
    return Header(stamp=Time(sec=int(seconds), nanosec=round(seconds % 1 * 1e9)), frame_id=frame)


def jpeg(seconds):
    return CompressedImage(header=header(seconds), format='', data=JPEG)


def distances(seconds):
    return Image(header=header(seconds, 'depth'), encoding='16UC1', width=64, height=48, step=128, data=bytes(128 * 48))


IMAGE = {'kind': 'image', 'topic': '/front/compressed', 'preprocessing': 'image.yaml'}
DEPTH = {'kind': 'image', 'topic': '/depth', 'compressed': False, 'preprocessing': 'depth.yaml'}
STATE = {'kind': 'message', 'topic': '/joints', 'type': 'sensor_msgs/msg/JointState', 'field': 'position', 'names': ['a', 'b']}
INFO = {'kind': 'message', 'topic': '/front/camera_info', 'type': 'sensor_msgs/msg/CameraInfo', 'field': 'k'}
TASK = {'kind': 'message', 'topic': '/task', 'type': 'edge_dnn_partition/msg/TensorData', 'latest': True}


def test_a_frame_is_made_of_what_belongs_together(make):
    node, frames, _ = make({'image': IMAGE, 'depth': DEPTH, 'state': STATE, 'k': INFO, 'task': TASK})
    assert {topic: kind for topic, (kind, _) in node.profiles.items()} == {
        '/front/compressed': CompressedImage, '/depth': Image, '/joints': JointState, '/front/camera_info': CameraInfo, '/task': TensorData,
    }  # fmt: skip
    call = node.callbacks
    call['/task'](TensorData(dtype=1, shape=[1, 4], data=np.arange(4, dtype=np.float32).tobytes()))
    for k in range(30):
        call['/joints'](JointState(header=header(99.9 + k / 100), name=['b', 'a'], position=[float(k), -float(k)]))
    call['/front/camera_info'](CameraInfo(header=header(100.0), k=np.arange(9.0)))
    call['/front/compressed'](jpeg(100.0))
    assert not frames  # depth is still to come
    call['/depth'](distances(100.004))
    (frame,) = frames
    assert frame.header.frame_id == 'camera' and frame.header.stamp.sec == 100
    assert (frame.values['@image'].encoding, frame.values['@image:depth'].encoding) == ('jpeg', '16UC1')
    assert frame.values['state'].tolist() == [[-10.0, 10.0]] and frame.values['task'].tolist() == [[0, 1, 2, 3]]
    assert frame.values['k'].tolist() == list(range(9))
    assert set(frame.values) == {'@image', '@image:depth', 'state', 'task', 'k'}


def test_a_camera_matrix_is_that_of_the_resized_image(make):
    node, frames, _ = make({'image': IMAGE, 'k': {**INFO, 'image': 'image'}})
    node.callbacks['/front/camera_info'](CameraInfo(header=header(100.0), width=640, height=480, k=[500.0, 0, 319.5, 0, 500.0, 239.5, 0, 0, 1]))
    node.callbacks['/front/compressed'](jpeg(100.0))
    assert frames[0].values['k'].tolist() == [50.0, 0, 31.5, 0, 50.0, 23.5, 0, 0, 1]  # a tenth, and the middle is the middle
    with pytest.raises(UserError, match='tells of no image size'):
        node.callbacks['/front/camera_info'](CameraInfo(header=header(100.0)))


def test_what_makes_no_frame_is_said(make):
    node, frames, _ = make({'image': IMAGE, 'state': STATE}, synchronise={'slop': '20 ms', 'wait': '0 s'})
    node.callbacks['/joints'](JointState(header=header(50.0), name=['a'], position=[1.0]))
    assert node.said[-1] == 'no frame: no message of /joints tells of b yet'
    node.callbacks['/front/compressed'](jpeg(100.0))
    assert not frames and 'nothing has come of state' in node.said[-1]
    node.callbacks['/joints'](JointState(header=header(50.0), name=['a', 'b'], position=[1.0, 2.0]))
    node.callbacks['/front/compressed'](jpeg(101.0))
    assert not frames and 'is 51 s from that of image, more than slop, 0.02 s' in node.said[-1]


def test_messages_without_a_stamp_count_as_of_their_arrival(make):
    audio = {'kind': 'message', 'topic': '/a', 'type': 'std_msgs/msg/Float32MultiArray'}
    node, frames, _ = make({'image': IMAGE, 'state': audio})
    from std_msgs.msg import Float32MultiArray

    node.callbacks['/a'](Float32MultiArray(data=[1.0, 2.0]))
    node.callbacks['/front/compressed'](jpeg(0.0))
    assert frames[0].values['state'].tolist() == [[1.0, 2.0]]


def test_the_first_input_that_the_file_names_begins_frames_or_the_reference(make):
    node, frames, _ = make({'state': STATE, 'image': IMAGE}, ['image', 'state'], synchronise={'reference': 'image'})
    node.callbacks['/joints'](JointState(header=header(100.0), name=['a', 'b'], position=[1.0, 2.0]))
    node.callbacks['/front/compressed'](jpeg(100.0))
    node.callbacks['/front/compressed'](jpeg(100.01))
    node.callbacks['/joints'](JointState(header=header(100.02), name=['a', 'b'], position=[3.0, 4.0]))
    assert [frame.values['state'].tolist() for frame in frames] in ([[[1.0, 2.0]], [[1.0, 2.0]]], [[[1.0, 2.0]], [[3.0, 4.0]]])
    assert frames[0].header.frame_id == 'camera'
    node, frames, _ = make({'state': STATE})
    node.callbacks['/joints'](JointState(name=['a', 'b'], position=[1.0, 2.0]))
    assert frames[0].values['state'].tolist() == [[1.0, 2.0]] and frames[0].header.stamp.sec == 0  # as it came


def test_one_camera_as_before(make):
    model = {'path': 'm.onnx', 'preprocessing': 'image.yaml'}
    node, frames, feed = make({}, ['image'], model=model, camera={'topic': 'image/compressed'})
    node.callbacks['image/compressed'](jpeg(0.0))
    assert set(frames[0].values) == {'@image'} and frames[0].header.stamp.sec == 0
    node, frames, _ = make({}, ['image'], model=model, parameters={'image_topic': '/x', 'compressed': False})
    assert node.profiles['/x'][0] is Image
    node, _, feed = make({}, ['image'], model=model)
    feed.start()
    assert not node.callbacks and 'no camera: frames come by the service /trial/infer only' in node.said[-1]
    node, _, feed = make({'image': IMAGE}, ['image', 'state'])
    feed.start()
    assert not node.callbacks and 'state has no source' in node.said[-1]


def test_images_of_two_folders_go_together(make, tmp_path):
    for side, seed in (('left', 1), ('right', 2)):
        (tmp_path / side).mkdir()
        for number in range(3):
            (tmp_path / side / f'{number}.jpg').write_bytes(bytes(made_up(10 * seed + number).data))
    kind = {'kind': 'image', 'preprocessing': 'image.yaml', 'rate': 200}
    inputs = {'image': {**kind, 'images': 'left'}, 'depth': {**kind, 'images': 'right'}}
    _, frames, feed = make(inputs)
    from support import wait_until

    feed.start()
    wait_until(lambda: len(frames) > 3, 'frames')
    feed.stop()
    for number, frame in enumerate(frames[:4]):
        for name, seed in (('@image', 10), ('@image:depth', 20)):
            assert bytes(frame.values[name].data) == bytes(made_up(seed + number % 3).data)


def test_subscriptions_follow_what_publishers_offer(make):
    def offer(reliability, durability=DurabilityPolicy.VOLATILE, kind='sensor_msgs/msg/Image'):
        return SimpleNamespace(topic_type=kind, qos_profile=QoSProfile(depth=1, reliability=reliability, durability=durability))

    node, _, _ = make({'image': IMAGE, 'depth': DEPTH, 'task': TASK, 'state': STATE})
    for topic in ('/front/compressed', '/depth', '/task', '/joints'):
        assert node.profiles[topic][1].reliability == ReliabilityPolicy.BEST_EFFORT
    node.offers = {
        '/front/compressed': [offer(ReliabilityPolicy.RELIABLE)], '/depth': [offer(ReliabilityPolicy.RELIABLE)],
        '/task': [offer(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)], '/joints': [offer(ReliabilityPolicy.RELIABLE)],
    }  # fmt: skip
    for timer in node.timers:
        timer()
    reliable = {topic for topic, (_, profile) in node.profiles.items() if profile.reliability == ReliabilityPolicy.RELIABLE}
    assert reliable == {'/depth', '/task'}
    assert node.profiles['/task'][1].durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert '/front/compressed has sensor_msgs/msg/Image, not sensor_msgs/msg/CompressedImage; correct the fleet file' in node.said
    assert not [text for text in node.said if text.startswith('/depth')]


@pytest.mark.parametrize(('inputs', 'keys', 'words'), [
    ({'state': {**STATE, 'type': 'no_such_msgs/msg/State'}}, {}, r'inputs.state.type: there is no no_such_msgs/msg/State here; install'),
    ({'state': {**STATE, 'type': 'sensor_msgs/msg/JointStat'}}, {}, 'there is no sensor_msgs/msg/JointStat here'),
    ({'state': {**STATE, 'field': 'positoin'}}, {}, "has no field 'positoin'.*position"),
    ({'image': IMAGE, 'k': {**INFO, 'image': 'imag'}}, {}, r"inputs.k.image: 'imag' is not made of an image.*such are image"),
    ({'image': IMAGE, 'state': {**STATE, 'image': 'image'}}, {}, 'inputs.state.image: it belongs to type'),
    ({'task': TASK}, {}, 'nothing begins a frame'),
    ({'image': IMAGE, 'state': STATE}, {'synchronise': {'reference': 'stat'}}, "reference: 'stat' is no input .*state"),
])  # fmt: skip
def test_inputs_that_cannot_be_followed_are_refused(make, inputs, keys, words):
    with pytest.raises(UserError, match=words):
        make(inputs, **keys)


def test_a_kind_of_another_package(make, monkeypatch):
    from edge_dnn_partition.inputs import messages
    from edge_dnn_partition.planning.fleet import inputs as schema

    class Twice:
        topic, type = '/joints', 'sensor_msgs/msg/JointState'

        def __init__(self, keys, tensor, base):
            self.factor = keys['factor']

        def __call__(self, message):
            return self.factor * np.array([message.position], np.float32)

    point = SimpleNamespace(name='twice', load=lambda: Twice)
    monkeypatch.setattr(schema, 'entry_points', lambda group: [point])
    monkeypatch.setattr(messages, 'entry_points', lambda group: [point])
    schema.other_kinds.cache_clear()
    try:
        node, frames, _ = make({'state': {'kind': 'twice', 'factor': 2}})
    finally:
        monkeypatch.undo()
        schema.other_kinds.cache_clear()
    node.callbacks['/joints'](JointState(position=[1.0, 2.0]))
    assert frames[0].values['state'].tolist() == [[2.0, 4.0]]
    with pytest.raises(UserError, match=r'inputs.state: its kind made float32 \[1, 3\] of /joints; the model takes float32 \[1, 2\]'):
        node.callbacks['/joints'](JointState(position=[1.0, 2.0, 3.0]))

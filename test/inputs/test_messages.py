# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers in messages as inputs of a model: joints by name, fields by path, clouds by a rule, and what does not fit refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.graph.model import TensorInfo
from edge_dnn_partition.inputs.messages import MessageReader, numbers_in
from edge_dnn_partition.inputs.point_cloud import laid_out, points_of
from edge_dnn_partition.planning.fleet.inputs import MessageInput

SIZES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}


class Message(SimpleNamespace):
    """A message as rclpy makes them: its fields in order."""

    def get_fields_and_field_types(self):
        return dict.fromkeys(vars(self), '')


def xyz(*values):
    return Message(**dict(zip('xyzw', values, strict=False)))


def reader(kind, shape, *, dtype=1, **keys):
    given = MessageInput(kind='message', topic='/topic', type=kind, **keys)
    return MessageReader('x', given, TensorInfo('x', dtype, shape))


def joints(names, **columns):
    return Message(header=Message(), name=names, **{name: columns.get(name, []) for name in ('position', 'velocity', 'effort')})


STATE = 'sensor_msgs/msg/JointState'
IMU = Message(
    header=Message(frame_id='imu'), orientation=xyz(0.0, 0.0, 0.6, 0.8), orientation_covariance=np.arange(9.0),
    angular_velocity=xyz(0.1, 0.2, 0.3), linear_acceleration=xyz(0.0, 0.0, 9.81),
)  # fmt: skip


def test_joints_come_in_the_models_order_whatever_the_messages_order_is():
    """As drivers sort them by the alphabet (elbow before shoulder)."""
    read = reader(STATE, (1, 3), field='position', names=['shoulder', 'elbow', 'wrist'])
    found = read(joints(['elbow', 'gripper', 'shoulder', 'wrist'], position=[2.0, 9.0, 1.0, 3.0]))
    assert found.dtype == np.float32 and found.tolist() == [[1.0, 2.0, 3.0]]


def test_joints_of_several_publishers_are_put_together():
    read = reader(STATE, (4,), fields=['position', 'velocity'], names=['arm', 'gripper'])
    assert read(joints(['arm'], position=[1.0], velocity=[3.0])) is None and read.missing == 'gripper'
    assert read(joints(['gripper'], position=[2.0], velocity=[4.0])).tolist() == [1, 2, 3, 4]
    assert read(joints(['arm'], position=[5.0], velocity=[6.0])).tolist() == [5, 2, 6, 4]


def test_fields_of_messages_in_messages():
    read = reader('sensor_msgs/msg/Imu', (1, 10), fields=['orientation', 'angular_velocity', 'linear_acceleration'])
    np.testing.assert_allclose(read(IMU)[0], [0, 0, 0.6, 0.8, 0.1, 0.2, 0.3, 0, 0, 9.81], rtol=1e-6)
    assert numbers_in(IMU, 'orientation.w') == [0.8]
    poses = Message(poses=[Message(position=xyz(1, 2, 3)), Message(position=xyz(4, 5, 6))])
    assert numbers_in(poses, 'poses').tolist() == [1, 2, 3, 4, 5, 6]
    assert numbers_in(poses, 'poses.1.position.y') == [5]
    for message, path, words in (
        (IMU, 'gyro', "'gyro' is none of header, orientation"), (IMU, 'orientation.q', "'q' is none of x, y, z, w"),
        (IMU, 'orientation.w.a', 'none of its values'), (IMU, 'header.frame_id', 'no numbers'), (poses, 'poses.2', "'2' is none"),
    ):  # fmt: skip
        with pytest.raises(WireError, match=words):
            numbers_in(message, path)


def test_ranges_that_are_not_finite_need_a_word():
    scan = Message(ranges=np.array([1.0, np.inf, 2.0, np.nan], np.float32))
    with pytest.raises(WireError, match='2 values that are not finite; say what stands for them, such as invalid: 0.0'):
        reader('sensor_msgs/msg/LaserScan', (4,), field='ranges')(scan)
    assert reader('sensor_msgs/msg/LaserScan', (1, 4), field='ranges', invalid=12.0)(scan).tolist() == [[1, 12, 2, 12]]


def test_values_are_scaled_as_pixels_are():
    read = reader('std_msgs/msg/Float64MultiArray', (1, 2), scale=2.0, mean=[1.0, 2.0], std=[1.0, 4.0])
    assert read(Message(layout=Message(dim=[], data_offset=0), data=[3.0, 5.0])).tolist() == [[5.0, 2.0]]
    with pytest.raises(WireError, match='2 values, but mean has 3'):
        reader('std_msgs/msg/Float64MultiArray', (1, 2), mean=[1.0, 2.0, 3.0])(Message(data=[3.0, 5.0]))


def test_arrays_begin_behind_their_offset():
    layout = Message(dim=[Message(label='', size=2, stride=2)], data_offset=3)
    assert reader('std_msgs/Int32MultiArray', (2,), dtype=7)(Message(layout=layout, data=[0, 0, 0, 4, 5])).tolist() == [4, 5]
    assert reader('std_msgs/msg/Float32', (1, 1))(Message(data=2.5)).tolist() == [[2.5]]
    assert reader('std_msgs/msg/Bool', (), dtype=9)(Message(data=True)).tolist() is True


@pytest.mark.parametrize(('dtype', 'value', 'good'), [
    (7, 2.0, True), (7, 2.5, False), (2, 255, True), (2, 256, False), (3, -129, False), (10, 65504.0, True), (10, 1e6, False),
    (9, 1, True), (9, 2, False), (1, 1e300, False),
])  # fmt: skip
def test_a_number_that_the_models_dtype_does_not_hold_is_refused(dtype, value, good):
    read = reader('std_msgs/msg/Float64', (1,), dtype=dtype)
    if good:
        assert read(Message(data=value))[0] == value
    else:
        with pytest.raises(WireError, match='has the value'):
            read(Message(data=value))


@pytest.mark.parametrize(('kind', 'shape', 'keys', 'message', 'words'), [
    (STATE, (1, 2), {'field': 'position'}, joints(['a', 'b', 'c'], position=[1.0, 2.0, 3.0]), '3 values, but the model takes 2; choose with names'),
    (STATE, (1,), {'field': 'effort', 'names': ['a']}, joints(['a', 'b'], position=[1.0, 2.0]), '2 names, but 0 values of effort'),
    ('sensor_msgs/msg/Imu', (1,), {'field': 'orientation'}, IMU, '4 values, but the model takes 1$'),
])  # fmt: skip
def test_a_message_that_does_not_fit_is_refused_with_what_to_do(kind, shape, keys, message, words):
    with pytest.raises(WireError, match=words):
        reader(kind, shape, **keys)(message)


def test_keys_that_do_not_fit_are_refused_before_any_message():
    with pytest.raises(UserError, match=r'inputs.x: say which field of sensor_msgs/msg/Imu'):
        reader('sensor_msgs/msg/Imu', (4,))
    with pytest.raises(UserError, match=r'takes \[1, 64, 3\], which is not a number of points of 4 fields'):
        reader('sensor_msgs/msg/PointCloud2', (1, 64, 3), fields=['x', 'y', 'z', 'intensity'])
    with pytest.raises(UserError, match='not 32 points of 3 fields'):
        reader('sensor_msgs/msg/PointCloud2', (1, 64, 3), fields=['x', 'y', 'z'], points=32)
    for keys, words in (({'field': 'a', 'fields': ['b']}, 'either field or fields'), ({'std': [0.0]}, 'std is above 0')):
        with pytest.raises(ValueError, match=words):
            reader(STATE, (1,), **keys)


def test_a_whole_tensor_is_the_models_or_none():
    def tensor(values, dtype):
        return Message(name='x', dtype=dtype, shape=list(values.shape), data=values.tobytes())

    read = reader('edge_dnn_partition/msg/TensorData', (1, 3))
    values = np.array([[1.5, np.nan, 3.0]], np.float32)
    np.testing.assert_array_equal(read(tensor(values, 1)), values)
    for wrong in (tensor(values.astype(np.float64), 11), tensor(values[0], 1), tensor(values[:, :2], 1), tensor(values, 99)):
        with pytest.raises(WireError, match=r'the model takes 1 and \[1, 3\]'):
            read(wrong)
    cut = tensor(values, 1)
    cut.data = cut.data[:-1]
    with pytest.raises(WireError, match='11 bytes'):
        read(cut)


def cloud(points, formats, *, order='<', gap=0, tail=0, row_tail=0, height=1, turn=0):
    """Return a cloud whose fields lie in another order than they are listed in, with gaps."""
    names = list(formats)
    at, offsets = 0, {}
    for name in names[turn:] + names[:turn]:
        offsets[name] = at
        at += np.dtype(formats[name]).itemsize + gap
    layout = np.dtype({'names': names, 'formats': [order + formats[n] for n in names], 'offsets': [offsets[n] for n in names], 'itemsize': at + tail})
    data = np.zeros(len(points), layout)
    for index, name in enumerate(names):
        data[name] = points[:, index]
    width = len(points) // height
    rows = np.pad(data.view(np.uint8).reshape(height, width * layout.itemsize), ((0, 0), (0, row_tail)), constant_values=0xEE)
    fields = [SimpleNamespace(name=n, offset=offsets[n], datatype=SIZES[formats[n]], count=1) for n in names]
    return SimpleNamespace(
        fields=fields, is_bigendian=order == '>', point_step=layout.itemsize, row_step=rows.shape[1], width=width, height=height,
        data=rows.tobytes(),
    )  # fmt: skip


@given(
    st.integers(0, 1000), st.sampled_from('<>'), st.integers(0, 5), st.integers(0, 9), st.integers(0, 7), st.sampled_from([1, 2, 4]),
    st.integers(0, 3), st.lists(st.sampled_from(sorted(SIZES)), min_size=4, max_size=4),
)  # fmt: skip
def test_fields_are_found_wherever_they_lie(seed, order, gap, tail, row_tail, height, turn, kinds):
    points = np.random.default_rng(seed).integers(0, 100, (8 * height, 4)).astype(float)
    made = cloud(points, dict(zip(('x', 'y', 'z', 'ring'), kinds, strict=True)), order=order, gap=gap, tail=tail, row_tail=row_tail, height=height, turn=turn)
    np.testing.assert_array_equal(points_of(made, ['z', 'x', 'ring']), points[:, [2, 0, 3]])


def test_a_cloud_becomes_so_many_points():
    points = np.arange(30.0).reshape(10, 3)
    points[4, 1] = np.nan
    made = cloud(points, dict.fromkeys('xyz', 'f4'))
    finite = np.delete(points, 4, 0)
    few = reader('sensor_msgs/msg/PointCloud2', (1, 12, 3), fields=['x', 'y', 'z'], points=12)(made)
    np.testing.assert_array_equal(few[0], np.vstack([finite, np.zeros((3, 3))]))
    many = reader('sensor_msgs/msg/PointCloud2', (1, 3, 4), fields=['x', 'y', 'z'])(made)
    np.testing.assert_array_equal(many[0].T, finite[[0, 2, 4, 6]])
    scaled = reader('sensor_msgs/msg/PointCloud2', (9, 3), fields=['x', 'y', 'z'], mean=[0.0, 1.0, 2.0])(made)
    np.testing.assert_array_equal(scaled, finite - [0, 1, 2])
    empty = cloud(points[:0], dict.fromkeys('xyz', 'f4'))
    assert not laid_out(points_of(empty, ['x']), (4, 1), None, 'x').any()


def test_a_broken_cloud_is_refused():
    made = cloud(np.zeros((4, 3)), dict.fromkeys('xyz', 'f4'))
    with pytest.raises(WireError, match="no field 'i'; it has x, y, z"):
        points_of(made, ['i'])
    for change in ({'data': made.data[:-1]}, {'point_step': 6}, {'row_step': 40}, {'width': 5}):
        with pytest.raises(WireError, match='do not fit'):
            points_of(SimpleNamespace(**{**vars(made), **change}), ['x', 'y', 'z'])

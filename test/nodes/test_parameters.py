# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The parameter table on a real node, through the same services as ``ros2 param``."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rcl_interfaces.msg import ParameterType
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.monitoring.repeated_log import RepeatedLog
from edge_dnn_partition.nodes.core.parameters import Parameter, ParameterTable
from edge_dnn_partition.nodes.core.rclpy_gaps import own_parameters


def even(value):
    if value % 2:
        raise UserError(f'threads must be even, not {value}')


TABLE = (
    Parameter('rate_hz', 2.0, 'how often, Hz', minimum=0.1, maximum=50.0),
    Parameter('threads', 2, 'threads', minimum=1, maximum=8, validate=even),
    Parameter('objective', 'latency', 'what to plan for', choices=('latency', 'energy')),
    Parameter('verbose', False, 'say more'),
    Parameter('window_seconds', (0.5, 2.0), 'least and longest window, s', minimum=0.0, maximum=60.0),
    Parameter('providers', (), 'execution providers'),
    Parameter('model', 'model.onnx', 'model file', read_only=True),
    Parameter('budget', '', 'memory', quantity='size'),
)


def ordered(values):
    low, high = values['window_seconds']
    if low > high:
        raise UserError(f'window_seconds: {low} is above {high}')


@pytest.fixture
def make(context):
    nodes = []

    def make(**given):
        overrides = [RosParameter(name, value=value) for name, value in given.items()]
        node = Node('table', context=context, parameter_overrides=overrides, start_parameter_services=False)
        node.repeats = RepeatedLog(node.get_logger())
        nodes.append(node)
        return node, ParameterTable(node, TABLE, check=ordered)

    yield make
    for node in nodes:
        node.destroy_node()


def put(node, **values):
    return node.set_parameters_atomically([RosParameter(name, value=value) for name, value in values.items()])


def test_defaults_have_their_types(make):
    _, table = make()
    assert table.number('rate_hz') == 2.0
    assert table.whole('threads') == 2
    assert table.text('objective') == 'latency'
    assert table.flag('verbose') is False
    assert table['window_seconds'] == [0.5, 2.0]
    assert table['providers'] == []
    assert set(table) == {parameter.name for parameter in TABLE}


def test_whole_numbers_are_taken_for_floats(make):
    node, table = make(rate_hz=5, window_seconds=[1, 3])
    assert isinstance(table['rate_hz'], float)
    assert table['window_seconds'] == [1.0, 3.0]
    assert put(node, rate_hz=7).successful
    assert table['rate_hz'] == 7.0
    assert isinstance(table['rate_hz'], float)
    # rqt and `ros2 param get` go on to show a floating-point parameter
    assert node.get_parameter('rate_hz').type_ == RosParameter.Type.DOUBLE
    assert put(node, rate_hz=7.5).successful
    assert table['rate_hz'] == 7.5


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'rate_hz': 0.05}, 'rate_hz must be at least 0.1, not 0.05'),
        ({'rate_hz': 51}, 'rate_hz must be at most 50, not 51'),
        ({'rate_hz': float('nan')}, 'rate_hz must be a finite number'),
        ({'rate_hz': True}, 'rate_hz must be a number, not True'),
        ({'rate_hz': 'fast'}, "rate_hz must be a number, not 'fast'"),
        ({'threads': 2.0}, 'threads must be a whole number, not 2.0'),
        ({'threads': 3}, 'threads must be even, not 3'),
        ({'objective': 'speed'}, "objective must be one of latency, energy, not 'speed'"),
        ({'verbose': 1}, 'verbose must be true or false, not 1'),
        ({'window_seconds': [3.0, 1.0]}, 'window_seconds: 3.0 is above 1.0'),
        ({'window_seconds': [-1.0, 1.0]}, 'window_seconds must be at least 0'),
        ({'window_seconds': 1.0}, 'window_seconds must be a list'),
        ({'budget': '3 ms'}, "budget: '3 ms' is not a size"),
        ({'budget': -1}, 'budget: '),
        ({'budget': True}, 'budget must be a text, not True'),
    ],
)
def test_a_bad_value_is_refused_with_the_reason_and_changes_nothing(make, values, reason):
    node, table = make()
    before = dict(table)
    result = put(node, objective='energy', **values) if 'objective' not in values else put(node, **values)
    assert not result.successful
    rclpys = 'out of range'  # rclpy looks at a floating-point number's range first
    assert reason in result.reason or rclpys in result.reason
    assert dict(table) == before
    with pytest.raises(UserError) as caught:
        make(**values)
    assert reason in str(caught.value) or rclpys in str(caught.value)


def test_quantities_with_and_without_their_unit(make):
    node, table = make(budget=4096)
    assert (table['budget'], table.quantity('budget')) == ('4096', 4096.0)
    for given, expected in (('2 MiB', 2.0**21), ('1500', 1500.0), (10**9, 1e9), (2.5e6, 2.5e6), ('', None)):
        assert put(node, budget=given).successful
        assert table.quantity('budget') == expected
        assert node.get_parameter('budget').type_ == RosParameter.Type.STRING


def test_read_only_is_for_the_start(make):
    node, table = make(model='other.onnx')
    assert table['model'] == 'other.onnx'
    result = put(node, model='third.onnx')
    assert not result.successful
    assert 'read-only' in result.reason
    assert table['model'] == 'other.onnx'


def test_a_parameter_cannot_be_removed(make):
    node, table = make()
    result = node.set_parameters([RosParameter('threads', RosParameter.Type.NOT_SET)])[0]
    assert not result.successful
    assert table['threads'] == 2


def test_those_who_asked_are_told_after_a_change(make):
    node, table = make()
    heard = []
    table.on_change(lambda name, value: heard.append((name, value, table[name])), 'rate_hz')
    table.on_change(lambda name, value: heard.append((name, value)))
    table.on_change(lambda name, value: 1 / 0, 'rate_hz')
    assert put(node, rate_hz=5, threads=4).successful
    assert sorted(heard, key=len) == [('rate_hz', 5.0), ('threads', 4), ('rate_hz', 5.0, 5.0)]
    assert not put(node, rate_hz=99).successful
    assert len(heard) == 3


def test_tools_are_told_ranges_choices_and_text(make):
    node, _ = make()
    rate, threads, objective, window = node.describe_parameters(['rate_hz', 'threads', 'objective', 'window_seconds'])
    assert rate.type == ParameterType.PARAMETER_DOUBLE
    assert rate.description == 'how often, Hz'
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (0.1, 50.0)
    assert (threads.integer_range[0].from_value, threads.integer_range[0].to_value) == (1, 8)
    assert objective.additional_constraints == 'one of latency, energy'
    assert window.additional_constraints == 'each number from 0 to 60'


def test_two_parameters_of_one_name_are_a_bug(context):
    node = Node('twice', context=context)
    with pytest.raises(ValueError, match='one name'):
        ParameterTable(node, [TABLE[0], TABLE[0]])
    node.destroy_node()


def test_a_node_of_a_process_of_several_takes_what_is_its_own_and_a_file_for_all_outweighs_it(context, tmp_path):
    (tmp_path / 'all.yaml').write_text('/**: {ros__parameters: {threads: 6}}')
    given = ['-p', 'table.rate_hz:=5.0', '-p', 'table.threads:=4', '-p', 'other.verbose:=true', '-p', 'table.use_sim_time:=true']
    for file, threads in ((), 4), (('--params-file', str(tmp_path / 'all.yaml')), 6):
        node = Node('table', context=context, cli_args=['--ros-args', *given, *file], start_parameter_services=False)
        own_parameters(node, 'table')
        table = ParameterTable(node, TABLE)
        assert (table['rate_hz'], table['threads'], table['verbose']) == (5.0, threads, False)
        assert node.get_parameter('use_sim_time').value is True
        node.destroy_node()

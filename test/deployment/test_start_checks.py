# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes ask of a fleet file at their start."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_dnn_partition.deployment.node_parameters import check_parameters
from edge_dnn_partition.deployment.processes import fleet_processes
from edge_dnn_partition.deployment.start_checks import check_scheduling, check_stateful, goal_of, initial_states, model_of
from edge_dnn_partition.errors import ModelError, PlanError
from edge_dnn_partition.graph.zoo.tiny import open_shapes
from edge_dnn_partition.planning.cost_model.parts import Device, Link
from edge_dnn_partition.planning.fleet.fleet import check_watts, parse_fleet

DEFAULTS = {'objective': '', 'weights': [0.0, 0.0], 'deadline': 0.0, 'deadline_share': 0.5}


@pytest.mark.parametrize(('parameters', 'words'), [
    ({'worker': {'max_agee': 1}}, "parameters.worker: there is no 'max_agee'; known are autostart, "),
    ({'frame_source': {'max_agee': 1}}, "parameters.frame_source: there is no 'max_agee'; did you mean 'max_age'"),
    ({'frame_sorce': {}}, "parameters: there is no node 'frame_sorce'; did you mean 'frame_source'"),
    ({'frame_source': {'max_age': '3 s'}}, "parameters.frame_source: max_age must be a number, not '3 s'"),
    ({'frame_source': {'hedge': True}}, 'hedge needs max_age'),
    ({'worker': {'threads': 10**400}}, 'threads is too large for ROS'),
    ({'worker': {'memory_budget': '4 apples'}}, 'is not a size'),
    ({'worker': {'memory_budget': None}}, 'must be a text'),
    ({'scheduler': {'encodings': ['zip']}}, 'did you mean|known are'),
    ({'scheduler': {'least_gain': {'a': 1}}}, 'least_gain must be a number'),
    ({'worker': {'fleet_file': 'x'}}, 'that is this file'),
])  # fmt: skip
def test_parameters_that_no_node_takes_are_refused_before_a_process_is_started(parameters, words):
    with pytest.raises(PlanError, match=words):
        check_parameters(parameters)
    fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {}}, 'parameters': parameters})
    with pytest.raises(PlanError, match=words):
        fleet_processes(fleet, 'fleet.yaml')


def test_what_ros_gives_every_node_is_left_to_it():
    check_parameters({'frame_source': {'use_sim_time': True, 'qos_overrides./robot/result.publisher.depth': 8, 'autostart': False}})


PLAYED = {'emulate': {'slowdown': 2}}


@pytest.mark.parametrize(('objective', 'devices', 'unknown_here', 'unknown_offline'), [
    ('energy', {'pi': PLAYED, 'box': PLAYED}, 'pi, box', 'pi, box'),
    ('energy', {'pi': {**PLAYED, 'power': {'active': '4 W'}}, 'box': PLAYED}, 'box', 'box'),
    ('energy', {'pi': {**PLAYED, 'power': {'active': '4 W'}}, 'box': {**PLAYED, 'power': {'weight': 0}}}, '', ''),
    ('energy', {'pi': {}, 'box': {}}, '', 'pi, box'),
    ('balanced', {'pi': PLAYED, 'box': {}}, 'pi', 'pi, box'),
    ('deadline', {'pi': PLAYED, 'box': {}}, 'pi', 'pi, box'),
    ('latency', {'pi': PLAYED, 'box': {}}, '', ''),
])  # fmt: skip
def test_joules_that_nobody_knows_are_not_counted(objective, devices, unknown_here, unknown_offline):
    fleet = parse_fleet({'source': 'pi', 'devices': devices, 'objective': objective, 'deadline': '1 s'})

    def said(check):
        try:
            check()
        except PlanError as error:
            return str(error).partition('the watts of ')[2].partition(' are not known')[0]
        return ''

    assert said(lambda: goal_of(DEFAULTS, fleet)) == unknown_here
    assert said(lambda: check_watts(fleet, fleet.goal, measured=False)) == unknown_offline
    assert said(lambda: goal_of({**DEFAULTS, 'objective': 'latency'}, fleet)) == ''


def test_a_problem_refuses_figures_that_are_not_known():
    with pytest.raises(PlanError, match='device pi: active_watts is unknown'):
        Device(name='pi', active_watts=math.nan)
    with pytest.raises(PlanError, match='link from pi to box: bytes_per_second is unknown'):
        Link(sender='pi', reader='box', bytes_per_second=math.nan)


def test_sizes_that_the_model_leaves_open_come_from_the_fleet_file(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    onnx.save(open_shapes(), tmp_path / 'model.onnx')
    (tmp_path / 'preprocessing.yaml').write_text('size: [24, 16]')
    (tmp_path / 'rows.yaml').write_text('{size: [24, 16], layout: NHWC}')

    def shapes(**keys):
        fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {}}, 'model': {'path': 'model.onnx', **keys}}, base=tmp_path)
        model = model_of(fleet)
        return {name: model.tensors[name].shape for name in model.inputs}

    assert shapes(preprocessing='preprocessing.yaml') == {'image': (1, 3, 16, 24), 'extra': (1, 4)}
    assert shapes(shapes={'image': [2, 3, 8, 8]}) == {'image': (2, 3, 8, 8), 'extra': (2, 4)}
    with pytest.raises(ModelError, match='leaves sizes open'):
        shapes(preprocessing='rows.yaml')
    with pytest.raises(PlanError, match='shapes.image.2'):
        shapes(shapes={'image': [2, 3, 0, 8]})


@pytest.fixture
def stateful(tmp_path):
    """A fleet whose model adds up what it is given, in a state of two axes."""
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ('x', 'h', 'y', 'hn')}
    nodes = [helper.make_node('Add', ['x', 'h'], ['hn']), helper.make_node('Neg', ['hn'], ['y'])]
    graph = helper.make_graph(nodes, 'sum', [ends['x'], ends['h']], [ends['y'], ends['hn']])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'sum.onnx')
    np.save(tmp_path / 'h.npy', np.array([1.0, 2.0, 3.0]))

    def fleet(**state):
        given = {'kind': 'state', 'output': 'hn', **state}
        return parse_fleet(
            {'source': 'pi', 'devices': {'pi': {}}, 'model': {'path': 'sum.onnx'}, 'inputs': {'h': given}}, base=tmp_path
        )

    return fleet


def test_a_state_begins_as_the_fleet_file_says(stateful):
    for given, expected in (({}, 0.0), ({'initial': 0.5}, 0.5), ({'file': 'h.npy'}, [[1, 2, 3]])):
        fleet = stateful(**given)
        begins = initial_states(fleet, model_of(fleet))
        np.testing.assert_array_equal(begins['h'], np.broadcast_to(np.float32(expected), (1, 3)))
    with pytest.raises(ModelError, match="no output 'hm'"):
        model_of(stateful(output='hm'))


def test_what_needs_several_runs_of_a_frame_is_refused_with_state(stateful):
    fleet = stateful()
    check_scheduling(fleet, model_of(fleet), DEFAULTS | {'fixed_plan': ''})
    with pytest.raises(PlanError, match='one frame after the other; choose latency'):
        check_scheduling(fleet, model_of(fleet), DEFAULTS | {'fixed_plan': '', 'objective': 'throughput'})
    with pytest.raises(PlanError, match='set hedge to false'):
        check_stateful(hedge=True)

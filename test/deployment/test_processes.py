# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of a fleet: those of the files in config/, and which nodes share one."""

from pathlib import Path

import pytest

from edge_dnn_partition.deployment.processes import device_processes, fleet_processes, scheduler_process
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import load_fleet, parse_fleet

CONFIG = Path(__file__).parents[2] / 'config'


@pytest.mark.parametrize(
    ('name', 'devices', 'emulated'),
    [('one_machine', 3, True), ('pi_jetson', 2, False), ('robot_cloud', 2, False)],
)
def test_a_fleet_file_that_is_shipped_makes_processes(name, devices, emulated):
    path = CONFIG / f'{name}.yaml'
    fleet = load_fleet(path)
    assert (len(fleet.devices), fleet.emulated) == (devices, emulated)
    nodes = [node for process in fleet_processes(fleet, path) for node in process.nodes]
    assert sorted(nodes) == sorted(['scheduler', 'frame_source', *['device_monitor', 'worker'] * devices])
    assert fleet.model is not None and fleet.model.preprocessing == CONFIG / 'preprocessing.yaml'


def test_the_preprocessing_that_is_shipped_is_read():
    assert Preprocessing.from_yaml(CONFIG / 'preprocessing.yaml').width > 0


FLEET = {'source': 'pi', 'devices': {'pi': {}, 'box': {}}, 'parameters': {'worker': {'threads': 2, 'providers': ['on']}}}


def test_the_nodes_of_a_device_share_a_process_unless_the_file_says_otherwise():
    one, each = (device_processes(parse_fleet(FLEET | {'processes': form}), 'f.yaml', 'pi') for form in ('one', 'each'))
    assert [(p.label, p.nodes) for p in one] == [('pi/device', ('device_monitor', 'worker', 'frame_source'))]
    assert [(p.label, p.nodes) for p in each] == [(f'pi/{n}', (n,)) for n in ('device_monitor', 'worker', 'frame_source')]
    assert one[0].runs('pi/worker') and one[0].runs('pi/device') and not one[0].runs('box/worker')
    assert [p.runs('pi/worker') for p in each] == [False, True, False]
    assert device_processes(parse_fleet(FLEET), 'f.yaml', 'pi') == one
    assert device_processes(parse_fleet(FLEET), 'f.yaml', 'box')[0].nodes == ('device_monitor', 'worker')


def test_each_node_of_a_process_gets_its_own_parameters():
    one, = device_processes(parse_fleet(FLEET), 'f.yaml', 'pi')
    assert one.given['worker.threads'] == 2 and 'threads' not in one.given
    assert {f'{node}.fleet_file' for node in ('device_monitor', 'worker', 'frame_source')} < one.given.keys()
    assert 'worker.providers:=["on"]' in one.ros_arguments()
    worker = device_processes(parse_fleet(FLEET | {'processes': 'each'}), 'f.yaml', 'pi')[1]
    assert worker.given == worker.parameters and 'threads:=2' in worker.ros_arguments()


def test_the_router_has_a_process_of_its_own_and_who_runs_beside_a_device_is_told():
    network = {'kind': 'wan', 'router': 'tcp/203.0.113.5:7447', 'router_device': 'box', 'sites': {'there': ['box']}}
    fleet = parse_fleet(FLEET | {'network': network})
    assert [p.nodes for p in device_processes(fleet, 'f.yaml', 'box')] == [('router',), ('device_monitor', 'worker')]
    assert [p.nodes for p in device_processes(fleet, 'f.yaml', 'pi')] == [('device_monitor', 'worker', 'frame_source')]
    assert scheduler_process(fleet, 'f.yaml', 'box').given['device'] == 'box'
    assert 'device' not in scheduler_process(parse_fleet(FLEET), 'f.yaml', 'box').given

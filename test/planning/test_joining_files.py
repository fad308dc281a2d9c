# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fleet files that welcome devices which they do not name, and those of four lines."""

import pytest

from edge_dnn_partition.deployment.processes import device_processes, fleet_processes
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet, parse_fleet
from edge_dnn_partition.yaml_file import parse_yaml

FOUR_LINES = b"""
fleet: robot
model: {path: model.onnx}
source: pi
camera: {topic: /camera/image_raw/compressed}
"""


def test_four_lines(tmp_path):
    fleet = parse_fleet(parse_yaml(FOUR_LINES), base=tmp_path)
    assert list(fleet.devices) == ['pi']
    assert (fleet.anybody, fleet.network_kind, fleet.emulated) == (Device(), 'lan', False)
    assert [process.label for process in fleet_processes(fleet, tmp_path / 'robot.yaml')] == ['scheduler', 'pi/device']


def test_a_file_may_say_what_is_required_and_what_is_welcome(tmp_path):
    fleet = parse_fleet({'source': 'pi', 'devices': {'jetson': {'threads': 6}, '*': {'threads': 2, 'memory': '1 GiB'}}})
    assert list(fleet.devices) == ['pi', 'jetson']
    assert fleet.device('pi') == fleet.device('guest') == fleet.anybody
    assert fleet.device('jetson').threads == 6
    assert [process.label for process in device_processes(fleet, tmp_path / 'f', 'guest')] == ['guest/device']


def test_strangers_stay_out_without_the_entry():
    fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}}})
    assert 'jetson' in fleet and 'guest' not in fleet
    with pytest.raises(PlanError, match='the fleet file has pi, jetson'):
        fleet.device('guest')


@pytest.mark.parametrize('name', ['', '*', 'my pi', '1a', 'a' * 61, 'pi/jetson'])
def test_names_that_cannot_join(name):
    fleet = parse_fleet({'source': 'pi'})
    assert name not in fleet
    with pytest.raises(PlanError, match='use'):
        fleet.device(name)


@pytest.mark.parametrize(('document', 'words'), [
    ({'source': 'pi', 'devices': {'*': {'thread': 2}}}, r"devices\.\*\.thread.*did you mean 'threads'|did you mean 'threads'"),
    ({'source': 'pi', 'devices': {'*': 3}}, r'must be a table'),
    ({'source': 'pi', 'devices': {}}, 'devices'),
    ({'source': 'my pi'}, 'not a ROS name'),
    ({}, 'source is missing'),
    ({'source': 'pi', 'anybody': {}}, "unknown key 'anybody'"),
    ({'source': 'pi', 'links': [{'between': ['pi', 'jetson'], 'rate': '1 Mbit/s'}]}, "no device is called 'jetson'"),
])  # fmt: skip
def test_refusals(document, words):
    with pytest.raises(PlanError, match=words):
        parse_fleet(document)


def test_what_a_device_says_fills_what_the_file_leaves_out():
    fleet = parse_fleet({'source': 'pi', 'devices': {'*': {'threads': 2}}})
    said = Device(threads=16, memory='2 GiB')
    known = fleet.device('guest').filled(said)
    assert (known.threads, known.memory) == (2, 2**31)
    grown = fleet.with_device('guest', known)
    assert list(grown.devices) == ['pi', 'guest'] and list(fleet.devices) == ['pi']
    assert isinstance(grown, Fleet) and grown.with_device('guest', None) == fleet

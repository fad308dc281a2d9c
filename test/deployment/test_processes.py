# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The files in config/ are fleets that can be started."""

from pathlib import Path

import pytest

from edge_dnn_partition.deployment.processes import fleet_processes
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import load_fleet

CONFIG = Path(__file__).parents[2] / 'config'


@pytest.mark.parametrize(
    ('name', 'devices', 'emulated'),
    [('one_machine', 3, True), ('pi_jetson', 2, False), ('robot_cloud', 2, False)],
)
def test_a_fleet_file_that_is_shipped_makes_processes(name, devices, emulated):
    path = CONFIG / f'{name}.yaml'
    fleet = load_fleet(path)
    assert (len(fleet.devices), fleet.emulated) == (devices, emulated)
    nodes = [process.node for process in fleet_processes(fleet, path)]
    assert sorted(nodes) == sorted(['scheduler', 'frame_source', *['device_monitor', 'worker'] * devices])
    assert fleet.model is not None and fleet.model.preprocessing == CONFIG / 'preprocessing.yaml'


def test_the_preprocessing_that_is_shipped_is_read():
    assert Preprocessing.from_yaml(CONFIG / 'preprocessing.yaml').width > 0

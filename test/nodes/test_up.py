# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition up`` starts what the launch files start, and ends all of it."""

import signal

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.planning.fleet_state.fleet import load_fleet
from edge_dnn_partition.runtime.deployment.processes import device_processes, fleet_processes


@pytest.mark.parametrize('arguments', [(), ('--scheduler',), ('--device', 'jetson', '--scheduler', '--dashboard', '--visualisation')])
def test_up_and_down(nodes, tmp_path, monkeypatch, fresh_home, arguments):
    from trial_fleet import write_fleet

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    path = write_fleet(tmp_path, {'dashboard': {'port': 0}})
    fleet = load_fleet(path)
    expected = {0: fleet_processes(fleet, path), 1: ()}.get(len(arguments), device_processes(fleet, path, 'jetson'))
    labels = {process.label for process in expected} | {'scheduler'} | {word[2:] for word in arguments[3:]}
    up = nodes.start('-m', 'edge_dnn_partition.cli', 'up', str(path), *arguments)
    for label in labels:
        up.wait_for(f'[{label}] [INFO]')
    up.wait_for(': active', count=len(labels))
    up.send(signal.SIGINT)
    up.assert_clean_end()
    assert {line[1:].split(']')[0] for line in up.output.splitlines()} == labels
    assert not list(fresh_home.rglob('*')), 'no node leaves anything in the home of its user'

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition up`` starts what the launch files start, and ends all of it."""

import signal
import socket

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

import psutil
from support import wait_until

from edge_dnn_partition.deployment.processes import device_processes, fleet_processes
from edge_dnn_partition.deployment.watchdog import Watchdog
from edge_dnn_partition.planning.fleet.fleet import load_fleet


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
    more = sum(len(process.more) for process in expected)
    up.wait_for(': active', count=len(labels) + more)
    up.wait_for('up: all processes are ready')
    up.send(signal.SIGINT)
    up.assert_clean_end()
    theirs = [line for line in up.output.splitlines() if not line.startswith('up: ')]
    assert {line[1:].split(']')[0] for line in theirs} == labels
    assert not list(fresh_home.rglob('*')), 'no node leaves anything in the home of its user'


def test_what_ends_is_started_again_and_tools_end_nothing(nodes, tmp_path, monkeypatch):
    """A worker is killed; the dashboard's port is taken. The starter is as systemd is: it hears that all are ready."""
    from trial_fleet import write_fleet

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    systemd = Watchdog()
    with socket.create_server(('127.0.0.1', 0)) as taken:
        path = write_fleet(tmp_path, {'dashboard': {'port': taken.getsockname()[1]}})
        health = tmp_path / 'health'
        arguments = ('--device', 'jetson', '--scheduler', '--dashboard', '--health-file', str(health))
        up = nodes.start('-m', 'edge_dnn_partition.cli', 'up', str(path), *arguments, environment=systemd.environment)
        up.wait_for('up: dashboard exited with code 1')
        wait_until(lambda: systemd.look() == {} and systemd.ready(up.pid), 'that all are ready')
        wait_until(health.exists, 'the file for health checks')
        up.wait_for('[trial.jetson.worker]: active')
        worker = next(p for p in psutil.Process(up.pid).children() if 'worker' in p.cmdline())
        worker.kill()
        up.wait_for('up: jetson/device was killed (SIGKILL)')
        up.wait_for('[trial.jetson.worker]: active', 2)
        up.send(signal.SIGINT)
        assert up.end()[0] == 0
    systemd.close()

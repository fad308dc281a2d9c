# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""`doctor --fleet … --listen` against real nodes, in one ROS domain and, as root, in two."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built: run make setup')

from support import ros_arguments, wait_until

from edge_dnn_partition.deployment.fleet_key import write_key
from edge_dnn_partition.testbed.namespaces import Namespaces, why_not

FLEET = 'fleet: robot\nsource: pi\ndevices: {pi: {}, jetson: {}}\nnetwork: {kind: %s}\n'
MONITOR = [sys.executable, '-m', 'edge_dnn_partition.nodes', 'device_monitor']
DOCTOR = [sys.executable, '-m', 'edge_dnn_partition.cli', 'doctor', '--json', '--listen', '6', '--fleet']


def checks_of(text):
    return {check['name']: check for check in json.loads(text)['checks']}


def test_a_running_fleet_is_looked_at(nodes, tmp_path):
    fleet = tmp_path / 'fleet.yaml'
    fleet.write_text(FLEET % 'machine' + 'security: {key_file: fleet.key}\n')
    write_key(tmp_path / 'fleet.key')
    nodes.start_node('device_monitor', '/robot/pi', rate_hz=20.0)
    nodes.start_node('device_monitor', '/robot/jetson_1', rate_hz=20.0, fleet_file=fleet)
    done = subprocess.run([*DOCTOR, str(fleet)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    checks = checks_of(done.stdout)
    assert checks['device pi']['found'] == 'no messages from its frame_source and worker'
    assert checks['device jetson']['found'] == 'no messages'
    assert checks['fleet']['found'] == 'found jetson_1, which the fleet file does not name'
    assert checks['key of the fleet']['found'] == 'messages of pi have no valid seal, so nobody accepts them'
    assert checks['middleware of the fleet']['found'] == 'Fast DDS on pi'
    assert checks['clocks'] == {
        'name': 'clocks', 'status': 'ok', 'found': "the clocks of pi agree with this machine's", 'advice': '',
    }  # fmt: skip
    assert 'domain' not in checks, 'nothing announces itself on loopback'


@pytest.mark.skipif(why_not() is not None, reason=why_not() or '')
def test_a_device_in_another_domain_is_found_by_what_it_announces(tmp_path):
    """Both in a namespace of their own, so that no multicast leaves this machine."""
    fleet = tmp_path / 'fleet.yaml'
    fleet.write_text(FLEET % 'lan')

    def environment(domain):
        return os.environ | {'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}

    with Namespaces(['robot'], {}) as network:
        log = (tmp_path / 'log').open('w+')
        monitor = network.popen(
            'robot', [*MONITOR, *ros_arguments('/robot/jetson')], cwd=tmp_path, env=environment(77), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_until(lambda: 'active' in (tmp_path / 'log').read_text() or monitor.poll() is not None, 'the monitor')
            doctor = network.popen(
                'robot', [*DOCTOR, str(fleet)], cwd=tmp_path, env=environment(5), stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            checks = checks_of(doctor.communicate(timeout=100)[0])
        finally:
            monitor.terminate()
            monitor.wait(10)
            log.close()
    assert checks['device jetson']['found'] == 'no messages'
    assert checks['domain']['status'] == 'warn'
    assert checks['domain']['found'] == 'this is domain 5; others use DDS in domain 77: this machine (Fast DDS)'
    assert 'ROS_DOMAIN_ID' in checks['domain']['advice']

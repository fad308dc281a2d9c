# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet of two sites, each with a DDS domain of its own: tensors go there and back over Zenoh, and the links are measured."""

import itertools
import os
import socket
from contextlib import ExitStack, closing

import pytest
import yaml

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
pytest.importorskip('zenoh', reason='the extra wan is not installed')

from domain_coordinator import domain_id
from trial_fleet import images, write_fleet

from edge_dnn_partition.deployment.processes import device_processes, scheduler_process
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.transport.zenoh_router import open_router, router_settings

PLAN = 'pi:pre-1 box:1-end'


def write_two_sites(folder):
    """Write the file of a robot and a box, neither of them emulated; most layers run on the box."""
    path = write_fleet(folder)
    given = yaml.safe_load(path.read_text())
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        router = f'tcp/127.0.0.1:{probe.getsockname()[1]}'
    changed = {
        'devices': {'pi': {}, 'box': {}}, 'links': [{'between': ['pi', 'box'], 'rate': '400 Mbit/s'}],
        'network': {'kind': 'wan', 'router': router, 'sites': {'there': ['box']}},
    }  # fmt: skip
    given['parameters']['scheduler'] = {'policy': 'fixed', 'fixed_plan': PLAN}
    path.write_text(yaml.safe_dump(given | changed))
    return path


def test_tensors_cross_to_another_site_and_results_come_back(ros_domain, tmp_path, monkeypatch):
    from edge_dnn_partition.cli.running_fleet import CameraThread
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    file, log = write_two_sites(tmp_path), []
    fleet = load_fleet(file)
    with ExitStack() as stack:
        stack.enter_context(closing(open_router(router_settings([fleet]))))
        there = stack.enter_context(domain_id())
        for device, domain in (('pi', ros_domain), ('box', there)):
            environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
            supervisor = stack.enter_context(Supervisor(environment, lambda *line: log.append(line)))
            for process in device_processes(fleet, file, device):
                supervisor.start(process)
            if device == fleet.source:
                supervisor.start(scheduler_process(fleet, file, device))
        client = stack.enter_context(FleetClient(fleet))
        camera = CameraThread(client.camera('/trial/pi/image/compressed'), enumerate(itertools.cycle(images())), 10.0)
        camera.start()
        stack.callback(camera.stop)

        def crossed():
            return [f for f in client.news.frames if any((hop.sender, hop.receiver) == ('pi', 'box') for hop in f.hops)]

        client.wait_for(lambda: len(crossed()) >= 10, 60.0, f'frames that have crossed: {log[-15:]}')

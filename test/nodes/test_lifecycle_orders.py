# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle manager brings a fleet up in any order, again and again: a stream comes each time, and nothing piles up.

As nav2's manager does it: all nodes are configured in turn, then all activated in turn; taken down in the reverse order.
"""

import itertools
import os
import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from support import SHARED_MEMORY

KINDS = ('device_monitor', 'worker', 'scheduler', 'frame_source')
ORDERS = int(os.environ.get('EDGE_DNN_PARTITION_ORDERS', '24'))
"""How many pairs of an order to configure and one to activate in to go through, of 576."""
WARM_CYCLES = 4
"""So often a node is brought up and down before it is counted what it holds."""


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def orders():
    """Return pairs of orders, the first 24 of which have each order once in either place; all are drawn by a seed."""
    every, chance = list(itertools.permutations(KINDS)), random.Random(7)
    first = list(zip(chance.sample(every, len(every)), every, strict=True))
    others = sorted(set(itertools.product(every, every)) - set(first))
    return [*first, *chance.sample(others, len(others))][:ORDERS]


def held(process):
    """Return how many threads, descriptors, and mappings and descriptors of shared memory a process has."""
    folder = Path(f'/proc/{process.pid}')
    files = [os.readlink(file) for file in (folder / 'fd').iterdir() if file.is_symlink()]
    maps = [line for line in (folder / 'maps').read_text().splitlines() if '/dev/shm/' in line]
    shared = {line.split()[5] for line in maps} | {file for file in files if file.startswith('/dev/shm/')}
    shared |= {str(file) for file in SHARED_MEMORY.glob(f'edp_segment_{process.pid}_*')}
    return {'threads': len(list((folder / 'task').iterdir())), 'descriptors': len(files), 'shared memory': len(shared)}


def test_a_fleet_comes_up_in_any_order_and_nothing_piles_up(nodes, tmp_path):
    from edge_dnn_partition.msg import Profile
    from lifecycle_manager import Manager
    from trial_fleet import images, write_one_device_fleet

    from edge_dnn_partition.cli.running_fleet import CameraThread
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.nodes.core import qos
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    file = write_one_device_fleet(tmp_path, 'trial')
    places = {kind: '/trial' if kind == 'scheduler' else '/trial/pi' for kind in KINDS}
    more = {'worker': {'fleet_file': file, 'profile_runs': 1, 'drain_seconds': 0.0}, 'device_monitor': {}}
    processes = {
        kind: nodes.start_node(kind, place, autostart=False, **more.get(kind, {'fleet_file': file}))
        for kind, place in places.items()
    }  # fmt: skip
    counts, profiles = [], []
    with FleetClient(load_fleet(file), name='manager') as client:
        manager = Manager(client, {kind: f'{place}/{kind}' for kind, place in places.items()})
        client.node.create_subscription(Profile, '/trial/profile', profiles.append, qos.PROFILE)
        shots = ((0, image) for image in itertools.cycle(images()))
        camera = CameraThread(client.camera('/trial/pi/image/compressed'), shots, 20.0)
        camera.start()
        try:
            for configured, activated in orders():
                for kind in configured:
                    manager.go(kind, 'configure')
                for kind in activated:
                    profiles.clear()
                    manager.go(kind, 'activate')
                    if kind == 'worker':  # what it says but once is said before the next node is activated
                        client.wait_for(lambda: profiles, 15.0, 'the profile')
                begin = len(client.news.frames)
                client.wait_for(
                    lambda begin=begin: any(frame.delivered for frame in client.news.frames[begin:]), 15.0,
                    f'a result after {configured} were configured and {activated} activated',
                )  # fmt: skip
                for kind in reversed(activated):
                    manager.go(kind, 'deactivate', 'activate', 'deactivate')
                for kind in reversed(configured):
                    manager.go(kind, 'cleanup')
                shutil.rmtree(tmp_path / 'cache' / 'plans')  # the next ones find no plan of an earlier run
                shutil.rmtree(tmp_path / 'cache' / 'scheduler')
                counts.append({kind: held(process) for kind, process in processes.items()})
        finally:
            camera.stop()
            print(*(process.output for process in nodes.all), sep='\n')  # pytest shows it where the test fails
    print(*counts, sep='\n')
    assert counts[-1] == counts[WARM_CYCLES]

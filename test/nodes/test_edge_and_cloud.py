# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The walk in docs/edge_and_cloud.md, from nothing to a robot and a box: each command but the installation is run.

The machines are folders; the box has a ROS domain of its own, so that only Zenoh connects it. ``box.example.org`` is this machine, and
``ssh`` runs its command in the other machine's folder.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
pytest.importorskip('zenoh', reason='the extra `wan` is not installed')

import cv2
import numpy as np
from domain_coordinator import domain_id
from support import wait_until

from edge_dnn_partition.testbed import demo_model

sys.path.insert(0, str(Path(__file__).parents[1] / 'docs'))

from command_checks import ROOT, TESTED_BY, blocks

TOP = '# on the robot\nedge-dnn-partition top robot/robot.yaml --once\n'


class Walk:
    """Machines in a folder, and what runs on them."""

    def __init__(self, folder, nodes, domains, port):
        self.nodes, self.port, self.started = nodes, port, {}
        self.places = {machine: folder / machine for machine in domains}
        self.environments = {}
        bin_ = folder / 'bin'
        bin_.mkdir()
        (bin_ / 'ssh').write_text(f'#!/bin/bash\ncd {folder}/"${{1%%.*}}" && bash -c "${{*:2}}"\n')
        (bin_ / 'ssh').chmod(0o755)
        for machine, domain in domains.items():
            self.places[machine].mkdir()
            self.environments[machine] = {
                'ROS_DOMAIN_ID': str(domain), 'EDGE_DNN_PARTITION_CACHE': str(folder / f'cache_{machine}'),
                'PATH': os.pathsep.join([str(bin_), str(Path(sys.executable).parent), os.environ['PATH']]),
            }  # fmt: skip

    def run(self, text):
        """Run a block on the machine that its first line names; one that starts a fleet stays."""
        machine = re.match(r'# on the (\w+)\n', text)[1]
        text = text.replace('box.example.org:7447', f'127.0.0.1:{self.port}')
        up = re.search(r'^edge-dnn-partition ((?:up|join) .*)$', text, re.MULTILINE)
        if up:
            words = up[1].split()
            words = [str(self.places[machine] / word) if '/' in word or word == 'keys' else word for word in words]
            self.started[machine] = self.nodes.start('-m', 'edge_dnn_partition.cli', *words, environment=self.environments[machine])
            return ''
        done = subprocess.run(
            ['bash', '-euo', 'pipefail', '-c', text], cwd=self.places[machine], env=os.environ | self.environments[machine],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f'{text}\n{done.stdout}'
        return done.stdout


@pytest.fixture
def walk(tmp_path, nodes, ros_domain):
    with domain_id() as other, socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
        free.close()
        walk = Walk(tmp_path, nodes, {'robot': ros_domain, 'jetson': ros_domain, 'box': other}, port)
        yield walk
        for process in walk.started.values():
            if process.running:
                process.send(signal.SIGINT)
        for process in walk.started.values():
            process.end()


def test_from_nothing_to_a_robot_and_a_box(walk):
    page = ROOT / 'docs/edge_and_cloud.md'
    robot, box = walk.places['robot'], walk.places['box']
    shutil.copy(demo_model.cached('tiny'), robot / 'model.onnx')
    (robot / 'photos').mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3)).astype(np.uint8)
        cv2.imwrite(str(robot / 'photos' / f'{number}.jpg'), cv2.resize(pixels, (160, 120)))
    mine = [block.text for block in blocks(page) if Path(__file__).name in block.mark]
    assert [block for block in blocks(page) if not TESTED_BY.search(block.mark)] == blocks(page)[:1], 'all but the installation'
    *preparation, look, bring, join = mine
    for text in preparation:
        walk.run(text)
    assert {path.name for path in (box / 'robot/keys').iterdir()} == {'ca.pem', 'pi.pem', 'jetson.pem', 'box.pem', 'box.key'}
    for process in walk.started.values():
        process.wait_for('up: all processes are ready')
    pi = walk.started['robot']
    pi.wait_for('results arrive under plan 1')
    wait_until(lambda: 'box       up' in walk.run(TOP), 'the box')
    said = walk.run(look)
    pinned = re.search(r'^pinned.*: (plan \d+), (box:pre-\d+)$(.*)^free: the policy auto decides', said, re.MULTILINE | re.DOTALL)
    assert pinned, said
    assert re.search(rf'^{pinned[1]}: {pinned[2]}\nlatency .* frames/s ', pinned[3], re.MULTILINE), said
    walk.run(bring)
    walk.run(join)
    walk.started['jetson'].wait_for('join: all processes are ready')
    wait_until(lambda: 'jetson    up' in walk.run(TOP), 'the third device')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Two machines in a WireGuard network, as docs/security.md has it: they hear each other, and nothing else is on the wire.

WireGuard in user space (wireguard-go), so that the kernel needs none. As root only.
"""

import os
import re
import shutil
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from edge_dnn_partition.deployment.dds_environment import dds_environment, dds_profile
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.testbed.namespaces import Namespaces, why_not

ROOT = Path(__file__).resolve().parent.parent.parent
PEER = ROOT / 'test/nodes/trial_peer.py'
PORT = 51820
INSIDE = {'pi': '10.7.0.1', 'jetson': '10.7.0.2'}
MISSING = [tool for tool in ('wg', 'wireguard-go') if shutil.which(tool) is None]

pytestmark = pytest.mark.skipif(bool(MISSING or why_not()), reason=why_not() or f'{" and ".join(MISSING)} not installed')


def recipe(host, other, folder, ground):
    """Return the commands of docs/security.md for one machine, for a shell that stays until its input ends."""
    page = (ROOT / 'docs/security.md').read_text()
    block = re.search(r'```sh\n(wg genkey.*?)```', page, re.DOTALL)[1]
    lines = [line.split('   #')[0].replace('sudo ', '') for line in block.splitlines()]
    wanted = ('ip link add', 'ip address add', 'wg set', 'ip link set')
    commands = '\n'.join(line for line in lines if line.startswith(wanted))
    for there, here in {
        'ip link add wg0 type wireguard': 'wireguard-go -f wg0 & until wg show wg0 2>/dev/null; do sleep 0.05; done',
        '10.7.0.1/24': f'{INSIDE[host]}/24', '10.7.0.2/32': f'{INSIDE[other]}/32', '192.0.2.7': ground.address(other),
        'wg.key': f'{folder}/{host}.key', 'jetson.pub': f'{folder}/{other}.pub',
    }.items():  # fmt: skip
        assert there in commands
        commands = commands.replace(there, here)
    # What a network interface is called is known to one machine alone, its control socket's name to all that share /run.
    return f'set -e\nmount -t tmpfs none /run\n{commands}\necho up\nread -r _'


class Wire(threading.Thread):
    """Counts the packets on a host's interface: to or from the VPN's port, or of any other kind."""

    def __init__(self, ground, host):
        super().__init__(daemon=True)
        with ground.inside(host):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            name = next(name for _, name in socket.if_nameindex() if name not in ('lo', 'wg0'))
            self._socket.bind((name, 0x0800))
        self._socket.settimeout(0.2)
        self.found, self._ending = Counter(), threading.Event()
        self.start()

    def run(self):
        while not self._ending.is_set():
            try:
                packet = self._socket.recv(65536)
            except TimeoutError:
                continue
            head = 4 * (packet[0] & 15)
            ports = {int.from_bytes(packet[head + at : head + at + 2], 'big') for at in (0, 2)}
            self.found['vpn' if packet[9] == socket.IPPROTO_UDP and PORT in ports else 'clear'] += 1

    def stop(self):
        self._ending.set()
        self.join(2.0)
        self._socket.close()


def test_a_fleet_in_wireguard_says_nothing_outside_it(ros_domain, tmp_path, monkeypatch):
    import subprocess

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    document = {'source': 'pi', 'devices': {'pi': {}, 'jetson': {}}, 'network': {'kind': 'lan', 'interface': 'wg0'}}
    profile = dds_profile(parse_fleet(document))
    for host in INSIDE:
        key = subprocess.run(['wg', 'genkey'], capture_output=True, check=True).stdout
        (tmp_path / f'{host}.key').write_bytes(key)
        (tmp_path / f'{host}.pub').write_bytes(subprocess.run(['wg', 'pubkey'], input=key, capture_output=True, check=True).stdout)
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
    with Namespaces(list(INSIDE), {}) as ground:
        wire = Wire(ground, 'pi')
        for host, other in zip(INSIDE, reversed(INSIDE), strict=True):
            tunnel = ground.popen(host, ['unshare', '--mount', 'bash', '-c', recipe(host, other, tmp_path, ground)], **pipes)
            assert 'up' in (line.strip() for line in tunnel.stdout)
        peers = []
        for host, other in zip(INSIDE, reversed(INSIDE), strict=True):
            with ground.inside(host):
                environment = os.environ | dds_environment(profile, {}) | {
                    'ROS_STATIC_PEERS': ';'.join(INSIDE.values()), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}  # fmt: skip
            command = [sys.executable, str(PEER), host, other, '20000']
            peers.append(ground.popen(host, command, env=environment, stderr=subprocess.STDOUT, **pipes))
        for peer in peers:
            lines = []
            assert any('both ways' in (lines.append(line) or line) for line in peer.stdout), lines
            assert not any('XMLPARSER' in line for line in lines), lines
        wire.stop()
    assert wire.found['vpn'] > 50
    assert not wire.found['clear']

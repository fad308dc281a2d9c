# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors over real Zenoh: two sessions behind a router, over TCP and TLS, with and without a key, and after a break."""

import socket
import time
from contextlib import closing

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
pytest.importorskip('zenoh', reason='the extra wan is not installed')

from hop import use_key

from edge_dnn_partition.deployment.certificates import make_certificates
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.sites import place
from edge_dnn_partition.transport.zenoh_lan import lan_place, lan_settings
from edge_dnn_partition.transport.zenoh_router import open_router, router_settings
from edge_dnn_partition.transport.zenoh_session import settings

TARGET = ('box', False)


def fleet_of(folder, protocol):
    """A fleet of two sites, whose router has a port that nobody else has at present."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        network = {'kind': 'wan', 'router': f'{protocol}/127.0.0.1:{probe.getsockname()[1]}', 'sites': {'there': ['box']}}
    if protocol != 'tcp':
        tls = {'ca': 'ca.pem', 'certificate': '{device}.pem', 'key': '{device}.key'}
        network |= {'tls': tls, 'router_device': 'box'}
    fleet = parse_fleet({
        'fleet': 'hop', 'source': 'pi', 'links': [{'between': ['pi', 'box'], 'rate': '1 Gbit/s'}], 'devices': {'pi': {}, 'box': {}},
        'network': network,
    }, base=folder)  # fmt: skip
    if protocol != 'tcp':
        make_certificates(fleet)
    return fleet


class Hop:
    """A sender on ``pi``, a listener on ``box``, and what it got."""

    def __init__(self, context, fleet, *, key=None):
        from rclpy.executors import SingleThreadedExecutor

        from edge_dnn_partition.nodes.core.base import FleetNode
        from edge_dnn_partition.nodes.transport.zenoh_link import ZenohLink

        self.got, self.sent = [], []
        self.executor = SingleThreadedExecutor(context=context)
        self.ends, self.links = {}, {}
        for device in ('pi', 'box'):
            node = self.ends[device] = FleetNode(f'end_{device}', namespace=f'/hop/{device}', context=context)
            node.autostart()
            use_key(node, key)
            self.executor.add_node(node)
            where = place(fleet, device)
            if where is None:
                where, how = lan_place(fleet, device), lan_settings('lo')
            else:
                how = settings('client', connect=[where.router], tls=where.tls)
            self.links[device] = ZenohLink(where, how, node, fleet, on_sent=self.sent.append)
        self.links['pi'].connect(TARGET)
        self.links['box'].listen(False, self.take, max_bytes=8 << 20)

    def take(self, received, hop):
        self.got.append((received.address.frame_number, received.views()[0]))

    def send(self, frame, array):
        self.links['pi'].send(TARGET, Address('m', 1, frame, 0, -1), {'t': array}, {})

    def spin_until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, ([frame for frame, _ in self.got], [node.refused for node in self.ends.values()])
            self.executor.spin_once(timeout_sec=0.005)
            for node in self.ends.values():
                node.ticks.run()

    def discover(self, *, sealed=False):
        """Wait until the listener is seen, and those with a key believe each other."""
        here, there = (node.seals for node in self.ends.values())
        self.spin_until(lambda: self.links['pi'].connected(TARGET))
        if sealed:
            self.spin_until(lambda: all(a._vouchers.since(b._sealer.session) is not None for a, b in ((here, there), (there, here))))

    def end(self):
        for link in self.links.values():
            link.stop()
        self.executor.shutdown()
        for node in self.ends.values():
            node.destroy_node()


@pytest.fixture
def hops(context):
    made = []

    def make(*args, **more):
        made.append(Hop(context, *args, **more))
        return made[-1]

    yield make
    for hop in made:
        hop.end()


@pytest.mark.parametrize(('protocol', 'key'), [('tcp', None), ('tls', b'k' * 32)], ids=['tcp', 'tls'])
def test_tensors_arrive_as_they_were_sent(hops, tmp_path, protocol, key):
    fleet = fleet_of(tmp_path, protocol)
    with closing(open_router(router_settings([fleet]))):
        hop = hops(fleet, key=key)
        hop.discover(sealed=key is not None)
        random = np.random.default_rng(1)
        arrays = [random.standard_normal(size).astype(np.float32) for size in (1, 20_000, 900_000)]
        for frame, array in enumerate(arrays):
            hop.send(frame, array)
        hop.spin_until(lambda: len(hop.sent) == 3)
        for frame, tensors in hop.got:
            np.testing.assert_array_equal(tensors['t'], arrays[frame])
        assert [frame for frame, _ in hop.got] == [0, 1, 2]
        assert hop.links['pi'].bytes_waiting == 0
        state = hop.links['pi'].states()['box']
        assert state.bytes_per_second > 1e6
        assert 0 < state.latency_seconds < 0.5
        hop.send(3, np.zeros(3_000_000, np.float32))
        hop.spin_until(lambda: hop.ends['box'].refused['WireError'])
        assert 'exceed what this device holds' in hop.ends['box'].last_refusal


def test_what_a_dead_router_took_arrives_through_the_next(hops, tmp_path):
    fleet = fleet_of(tmp_path, 'tcp')
    with closing(open_router(router_settings([fleet]))):
        hop = hops(fleet)
        hop.discover()
        hop.send(0, np.ones(10, np.float32))
        hop.spin_until(lambda: hop.got)
    hop.spin_until(lambda: not hop.links['pi'].connected(TARGET))
    hop.send(1, np.ones(10, np.float32))
    with closing(open_router(router_settings([fleet]))):
        hop.spin_until(lambda: len(hop.sent) == 2)
    assert [frame for frame, _ in hop.got] == [0, 1]


def test_devices_of_one_network_find_each_other_without_a_router(hops):
    hop = hops(parse_fleet({
        'fleet': 'hop', 'source': 'pi', 'devices': {'pi': {}, 'box': {}}, 'network': {'kind': 'lan', 'tensors': 'zenoh'},
    }))  # fmt: skip
    hop.discover()
    hop.send(0, np.ones(100_000, np.float32))
    hop.spin_until(lambda: hop.sent)
    assert hop.got[0][1]['t'].sum() == 100_000

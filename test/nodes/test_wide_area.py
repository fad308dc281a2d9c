# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes of one site publish is heard at another, through a router, latched or not, sealed or not; strangers hear nothing."""

import re
import secrets
import socket
import time
import urllib.request
from contextlib import contextmanager

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('zenoh', reason='Zenoh is not installed')

import rclpy
import yaml
import zenoh
from edge_dnn_partition.msg import Claim, DeviceState, FleetState, Heartbeat, StageState
from support import Processes

from edge_dnn_partition.deployment.certificates import make_certificates
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.entities import EntityNode
from edge_dnn_partition.nodes.core.process import Spinner
from edge_dnn_partition.nodes.core.seals import Seals
from edge_dnn_partition.nodes.core.wide import wide_area
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.zenoh_router import router_settings
from edge_dnn_partition.transport.zenoh_session import open_session, settings

KEY = secrets.token_bytes(32)


@pytest.fixture
def ros_domains(ros_domain):
    """One for each site."""
    from domain_coordinator import domain_id

    with domain_id() as another:
        yield ros_domain, another


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def document(router, *, name='f', port=None):
    tls = {'ca': 'ca.pem', 'certificate': '{fleet}/{device}.pem', 'key': '{fleet}/{device}.key'}
    network = {'kind': 'wan', 'router': f'{router}/127.0.0.1:{port or free_port()}', 'sites': {'there': ['box']}}
    if router != 'tcp':
        network |= {'tls': tls, 'router_device': 'box'}
    return {'fleet': name, 'source': 'pi', 'devices': {'pi': {}, 'jetson': {}, 'box': {}}, 'network': network}


def fleet_of(folder, router, **given):
    fleet = parse_fleet(document(router, **given), base=folder)
    if router != 'tcp':
        make_certificates(fleet)
    return fleet


@contextmanager
def node(fleet, device, domain, key=None):
    """A node of a device, in the DDS domain of its site."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    made = EntityNode('n', per_device=True, namespace=f'/{fleet.fleet}/{device}', context=context)
    wide = wide_area(fleet, device, made.ticks.soon, lambda _, words: None)
    made.seals = Seals(made, made.topics, key, made.refuse, wide)
    made.active = True
    spinner = Spinner(made)
    spinner.start()
    try:
        yield made
    finally:
        made.ending.set()
        spinner.ask_to_end()
        spinner.join(2.0)
        made.seals.close()
        spinner.executor.shutdown(timeout_sec=0.2)
        made.destroy_node()
        rclpy.try_shutdown(context=context)


def until(reached, seconds=8.0):
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        time.sleep(0.01)
    return reached()


@pytest.mark.parametrize(('router', 'key'), [('tcp', None), ('tls', KEY), ('quic', None)], ids=['tcp', 'tls', 'quic'])
def test_messages_cross_and_those_that_last_wait_for_who_is_late(ros_domains, tmp_path, router, key):
    fleet = fleet_of(tmp_path, router)
    here, there = ros_domains
    heard, lasting, neighbours = [], [], []
    with node(fleet, 'pi', here, key) as pi, node(fleet, 'jetson', here, key) as jetson:
        states = pi.advertise(StageState, pi.topics.plan_state, qos.PLAN_STATE, always=True)
        beats = pi.advertise(Heartbeat, pi.topics.heartbeat, qos.HEARTBEAT, always=True)
        jetson.subscribe(Heartbeat, jetson.topics.heartbeat, neighbours.append, qos.HEARTBEAT)
        for version in (1, 2):  # before there is a router
            states.publish(StageState(device='pi', plan_version=version))
        session = open_session(router_settings([fleet]))
        with node(fleet, 'box', there, key) as box:
            box.subscribe(StageState, box.topics.plan_state, lasting.append, qos.PLAN_STATE)
            box.subscribe(Heartbeat, box.topics.heartbeat, heard.append, qos.HEARTBEAT)
            assert until(lambda: [state.plan_version for state in lasting] == [1, 2])
            assert until(lambda: beats.get_subscription_count() == 2)

            def beat():
                beats.publish(Heartbeat(device='pi'))
                time.sleep(0.05)
                return heard and neighbours

            assert until(beat)
            assert len(heard) == len(neighbours), 'the neighbour hears each once, and not over the router again'
            if router != 'quic':  # of which Zenoh holds the socket for as long as the process lives
                session.close()
                states.publish(StageState(device='pi', plan_version=3))  # while nobody can be reached
                session = open_session(router_settings([fleet]))
                heard.clear()
                assert until(lambda: [state.plan_version for state in lasting] == [1, 2, 3])
                assert until(lambda: beat() and heard)
    session.close()


def test_who_has_no_certificate_of_the_fleet_hears_nothing_and_is_not_heard(ros_domains, tmp_path):
    fleet = fleet_of(tmp_path, 'tls')
    other = fleet_of(tmp_path, 'tls', name='other', port=int(fleet.network.router.rpartition(':')[2]))
    router = open_session(router_settings([fleet, other]))
    heard, overheard = [], []
    with node(fleet, 'box', ros_domains[0]) as box, node(fleet, 'pi', ros_domains[1]) as pi:
        box.subscribe(Claim, box.topics.claim('worker'), lambda message: heard.append(message.host), qos.CLAIM)
        claims = pi.advertise(Claim, pi.topics.claim('worker'), qos.CLAIM, always=True)
        with pytest.raises(zenoh.ZError):
            open_session(settings('client', connect=[fleet.network.router]))
        strange = fleet_of(tmp_path / 'strange', 'tls', port=1)
        with pytest.raises(zenoh.ZError):
            open_session(settings('client', connect=[fleet.network.router], tls=strange.network.tls.of('pi')))
        for name, device in (('other', 'pi'), ('f', 'jetson')):
            tls = (other if name == 'other' else fleet).network.tls.of(device)
            intruder = open_session(settings('client', connect=[fleet.network.router], tls=tls))
            if name == 'other':
                intruder.declare_subscriber('edge_dnn_partition/f/**', overheard.append, allowed_origin=zenoh.Locality.REMOTE)
                intruder.declare_subscriber('**', overheard.append, allowed_origin=zenoh.Locality.REMOTE)
            intruder.put('edge_dnn_partition/f/_/pi/claim/worker', b'not a message')
        time.sleep(0.3)
        claims.publish(Claim(host='pi'))
        assert until(lambda: heard == ['pi'])
        time.sleep(0.3)
    assert (heard, overheard, box.refused) == (['pi'], [], {})
    router.close()


def test_one_dashboard_shows_two_fleets_of_several_sites(ros_domains, tmp_path):
    pytest.importorskip('aiohttp', reason='the extra `dashboard` is not installed')
    (tmp_path / 'fleet.yaml').write_text(yaml.safe_dump(document('tls', name='r1', port=(port := free_port()))))
    fleets = [fleet_of(tmp_path, 'tls', name=name, port=port) for name in ('r1', 'r2')]
    router = open_session(router_settings(fleets))
    with Processes(tmp_path) as processes, node(fleets[0], 'box', ros_domains[1]) as one, node(fleets[1], 'box', ros_domains[1]) as two:
        said = [made.advertise(FleetState, made.topics.state, qos.STATE, always=True) for made in (one, two)]
        dashboard = processes.start_node('dashboard', '/r1', fleet_file=tmp_path / 'fleet.yaml', port=0, more_fleets='r2')
        dashboard.wait_for('the dashboard is at ')
        address = re.search(r'the dashboard is at (\S+)', dashboard.output)[1]

        def shown():
            for publisher in said:
                publisher.publish(FleetState(devices=[DeviceState(device='box', alive=True)]))
            time.sleep(0.1)
            with urllib.request.urlopen(f'{address}metrics') as answer:
                return set(re.findall(r'device_up{.*fleet="(.+?)"', answer.read().decode())) == {'r1', 'r2'}

        assert until(shown)
    router.close()

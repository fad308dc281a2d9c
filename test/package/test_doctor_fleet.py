# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of a fleet: its file, and what was heard of its machines."""

import json
import os
import signal
import socket
import sys
import threading

import pytest

from edge_dnn_partition.cli import doctor_machine, doctor_ros, doctor_running
from edge_dnn_partition.cli.doctor_fleet import fleet_file
from edge_dnn_partition.cli.main import main
from edge_dnn_partition.monitoring.network_presence import DeviceLiveness, Presence, listen, middleware_of, port_of
from edge_dnn_partition.planning.fleet.fleet import parse_fleet

FLEET = parse_fleet({'fleet': 'robot', 'source': 'pi', 'devices': {'pi': {}, 'jetson': {}}})
SECOND = 10**9


def signs(*nodes, late=0.01, middleware='Fast DDS', model='a' * 64):
    found = DeviceLiveness(middlewares={middleware})
    for node in nodes or ('device_monitor', 'worker', 'frame_source'):
        found.on_message(node, 100 * SECOND, int((100 + late) * SECOND), model if node == 'worker' else '')
    return found


def found(heard, announced=()):
    return {check.name: check for check in doctor_running.findings(FLEET, heard, lambda: announced)}


def test_a_fleet_whose_machines_agree():
    checks = found({'pi': signs(), 'jetson': signs('device_monitor', 'worker')})
    assert {check.status for check in checks.values()} == {'ok'}
    assert checks['middleware of the fleet'].found == 'Fast DDS on pi, jetson'
    assert checks['clocks'].found == "the clocks of pi, jetson agree with this machine's"
    assert 'domain' not in checks


def test_another_middleware_and_another_model_fail():
    checks = found({'pi': signs(), 'jetson': signs(middleware='Cyclone DDS', model='b' * 64)})
    assert checks['middleware of the fleet'].status == 'fail'
    assert checks['middleware of the fleet'].found == 'differs: pi: Fast DDS, jetson: Cyclone DDS'
    assert 'RMW_IMPLEMENTATION' in checks['middleware of the fleet'].advice
    assert checks['model of the fleet'].status == 'fail'


@pytest.mark.parametrize(('late', 'words'), [
    (-2.0, 'jetson is 2.00 s ahead of this machine, or more'),
    (3.0, 'jetson is 3.00 s behind this machine, or its messages take that long (clock or delay)'),
    (0.3, ''), (-0.05, ''),
])  # fmt: skip
def test_a_clock_that_is_off_is_told_from_a_delay_where_that_can_be(late, words):
    check = found({'pi': signs(), 'jetson': signs(late=late)})['clocks']
    assert (check.status == 'warn') == bool(words)
    assert words in check.found
    assert ('chrony' in check.advice) == bool(words)


def test_the_least_delay_counts():
    device = signs(late=5.0)
    device.on_message('worker', 200 * SECOND, 200 * SECOND + 1000)
    assert device.clock == ''


def test_a_missing_device_is_looked_for_in_other_domains(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '3')
    monkeypatch.setattr(doctor_running, 'own_addresses', lambda: ['192.168.1.5'])
    others = [Presence(3, '192.168.1.5', 'Fast DDS'), Presence(7, '192.168.1.9', 'Cyclone DDS')]
    checks = found({'pi': signs()}, others)
    assert checks['device jetson'].found == 'no messages'
    assert checks['domain'].found == 'this is domain 3; others use DDS in domain 7: 192.168.1.9 (Cyclone DDS)'
    assert 'ROS_DOMAIN_ID' in checks['domain'].advice
    assert found({'pi': signs()}, others[:1])['domain'].found == '3; nobody else uses DDS on this network'
    same = found({'pi': signs()}, [Presence(3, '192.168.1.9', 'Fast DDS')])['domain']
    assert same.found == '3; others in it: 192.168.1.9 (Fast DDS)'


def test_a_silent_node_and_a_stranger_are_named():
    checks = found({'pi': signs('device_monitor'), 'jetson': signs(), 'jetson_1': signs()})
    assert checks['device pi'].found == 'no messages from its frame_source and worker'
    assert checks['fleet'].found == 'found jetson_1, which the fleet file does not name'


def test_announcements_are_heard_whichever_domain_they_are_for():
    """A packet as a participant sends it, to the domain's own group and port, on loopback."""
    packet = b'RTPS\x02\x02\x01\x10' + bytes(range(12)) + bytes(16)
    ended = threading.Event()

    def announce():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('127.0.0.1'))
            while not ended.wait(0.05):
                sender.sendto(packet, ('239.255.0.1', port_of(93)))
                sender.sendto(b'something else', ('239.255.0.1', port_of(94)))

    thread = threading.Thread(target=announce)
    thread.start()
    try:
        heard = listen(0.5, domains=(92, 93, 94), interfaces=['127.0.0.1'])
    finally:
        ended.set()
        thread.join()
    assert [(presence.domain, presence.middleware) for presence in heard] == [(93, 'Cyclone DDS')]
    assert middleware_of(b'\x7f\x01') == 'DDS of vendor 7f01'


def test_listening_needs_a_fleet(capsys):
    assert main(['doctor', '--listen']) == 2
    assert '--fleet' in capsys.readouterr().err


@pytest.mark.parametrize(('name', 'legal'), [('jetson-1', 'jetson_1'), ('1st pi', 'n1st_pi'), ('büro', 'b_ro')])
def test_an_illegal_device_name_is_a_failure_that_names_a_legal_one(tmp_path, capsys, name, legal):
    path = tmp_path / 'fleet.yaml'
    path.write_text(json.dumps({'source': name, 'devices': {name: {}}}))
    assert main(['doctor', '--json', '--fleet', str(path)]) == 1
    (check,) = [c for c in json.loads(capsys.readouterr().out)['checks'] if c['name'] == 'fleet file']
    assert check['status'] == 'fail'
    assert f'the name {name!r} is not a ROS name' in check['found'] and check['found'].endswith(f'such as {legal!r}')


def test_stale_shared_memory_is_noticed(tmp_path):
    assert doctor_machine.leftovers(tmp_path)[0].status == 'ok'
    left = tmp_path / 'edp_segment_x_1'
    left.write_bytes(bytes(1000))
    os.utime(left)
    deadline = threading.Event()
    while not (check := doctor_machine.leftovers(tmp_path)[0]).advice:  # a young file may be of one that is just starting
        assert not deadline.wait(0.05)
    assert check.status == 'warn' and '1 files of dead processes' in check.found and left.name in check.found
    assert doctor_machine.leftovers(tmp_path / 'nowhere') == ()


def make_cv_bridge(folder, body):
    (folder / 'cv_bridge').mkdir()
    (folder / 'cv_bridge' / '__init__.py').write_text(body)


WORKS = """
class CvBridge:
    def cv2_to_imgmsg(self, image, encoding):
        return image
    def imgmsg_to_cv2(self, message):
        return message
"""


@pytest.mark.parametrize(('body', 'status', 'words'), [
    (WORKS, 'ok', 'converts, with numpy '),
    ('raise ImportError("numpy.core.multiarray failed to import")', 'warn', 'ImportError: numpy.core.multiarray failed'),
    (f'import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})', 'warn', f'killed by signal {int(signal.SIGSEGV)}'),
])  # fmt: skip
def test_cv_bridge_at_odds_with_numpy(tmp_path, monkeypatch, body, status, words):
    make_cv_bridge(tmp_path, body)
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    check = doctor_ros.cv_bridge()
    assert (check.status, words in check.found) == (status, True), check.found
    assert ("'numpy<2'" in check.advice) == (status == 'warn')


@pytest.mark.parametrize(
    ('topic', 'hosts', 'found'),
    [('/{fleet}/image', "{pi: '{fleet}_pi'}", 0), ('image', '{pi: r_pi}', 0), ('/camera/image', '{pi: r_pi}', 1), ('/r1/image', '{}', 1)],
)
def test_what_is_not_a_robots_own_in_a_file_that_many_have(tmp_path, topic, hosts, found):
    path = tmp_path / 'robot.yaml'
    path.write_text(f"source: pi\ndevices: {{pi: {{}}, box: {{}}}}\ncamera: {{topic: '{topic}'}}\nshare: {{group: depot, hosts: {hosts}}}\n")
    assert [check.status for check in fleet_file(path, 'pi', 'r1') if check.name == 'robots'] == ['warn'] * found
    assert not [check for check in fleet_file(path, 'pi') if check.name == 'robots']

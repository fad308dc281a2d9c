# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fleet files: what they say, and errors that say what to do."""

import copy

import pytest

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet.fleet import load_fleet, parse_fleet
from edge_dnn_partition.planning.objectives import Criterion

GOOD = {'source': 'pi', 'devices': {'pi': {'memory': '1 GiB'}, 'cloud': {}},
        'links': [{'between': ['pi', 'cloud'], 'rate': '40 Mbit/s', 'delay': '2 ms'}]}  # fmt: skip


def test_units_and_defaults(tmp_path):
    fleet = parse_fleet({**GOOD, 'model': {'path': 'm.onnx'}}, base=tmp_path)
    assert (fleet.links[0].rate, fleet.links[0].delay, fleet.devices['pi'].memory) == (5e6, 0.002, 2**30)
    assert (fleet.sink_device, fleet.emulated, fleet.model.path) == ('pi', False, tmp_path / 'm.onnx')


@pytest.mark.parametrize(('change', 'words'), [
    (lambda d: d['devices']['pi'].update(thread=2), "did you mean 'threads'"),
    (lambda d: d.update(sorce='pi'), "did you mean 'source'"),
    (lambda d: d.update(source='clowd'), "did you mean 'cloud'"),
    (lambda d: d['links'][0].update(rate='40 ms'), 'is not a rate'),
    (lambda d: d['links'][0].update(rate=0), 'greater than 0'),
    (lambda d: d['devices'].update({'my pi': {}}), 'not a ROS name'),
    (lambda d: d['links'].append({'between': ['cloud', 'pi'], 'rate': '1 B/s'}), 'two links'),
    (lambda d: d['links'].append({'between': ['pi', 'pi'], 'rate': '1 B/s'}), 'to itself'),
    (lambda d: d.pop('source'), 'source is missing'),
    (lambda d: d.update(camera={'topic': 'a', 'camera': 0}), 'give one of'),
    (lambda d: d.update(constraints={'exclude': ['pie']}), "did you mean 'pi'"),
    (lambda d: d.update(network={'kind': 'wifi'}), 'network.kind'),
    (lambda d: d.update(network={'kin': 'lan'}), "did you mean 'kind'"),
    (lambda d: d.update(network={'kind': 'cloud', 'server_device': 'cloud'}), 'needs server:'),
    (lambda d: d.update(network={'kind': 'cloud', 'server': 'a b', 'server_device': 'cloud'}), 'network.server'),
    (lambda d: d.update(network={'kind': 'cloud', 'server': 'a.org', 'server_device': 'clout'}), "did you mean 'cloud'"),
    (lambda d: d.update(network={'kind': 'cloud', 'server': 'a.org', 'server_device': 'cloud', 'port': 80}), 'network.port'),
    (lambda d: d.update(network={'kind': 'cloud', 'server': 'a.org', 'tls': {'ca': 'a', 'certificate': 'b', 'key': 'c', 'keys': 'd'}}), "did you mean 'key'"),
    (lambda d: d.update(network={'server': 'a.org'}), 'server needs kind: cloud'),
    (lambda d: d.update(objective='deadline'), 'needs a deadline'),
    (lambda d: d.update(deadline='200 Mbit/s'), 'deadline: .* is not a time'),
    (lambda d: d.update(weights=[0.0, 0.0]), 'weights must be two numbers'),
    (lambda d: d.update(weights=[0.3]), 'weights'),
    (lambda d: d.update(network={'kind': 'lan', 'port': 61811}), 'port needs kind: cloud'),
    (lambda d: d.update(network={'kind': 'machine', 'interface': 'wg0'}), 'interface needs kind: lan'),
])  # fmt: skip
def test_refusals(change, words):
    document = copy.deepcopy(GOOD)
    change(document)
    with pytest.raises(PlanError, match=words):
        parse_fleet(document)


@pytest.mark.parametrize(('devices', 'network', 'kind'), [
    ({'pi': {}}, {}, 'machine'),
    ({'pi': {'emulate': {}}, 'cloud': {'emulate': {'slowdown': 2}}}, {}, 'machine'),
    ({'pi': {'emulate': {}}, 'cloud': {}}, {}, 'lan'),
    ({'pi': {}, 'cloud': {}}, {}, 'lan'),
    ({'pi': {}, 'cloud': {}}, {'kind': 'machine'}, 'machine'),
    ({'pi': {}, 'cloud': {}}, {'kind': 'cloud', 'server': '203.0.113.5', 'server_device': 'cloud'}, 'cloud'),
])  # fmt: skip
def test_the_kind_of_network(devices, network, kind):
    assert parse_fleet({'source': 'pi', 'devices': devices, 'network': network}).network_kind == kind


def test_certificates_lie_beside_the_fleet_file(tmp_path):
    tls = {'ca': 'ca.pem', 'certificate': 'keys/cert.pem', 'key': '/etc/key.pem'}
    network = {'kind': 'cloud', 'server': 'box.example.org', 'server_device': 'cloud', 'tls': tls}
    found = parse_fleet({**GOOD, 'network': network}, base=tmp_path).network.tls
    assert [str(path) for path in (found.ca, found.certificate, found.key)] == [
        f'{tmp_path}/ca.pem', f'{tmp_path}/keys/cert.pem', '/etc/key.pem',
    ]  # fmt: skip


def test_goals():
    fleet = parse_fleet({**GOOD, 'objective': 'deadline', 'deadline': '200 ms', 'weights': [3, 1]})
    assert (fleet.goal.name, fleet.goal.deadline_seconds, fleet.goal.weights) == ('deadline', 0.2, (3, 1))
    assert parse_fleet(GOOD).goal.weights == (0.5, 0.5)
    assert parse_fleet({**GOOD, 'objective': 'balanced', 'weights': [3, 1]}).goal.criterion() == Criterion(0.75, 0.25)


def test_many_robots_have_one_file(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text(
        "fleet: robot\nsource: pi\ndevices: {pi: {}, box: {}}\ncamera: {topic: '/{fleet}/camera/image'}\n"
        "share: {group: depot, hosts: {pi: '{fleet}_pi'}}\nsecurity: {key_file: 'keys/{fleet}.key'}\n"
    )
    for name, fleet in (('', 'robot'), ('r1', 'r1'), ('lab/r2', 'lab/r2')):
        loaded = load_fleet(path, name)
        assert (loaded.fleet, loaded.camera.topic) == (fleet, f'/{fleet}/camera/image')
        assert [loaded.host_of(device) for device in loaded.devices] == [f'{fleet}_pi', 'box']
        assert loaded.security.key_file == tmp_path / f'keys/{fleet}.key'
    for name in ('r-1', 'lab//r1', 'x' * 61):
        with pytest.raises(PlanError, match='name'):
            load_fleet(path, name)

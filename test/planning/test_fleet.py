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


WAN = {'kind': 'wan', 'router': 'tcp/a.org:7447', 'sites': {'box': ['cloud']}}


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
    (lambda d: d.update(network={'kind': 'cloud', 'server': 'a.org', 'server_device': 'cloud'}), 'kind cloud is gone; write .kind: wan'),
    (lambda d: d.update(network={'kind': 'wan'}), 'kind wan needs router'),
    (lambda d: d.update(network=WAN | {'router': 'a.org'}), 'network.router'),
    (lambda d: d.update(network=WAN | {'router': 'tls/a.org:7447'}), 'needs tls'),
    (lambda d: d.update(network=WAN | {'tls': {'ca': 'a', 'certificate': 'b', 'key': 'c', 'keys': 'd'}}), "did you mean 'key'"),
    (lambda d: d.update(network=WAN | {'sites': {'box': ['clout']}}), "did you mean 'cloud'"),
    (lambda d: d.update(network=WAN | {'sites': {'box': ['cloud'], 'lab': ['cloud']}}), 'cloud is in two'),
    (lambda d: d.update(network={'kind': 'lan', 'router': 'tcp/a.org:7447'}), 'router needs kind: wan'),
    (lambda d: d.update(objective='deadline'), 'needs a deadline'),
    (lambda d: d.update(deadline='200 Mbit/s'), 'deadline: .* is not a time'),
    (lambda d: d.update(weights=[0.0, 0.0]), 'weights must be two numbers'),
    (lambda d: d.update(weights=[0.3]), 'weights'),
    (lambda d: d.update(network={'kind': 'machine', 'interface': 'wg0'}), 'interface needs kind: lan'),
    (lambda d: d.update(network={'kind': 'machine', 'tensors': 'zenoh'}), 'tensors needs kind: lan'),
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
    ({'pi': {}, 'cloud': {}}, WAN, 'wan'),
])  # fmt: skip
def test_the_kind_of_network(devices, network, kind):
    assert parse_fleet({'source': 'pi', 'devices': devices, 'network': network}).network_kind == kind


def test_certificates_lie_beside_the_fleet_file(tmp_path):
    tls = {'ca': 'ca.pem', 'certificate': 'keys/{device}.pem', 'key': '/etc/key.pem'}
    network = WAN | {'router': 'tls/box.example.org:7447', 'tls': tls}
    found = parse_fleet({**GOOD, 'network': network}, base=tmp_path).network.tls.of('cloud')
    assert [str(path) for path in (found.ca, found.certificate, found.key)] == [
        f'{tmp_path}/ca.pem', f'{tmp_path}/keys/cloud.pem', '/etc/key.pem',
    ]  # fmt: skip


def test_who_is_in_no_site_is_where_the_source_is():
    fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}, 'cloud': {}}, 'network': WAN})
    assert [fleet.site_of(device) for device in ('pi', 'jetson', 'cloud', 'joined')] == ['', '', 'box', '']
    lab = parse_fleet({'source': 'cloud', 'devices': {'pi': {}, 'cloud': {}}, 'network': WAN})
    assert lab.site_of('pi') == 'box'


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

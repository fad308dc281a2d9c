# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The certificates that `keygen --wan` makes, and what the router allows who has one."""

import re

import pytest

x509 = pytest.importorskip('cryptography.x509')
from cryptography.x509.oid import NameOID  # noqa: E402

from edge_dnn_partition.cli.main import main  # noqa: E402
from edge_dnn_partition.planning.fleet.fleet import load_fleet  # noqa: E402
from edge_dnn_partition.transport.sites import place  # noqa: E402
from edge_dnn_partition.transport.zenoh_router import access  # noqa: E402

TLS = "tls: {ca: keys/ca.pem, certificate: 'keys/{device}.pem', key: 'keys/{device}.key'}"
FLEET = 'fleet: robot\nsource: pi\ndevices: {pi: {}, box: {}}\nnetwork: {kind: wan, router: tls/10.0.0.1:7447, %s sites: {there: [box]}}\n'


def names(certificate):
    return [entry.value for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def served(certificate):
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(address.value) for address in found]


def test_each_device_gets_a_certificate_that_names_it_and_the_router_its_address(tmp_path, capsys):
    path = tmp_path / 'robot.yaml'
    path.write_text(FLEET % f'{TLS}, ')
    assert main(['keygen', '--wan', str(path)]) == 0
    files = {p.name: p for p in (tmp_path / 'keys').iterdir()}
    assert set(files) == {f'{name}.{end}' for name in ('ca', 'pi', 'box', 'router') for end in ('pem', 'key')}
    assert all(p.stat().st_mode & 0o77 == 0 for name, p in files.items() if name.endswith('.key'))
    found = {name: x509.load_pem_x509_certificate(files[f'{name}.pem'].read_bytes()) for name in ('ca', 'pi', 'router')}
    for name in ('pi', 'router'):
        found[name].verify_directly_issued_by(found['ca'])
    assert (names(found['pi']), served(found['pi'])) == (['robot.pi'], [])
    assert served(found['router']) == ['10.0.0.1']
    before = {name: p.read_bytes() for name, p in files.items()}
    assert main(['keygen', '--wan', str(path), '--device', 'late']) == 0
    assert {name: p.read_bytes() for name, p in files.items()} == before
    late = x509.load_pem_x509_certificate((tmp_path / 'keys' / 'late.pem').read_bytes())
    late.verify_directly_issued_by(found['ca'])
    assert main(['keygen', '--wan', str(path), '--fleet-name', 'r2']) == 2
    assert 'is of robot.pi, not of r2.pi; write {fleet}' in capsys.readouterr().err
    assert main(['keygen', '--wan', str(path), '--device', 'later']) == 0
    assert 'later.pem' in capsys.readouterr().out


@pytest.mark.parametrize(('tls', 'words'), [
    ('tls: {ca: ca.pem, certificate: one.pem, key: one.key}, ', 'write .device. in its name'),
    (f'{TLS}, ', 'ca.key makes no certificates with it'),
])  # fmt: skip
def test_what_cannot_be_made(tmp_path, capsys, tls, words):
    path = tmp_path / 'robot.yaml'
    path.write_text(FLEET % tls)
    (tmp_path / 'keys').mkdir()
    (tmp_path / 'keys' / 'ca.pem').write_text('no certificate')
    assert main(['keygen', '--wan', str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and error.startswith('error: ')
    assert re.search(words, error)


def test_who_runs_beside_a_device_is_known_by_its_key(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text(FLEET % f'{TLS}, ')
    fleet = load_fleet(path)
    assert (place(fleet).device, place(fleet, 'box').site, place(fleet, 'box').others) == ('pi', 'there', ('_', '+$*'))
    (tmp_path / 'keys').mkdir()
    (tmp_path / 'keys' / 'box.key').touch()
    assert place(fleet).own == 'edge_dnn_partition/robot/there/box'
    assert place(load_fleet(path, 'lab/r2'), 'pi').heard('plan') == ('edge_dnn_partition/lab.r2/there/*/plan', 'edge_dnn_partition/lab.r2/+$*/*/plan')


def test_a_device_publishes_under_its_own_name_only(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text(FLEET % f'{TLS}, ')
    found = access([load_fleet(path), load_fleet(path, 'r2')])
    assert found['default_permission'] == 'deny'
    rules = {rule['id']: rule for rule in found['rules']}
    policy = next(policy for policy in found['policies'] if policy['subjects'] == ['r2.pi'])
    puts = [key for name in policy['rules'] for key in rules[name]['key_exprs'] if 'put' in rules[name]['messages'] and 'ingress' in rules[name]['flows']]
    assert puts == ['edge_dnn_partition/r2/*/pi/**', 'edge_dnn_partition/r2/*/pi/**/@adv/**']
    assert all(key.startswith('edge_dnn_partition/r2/') for name in policy['rules'] for key in rules[name]['key_exprs'])


def test_who_joins_may_publish_under_its_own_name_if_its_fleet_welcomes_it(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text(FLEET % f'{TLS}, ')
    closed, text = load_fleet(path, 'closed'), path.read_text()
    path.write_text(text.replace('box: {}}', 'box: {}, "*": {}}'))
    found = access([load_fleet(path), closed], ['robot.pi7', 'robot.pi', 'closed.pi7', 'robot.no name'])
    names = [subject['cert_common_names'] for subject in found['subjects']]
    assert names == [['robot.pi'], ['robot.box'], ['robot.pi7'], ['closed.pi'], ['closed.box']]


def test_a_device_that_joins_from_elsewhere_is_at_a_site_that_all_hear(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text((FLEET % f'{TLS}, ').replace('box: {}}', 'box: {}, "*": {}}').replace('[box]}', '[box], +lab: [pi7]}'))
    fleet = load_fleet(path)
    where = place(fleet, 'pi7')
    assert (where.site, where.others) == ('+lab', ('_', 'there', '+$*'))
    assert where.is_own('edge_dnn_partition/robot/+lab/pi8/plan')
    assert not where.is_own('edge_dnn_partition/robot/+labs/pi8/plan')
    assert [fleet.has_site(device) for device in ('pi', 'pi7', 'pi8')] == [True, True, False]

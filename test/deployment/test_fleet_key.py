# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The key's file: what `keygen` writes is read back, for its owner alone; what is wrong with one is said in one line."""

import os

import pytest

from edge_dnn_partition.cli.main import main
from edge_dnn_partition.deployment.fleet_key import fleet_key, read_key, read_token
from edge_dnn_partition.deployment.processes import fleet_processes
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.fleet.fleet import load_fleet


def fleet_file(folder, security):
    path = folder / 'fleet.yaml'
    path.write_text(f'fleet: demo\nsource: pi\ndevices: {{pi: {{}}}}\n{security}')
    return path


def test_keygen_writes_what_a_fleet_file_beside_it_names(tmp_path, capsys):
    key = tmp_path / 'fleet.key'
    assert main(['keygen', str(key)]) == 0
    assert 'security: {key_file: fleet.key}' in capsys.readouterr().out
    assert key.stat().st_mode & 0o777 == 0o600
    fleet = load_fleet(fleet_file(tmp_path, 'security: {key_file: fleet.key}'))
    assert fleet_key(fleet) == read_key(key)
    assert len(set(read_key(key))) > 8
    assert all('fleet_file' in process.parameters for process in fleet_processes(fleet, tmp_path / 'fleet.yaml', ['visualisation']))
    assert main(['keygen', str(key)]) == 2
    assert 'already exists' in capsys.readouterr().err
    assert main(['keygen', str(tmp_path / 'other.key')]) == 0
    assert read_key(tmp_path / 'other.key') != read_key(key)


def test_a_fleet_without_a_key_has_none(tmp_path):
    fleet = load_fleet(fleet_file(tmp_path, ''))
    assert fleet_key(fleet) is None
    monitor = fleet_processes(fleet, tmp_path / 'fleet.yaml')[1]
    assert (monitor.node, set(monitor.parameters)) == ('device_monitor', {'fleet_file'})


@pytest.mark.parametrize(
    ('content', 'mode', 'words'),
    [(None, 0o600, 'cannot be read'), ('00' * 32, 0o640, 'chmod 600'), ('00' * 31, 0o600, 'contains no key'),
     ('xy' * 32, 0o600, 'contains no key'), ('é', 0o600, 'contains no key'), ('00' * 4000, 0o600, 'contains no key')],
)  # fmt: skip
def test_a_file_that_is_no_good_is_refused_with_what_to_do(tmp_path, content, mode, words):
    path = tmp_path / 'fleet.key'
    if content is not None:
        path.write_text(content)
        os.chmod(path, mode)
    with pytest.raises(UserError, match=words):
        read_key(path)


def test_a_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv('EDGE_DNN_PARTITION_TOKEN', raising=False)
    assert read_token('') == ''
    monkeypatch.setenv('EDGE_DNN_PARTITION_TOKEN', 'from the environment')
    assert read_token('') == 'from the environment'
    path = tmp_path / 'token'
    path.write_text('a word \nmore\n')
    path.chmod(0o600)
    assert read_token(str(path)) == 'a word'
    path.chmod(0o640)
    with pytest.raises(UserError, match='others may read the token .*chmod 600'):
        read_token(str(path))
    for content in (b'', b'\n', b'\xff'):
        path.chmod(0o600)
        path.write_bytes(content)
        with pytest.raises(UserError, match='contains no token'):
            read_token(str(path))
    with pytest.raises(UserError, match='token cannot be read .No such file'):
        read_token(str(tmp_path / 'none'))

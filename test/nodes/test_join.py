# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A machine that has only the package joins a running fleet by its name, works in it, and leaves it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def join(cache, *arguments, **environment):
    return subprocess.Popen(
        [Path(sys.executable).parent / 'edge-dnn-partition', 'join', *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=os.environ | {'EDGE_DNN_PARTITION_CACHE': str(cache)} | environment,
    )  # fmt: skip


def check_only_its_weights(cache, model):
    """Check that a device has not got the whole model."""
    assert not [*cache.rglob(model.name)], 'the graph alone is there, under another name'
    fetched = sum(path.stat().st_size for path in cache.glob('blobs/*'))
    assert 100_000 < fetched < 0.8 * model.stat().st_size


def test_a_machine_joins_a_fleet_with_a_key_works_in_it_and_leaves(tmp_path):
    from trial_fleet import check_frames, images, write_fleet

    from edge_dnn_partition.cli.running_fleet import running_fleet
    from edge_dnn_partition.deployment.fleet_key import write_key

    key, there = tmp_path / 'trial.key', tmp_path / 'there'
    write_key(key)
    file = write_fleet(tmp_path)
    model = yaml.safe_load(file.read_text())['model']
    file.write_text(yaml.safe_dump({
        'fleet': 'trial', 'model': {key: model[key] for key in ('path', 'preprocessing')}, 'source': 'pi',
        'camera': {'topic': 'image/compressed'}, 'security': {'key_file': str(key)}, 'parameters': {'worker': {'profile_runs': 1}},
    }))  # fmt: skip
    with running_fleet(file, images()) as trial:
        stranger = join(there, 'trial', '--device', 'spare')
        said = stranger.communicate(timeout=40)[0]
        assert stranger.returncode == 2
        assert 'has a key, without which nobody joins' in said
        spare = join(there, 'trial', '--device', 'spare', '--key', str(key))
        try:
            trial.client.wait_for(
                lambda: any(device.device == 'spare' and device.profiled for device in trial.news.state.devices), 30.0,
                f'the device that joins: {trial.log[-15:]}',
            )  # fmt: skip
            trial.client.wait_for(
                lambda: {('pi', 'spare'), ('spare', 'pi')} <= {(link.sender, link.receiver) for link in trial.news.state.links}, 30.0,
                f'links that no file names: {trial.news.state.links}',
            )  # fmt: skip
            trial.follow('pi:pre-15 spare:15-end')
            check_only_its_weights(there, Path(model['path']))
            again = join(tmp_path / 'elsewhere', 'trial', '--device', 'spare', '--key', str(key))
            assert "has a device 'spare' already" in again.communicate(timeout=40)[0]
        finally:
            spare.send_signal(signal.SIGINT)
            said = spare.communicate(timeout=20)[0]
            print(said)
        assert spare.returncode == 0
        trial.client.wait_for(lambda: trial.client.plan.label().startswith('pi:pre-27'), 10.0, 'the plan without it')
        assert any('spare leaves' in line for _, line in trial.log)
        trial.more_frames(5, trial.client.plan.version)
        trial.settle()
    check_frames(trial, tmp_path)


def test_a_fleet_that_is_not_there_is_not_waited_for_for_ever(tmp_path):
    lost = join(tmp_path, 'nobody', '--seconds', '1')
    said = lost.communicate(timeout=30)[0]
    assert lost.returncode == 2
    assert "no fleet 'nobody' was found within 1 s" in said


def test_a_machine_joins_from_a_site_that_the_file_does_not_name_and_works_there(tmp_path):
    pytest.importorskip('zenoh', reason='the extra wan is not installed')
    from domain_coordinator import domain_id
    from trial_fleet import images, write_fleet

    from edge_dnn_partition.cli.running_fleet import running_fleet
    from edge_dnn_partition.deployment.certificates import make_certificates
    from edge_dnn_partition.deployment.fleet_key import write_key
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    key, keys = tmp_path / 'trial.key', tmp_path / 'keys'
    write_key(key)
    file = write_fleet(tmp_path)
    given = yaml.safe_load(file.read_text())
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        router = f'tls/127.0.0.1:{probe.getsockname()[1]}'
    tls = {'ca': 'keys/ca.pem', 'certificate': 'keys/{device}.pem', 'key': 'keys/{device}.key'}
    network = {'kind': 'wan', 'router': router, 'router_device': 'pi', 'tls': tls, 'sites': {'there': ['box']}}
    del given['devices'], given['links']
    file.write_text(yaml.safe_dump(given | {'network': network, 'security': {'key_file': str(key)}}))
    make_certificates(load_fleet(file), ['spare'])
    with running_fleet(file, images()) as trial, domain_id() as domain:
        spare = join(
            tmp_path / 'there', 'trial', '--device', 'spare', '--key', str(key), '--router', router, '--certificates', str(keys),
            '--site', 'lab', ROS_DOMAIN_ID=str(domain),
        )  # fmt: skip
        try:
            trial.client.wait_for(
                lambda: {('pi', 'spare'), ('spare', 'pi')} <= {(link.sender, link.receiver) for link in trial.news.state.links}, 40.0,
                f'links to who joins: {trial.log[-15:]}',
            )  # fmt: skip
            trial.follow('pi:pre-3 spare:3-end')
        finally:
            spare.send_signal(signal.SIGINT)
            print(spare.communicate(timeout=20)[0])
        trial.client.wait_for(lambda: trial.client.plan.label().startswith('pi:pre-27'), 10.0, 'the plan without it')
        assert any('trial.spare may join: the router begins anew' in line for _, line in trial.log)

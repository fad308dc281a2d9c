# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Two fleets, each with its model and its camera, on the same played hosts: the more important one has what it wants."""

import pytest
import yaml

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


RUNS = 3


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def write_shared(folder, name, priority):
    """Return a fleet file: alone, everything but the picture is best on the jetson, and nearly as good on the box."""
    from trial_fleet import write_fleet

    (folder / name).mkdir()
    path = write_fleet(folder / name, {'scheduler': {'policy': 'exact'}, 'worker': {'profile_runs': RUNS}})
    document = yaml.safe_load(path.read_text())
    devices = {device: {'emulate': {'slowdown': slowdown}} for device, slowdown in (('pi', 200), ('jetson', 40), ('box', 60))}
    links = [link | {'between': [end.replace('cloud', 'box') for end in link['between']]} for link in document['links']]
    document |= {'fleet': name, 'devices': devices, 'links': links, 'share': {'group': 'robot', 'priority': priority}}
    path.write_text(yaml.safe_dump(document))
    return path


def profile_for_all(path):
    """Profile the model once: all played devices are multiples of that, and do not measure each other's work."""
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.planning.fleet import load_fleet
    from edge_dnn_partition.runtime.picture_samples import samples_of
    from edge_dnn_partition.runtime.preprocess import Preprocessing
    from edge_dnn_partition.runtime.profiler import ProfileOptions, load_or_profile

    fleet = load_fleet(path)
    samples = samples_of(fleet.camera, Preprocessing.from_yaml(fleet.model.preprocessing), raw=False)
    load_or_profile(load_model(fleet.model.path), ProfileOptions('host', runs=RUNS), samples=samples, accept_throttled=True)


def uses(trial, device):
    return trial.client.plan is not None and device in trial.client.plan.devices


def test_the_less_important_fleet_gives_way_and_comes_back(tmp_path):
    from trial_fleet import check_frames, pictures

    from edge_dnn_partition.cli.running_fleet import running_fleet

    low, high = write_shared(tmp_path, 'low', 2), write_shared(tmp_path, 'high', 9)
    profile_for_all(low)
    with running_fleet(low, pictures(), rate=8.0) as first:
        try:
            first.client.wait_for(lambda: uses(first, 'jetson'), 30.0, 'the jetson for the fleet that is alone')
            with running_fleet(high, pictures(), rate=8.0) as second:
                second.client.wait_for(lambda: uses(second, 'jetson'), 30.0, 'the jetson for the important fleet')
                first.client.wait_for(lambda: not uses(first, 'jetson'), 30.0, 'that the other gives way')
                reason = first.client.plan.reason
                assert 'the hosts are shared with high (priority 9)' in reason
                version = first.client.plan.version
                first.more_frames(10, version)
                assert uses(second, 'jetson') and not uses(first, 'jetson')
                second.settle()
                check_frames(second, tmp_path / 'high')
            first.client.wait_for(lambda: uses(first, 'jetson'), 90.0, 'the jetson once the other has gone')
            first.more_frames(5, first.client.plan.version)
            first.settle()
            check_frames(first, tmp_path / 'low')
        finally:
            print(*(f'{label}: {line}' for label, line in first.log), sep='\n')

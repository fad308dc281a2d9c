# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Two fleets, each with its model and its camera, on the same played hosts: the more important one has what it wants."""

import pytest
import yaml

from edge_dnn_partition.testbed import demo_model

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


RUNS = 3
PLAYED_SECONDS = {'pi': 0.25, 'jetson': 0.07, 'box': 0.105}
"""What the whole network takes on each device, however fast this machine is: at 8 frames per second a fleet takes more than half of
the jetson, and the other one is better off on the box."""


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def write_shared(folder, name, priority, whole_seconds):
    """Return a fleet file: alone, everything but the image is best on the jetson, and nearly as good on the box.

    A slowdown multiplies what disturbs this machine, so a network of milliseconds is slowed a little and not a small one much.
    """
    from trial_fleet import write_fleet

    (folder / name).mkdir()
    path = write_fleet(folder / name, {'scheduler': {'policy': 'exact'}, 'worker': {'profile_runs': RUNS}})
    (folder / name / 'preprocessing.yaml').write_text(yaml.safe_dump(demo_model.preprocessing()))
    document = yaml.safe_load(path.read_text())
    devices = {name: {'emulate': {'slowdown': seconds / whole_seconds}} for name, seconds in PLAYED_SECONDS.items()}
    links = [link | {'between': [end.replace('cloud', 'box') for end in link['between']]} for link in document['links']]
    document |= {'fleet': name, 'devices': devices, 'links': links, 'share': {'group': 'robot', 'priority': priority}}
    document['model']['path'] = str(demo_model.cached())
    path.write_text(yaml.safe_dump(document))
    return path


def profile_for_all():
    """Profile the model once: all played devices are multiples of that, and do not measure each other's work.

    :returns: what it takes on this machine, in seconds.
    """
    from edge_dnn_partition.execution.profiling.image_samples import samples_of
    from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, load_or_profile
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.inputs.preprocess import Preprocessing
    from edge_dnn_partition.planning.fleet.inputs import Camera

    samples = samples_of(Camera(topic='image/compressed'), Preprocessing.from_dict(demo_model.preprocessing()), raw=False)
    options = ProfileOptions('host', runs=RUNS)
    return load_or_profile(load_model(demo_model.cached()), options, samples=samples, accept_throttled=True).total_seconds


def uses(trial, device):
    return trial.client.plan is not None and device in trial.client.plan.devices


def test_the_less_important_fleet_gives_way_and_comes_back(tmp_path):
    from trial_fleet import check_frames, images

    from edge_dnn_partition.cli.running_fleet import running_fleet

    whole = profile_for_all()
    low, high = write_shared(tmp_path, 'low', 2, whole), write_shared(tmp_path, 'high', 9, whole)
    with running_fleet(low, images(), rate=8.0) as first:
        try:
            first.client.wait_for(lambda: uses(first, 'jetson'), 30.0, 'the jetson for the fleet that is alone')
            # The start of a fleet takes this machine for seconds. That alone would drive the other one away, sooner than it hears why.
            first.client.set_scheduler({'policy': 'fixed', 'fixed_plan': first.client.plan.label()})
            with running_fleet(high, images(), rate=8.0) as second:
                second.client.wait_for(lambda: uses(second, 'jetson'), 30.0, 'the jetson for the important fleet')
                second.more_frames(10, second.client.plan.version)
                first.client.set_scheduler({'policy': 'exact', 'fixed_plan': ''})
                first.client.wait_for(lambda: not uses(first, 'jetson'), 30.0, 'that the other gives way')
                reason = first.client.plan.reason
                assert 'the hosts are shared with high (priority 9)' in reason
                version = first.client.plan.version
                first.more_frames(10, version)
                assert uses(second, 'jetson') and not uses(first, 'jetson')
                second.settle()
                check_frames(second, tmp_path / 'high')
            first.client.wait_for(lambda: uses(first, 'jetson'), 30.0, 'the jetson once the other has gone')
            first.more_frames(5, first.client.plan.version)
            first.settle()
            check_frames(first, tmp_path / 'low')
        finally:
            print(*(f'{label}: {line}' for label, line in first.log), sep='\n')

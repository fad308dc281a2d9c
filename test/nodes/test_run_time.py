# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is changed while a fleet of real processes runs: parameters, of which some are refused and the others act; and nodes that an
external lifecycle manager deactivates in mid-stream and activates again. Nothing is lost."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.errors import UserError


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


@pytest.fixture(scope='module')
def stream(ros_domain, tmp_path_factory):
    """A fleet that several tests intervene in; all its frames are looked at in the end."""
    from trial_fleet import check_frames, trial_fleet

    folder = tmp_path_factory.mktemp('stream')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        with trial_fleet(folder) as trial:
            yield trial
            trial.settle()
    check_frames(trial, folder)


def change(trial, node, label):
    from lifecycle_manager import Manager

    Manager(trial.client, {node: f'/{trial.fleet.fleet}/{node}'}).go(node, label)


def test_goals_are_set_while_the_stream_runs(tmp_path):
    from edge_dnn_partition.msg import Calibration
    from trial_fleet import check_frames, trial_fleet

    from edge_dnn_partition.nodes.core import qos

    power = {name: {'idle': '2 W', 'active': '4 W'} for name in ('pi', 'jetson', 'cloud')}
    with trial_fleet(tmp_path, power=power, parameters={'scheduler': {'dwell_seconds': 0.0, 'confirmations': 1}}) as trial:
        client, found = trial.client, []
        client.node.create_subscription(Calibration, '/trial/calibration', found.append, qos.CALIBRATION)
        for bad, words in (
            ({'objective': 'deadline'}, 'needs a deadline'),
            ({'objective': 'speed'}, 'must be one of'),
            ({'weights': [0.5]}, 'weights must be two numbers'),
            ({'weights': [-1.0, 1.0]}, 'at least 0'),
            ({'weights': 'half'}, 'must be a list'),
            ({'deadline': -1.0}, 'at least 0|out of range'),
        ):
            with pytest.raises(UserError, match=words):
                client.set_scheduler(bad)
        half = len(trial.model.layers) // 2
        for objective, goal in (
            ('deadline', {'deadline': 5, 'objective': 'deadline'}),
            ('balanced', {'weights': [3, 1], 'objective': 'balanced'}),
            ('latency', {'objective': 'latency'}),
        ):
            trial.follow(f'jetson:pre-{half} cloud:{half}-end')
            client.set_scheduler({k: v for k, v in goal.items() if k != 'objective'})
            client.set_scheduler({'objective': goal['objective'], 'policy': 'exact'})
            client.wait_for(
                lambda objective=objective: client.plan.objective == objective and 'fixed_plan' not in client.plan.reason,
                20.0, f'a plan for {objective}',
            )  # fmt: skip
            trial.more_frames(version=client.plan.version)
        with pytest.raises(UserError, match='needs a deadline'):
            client.set_scheduler({'deadline': 0.0, 'objective': 'deadline'})
        client.wait_for(lambda: bool(found), 30.0, 'a switch that was assessed')
        trial.settle()
    check_frames(trial, tmp_path)
    last = found[-1]
    assert 0 < last.low_seconds <= last.predicted_seconds <= last.high_seconds
    assert last.measured_seconds > 0 and last.inside == (last.low_seconds <= last.measured_seconds <= last.high_seconds)
    assert last.switches == len(found) and last.level == pytest.approx(0.9) and last.hysteresis == pytest.approx(0.08)
    kept = tmp_path / 'cache' / 'scheduler' / 'trial-calibration.json'
    assert kept.exists()


def test_limits_are_set_while_the_stream_runs(stream):
    from rcl_interfaces.srv import DescribeParameters

    trial, client = stream, stream.client
    refused = (
        ('pi/worker', {'memory_budget': '3 ms'}, 'is not a size'),
        ('pi/worker', {'memory_budget': -5}, 'is not a size'),
        ('pi/worker', {'threads': -1}, 'at least 0|out of range'),
        ('pi/worker', {'threads': 1.5}, 'whole number'),
        ('pi/worker', {'probing_budget': 1.5}, 'at most 1|out of range'),
        ('scheduler', {'exploration': 0.9}, 'at most 0.5|out of range'),
        ('scheduler', {'objective': 'energy'}, 'the watts of cloud, jetson, pi are not known'),
        ('scheduler', {'exploration': 'much'}, 'must be a number'),
    )
    for node, bad, words in refused:
        with pytest.raises(UserError, match=words):
            client.set_parameters(node, bad)
    half = len(trial.model.layers) // 2
    trial.follow(f'pi:pre-{half} cloud:{half}-end')
    for node, good in (
        ('pi/worker', {'threads': 2}), ('pi/worker', {'memory_budget': 0}), ('cloud/worker', {'memory_budget': '64 MiB'}),
        ('cloud/worker', {'threads': 2}), ('pi/worker', {'probing_budget': 0}), ('scheduler', {'exploration': 0}),
    ):  # fmt: skip
        client.set_parameters(node, good)
    trial.follow(f'pi:pre-{half // 2} cloud:{half // 2}-end')
    trial.follow(f'pi:pre-{half} cloud:{half}-end')
    describe = client.node.create_client(DescribeParameters, '/trial/pi/worker/describe_parameters')
    assert describe.wait_for_service(timeout_sec=10.0)
    future = describe.call_async(DescribeParameters.Request(names=['threads', 'memory_budget', 'probing_budget']))
    client.wait_for(future.done, 10.0, 'the descriptions')
    assert all(d.description for d in future.result().descriptors)
    assert future.result().descriptors[2].floating_point_range[0].to_value == 1.0
    said = [line for label, line in trial.log if label == 'cloud/device']
    assert any('with 2 thread(s) from now on; 67.1 MB for' in line for line in said)
    assert not [line for _, line in trial.log if 'failed' in line]


def test_within_a_process_tensors_do_not_go_over_dds(stream):
    from edge_dnn_partition.msg import TensorFragment

    from edge_dnn_partition.nodes.core import qos
    from edge_dnn_partition.transport.fragment_codec import decode

    trial, heard = stream, []
    listening = [
        trial.client.node.create_subscription(TensorFragment, topic, lambda m: heard.append(decode(m).sender), qos.TENSORS, raw=True)
        for topic in ('/trial/pi/tensors', '/trial/pi/results')
    ]
    trial.follow('jetson:pre-end')
    trial.client.wait_for(lambda: heard.count('jetson') > 5, 20.0, 'outputs of another device')
    trial.follow('pi:pre-end')
    trial.more_frames(10)
    assert 'pi' not in heard
    for one in listening:
        trial.client.node.destroy_subscription(one)


def test_a_frame_source_drains_holds_and_goes_on(stream):
    trial = stream
    trial.follow('jetson:pre-end')
    change(trial, 'pi/frame_source', 'deactivate')
    trial.client.wait_for(lambda: trial.news.status.in_flight == 0, 20.0, 'its last books')
    assert trial.news.status.accepted == trial.news.status.delivered
    trial.client.wait_for(lambda: len(trial.news.frames) == trial.news.status.delivered, 20.0, 'every result')
    done = len(trial.news.frames)
    trial.follow('cloud:pre-end', count=0)  # it hears of plans meanwhile
    assert len(trial.news.frames) == done
    change(trial, 'pi/frame_source', 'activate')
    trial.more_frames(5, trial.client.plan.version)


def test_frames_that_could_not_be_drained_go_on_when_their_source_is_active_again(stream):
    trial = stream
    trial.client.set_parameters('pi/frame_source', {'drain_seconds': 0.1})
    trial.follow('cloud:pre-end')
    trial.client.emulate({}, {('pi', 'cloud'): (50e6, 1.5)})
    begin = len(trial.news.frames)
    trial.client.wait_for(lambda: any(f.latency_seconds > 1 for f in trial.news.frames[begin:]), 20.0, 'a slow frame')
    change(trial, 'pi/frame_source', 'deactivate')
    trial.client.wait_for(lambda: trial.news.status.in_flight > 0, 20.0, 'books with a frame under way')
    trial.client.emulate({}, {('pi', 'cloud'): (50e6, 0.001)})
    change(trial, 'pi/frame_source', 'activate')
    trial.more_frames(5)


def test_a_worker_works_on_until_the_fleet_has_moved_away_and_comes_back(stream):
    trial = stream
    half = len(trial.model.layers) // 2
    label = f'jetson:pre-{half} cloud:{half}-end'
    trial.follow(label)
    change(trial, 'jetson/worker', 'deactivate')
    assert 'jetson' not in trial.client.plan.devices, 'it waited for another plan'
    trial.more_frames(5, trial.client.plan.version)
    change(trial, 'jetson/worker', 'activate')
    trial.follow(label)

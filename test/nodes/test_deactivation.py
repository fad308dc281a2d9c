# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An external lifecycle manager deactivates nodes in mid-stream and activates them again: nothing is lost."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def change(trial, node, label):
    from lifecycle_manager import Manager

    Manager(trial.client, {node: f'/{trial.fleet.fleet}/{node}'}).go(node, label)


def test_a_frame_source_drains_holds_and_goes_on(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    with trial_fleet(tmp_path) as trial:
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
        trial.settle()
    check_frames(trial, tmp_path)


def test_frames_that_could_not_be_drained_go_on_when_their_source_is_active_again(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    parameters = {'frame_source': {'drain_seconds': 0.1}}
    with trial_fleet(tmp_path, parameters=parameters) as trial:
        trial.follow('cloud:pre-end')
        trial.client.emulate({}, {('pi', 'cloud'): (50e6, 1.5)})
        begin = len(trial.news.frames)
        trial.client.wait_for(lambda: any(f.latency_seconds > 1 for f in trial.news.frames[begin:]), 20.0, 'a slow frame')
        change(trial, 'pi/frame_source', 'deactivate')
        trial.client.wait_for(lambda: trial.news.status.in_flight > 0, 20.0, 'books with a frame under way')
        trial.client.emulate({}, {('pi', 'cloud'): (50e6, 0.001)})
        change(trial, 'pi/frame_source', 'activate')
        trial.more_frames(5)
        trial.settle()
    check_frames(trial, tmp_path)


def test_a_worker_works_on_until_the_fleet_has_moved_away_and_comes_back(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    with trial_fleet(tmp_path) as trial:
        half = len(trial.model.layers) // 2
        label = f'jetson:pre-{half} cloud:{half}-end'
        trial.follow(label)
        change(trial, 'jetson/worker', 'deactivate')
        assert 'jetson' not in trial.client.plan.devices, 'it waited for another plan'
        trial.more_frames(5, trial.client.plan.version)
        change(trial, 'jetson/worker', 'activate')
        trial.follow(label)
        trial.settle()
    check_frames(trial, tmp_path)

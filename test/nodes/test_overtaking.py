# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Frames that a collapsed link holds up are sent again under the next plan, in a fleet of real processes."""

import time

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def test_late_frames_of_the_earlier_plan_are_overtaken_and_delivered_once_and_in_order(tmp_path):
    from edge_dnn_partition.msg import Heartbeat
    from trial_fleet import check_frames, trial_fleet

    from edge_dnn_partition.nodes.core import qos

    rates = []
    patient = {'repeat_least': 600.0, 'repeat_factor': 100.0}  # nothing else sends a frame again
    with trial_fleet(tmp_path, parameters={'frame_source': patient}) as trial:
        client, frames = trial.client, trial.news.frames

        def alive(message):
            if message.node == 'frame_source' and 'cloud' in message.peers:
                rates.append(message.bytes_per_second[list(message.peers).index('cloud')])

        client.node.create_subscription(Heartbeat, client.topics.heartbeat, alive, qos.heartbeat_reader())
        trial.follow('cloud:pre-end')
        client.wait_for(lambda: rates and rates[-1] > 1e5, 30.0, 'a rate of the link')
        client.emulate({}, {('pi', 'cloud'): (100.0, 0.001)})
        client.wait_for(lambda: time.monotonic() - frames[-1].at > 0.5 and rates[-1] < 1e5, 30.0, 'a frame that is overdue')
        stuck = frames[-1].frame_number + 1
        trial.follow('pi:pre-end')
        client.emulate({}, {('pi', 'cloud'): (50e6, 0.001)})
        trial.more_frames(5)
        client.wait_for(lambda: trial.news.status.late >= 1, 30.0, 'the result that came second')
        status = trial.settle()
    found = next(frame for frame in frames if frame.frame_number == stuck)
    assert found.delivered and found.attempt > 0
    assert status.repeated >= 1
    assert (status.lost, status.duplicated) == (0, 0)
    check_frames(trial, tmp_path)

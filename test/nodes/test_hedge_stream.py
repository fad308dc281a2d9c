# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Hedges in a fleet of real processes: over a link that has failed, frames come from the source, from the image or
from what it has made already, each once and right."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, TAIL_VERSION, is_hedge


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def test_hedges_deliver_over_a_link_that_has_failed(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    parameters = {'frame_source': {'max_age': 3.0, 'hedge': True, 'repeat_least': 60.0}}
    with trial_fleet(tmp_path, parameters=parameters) as trial:
        trial.follow('cloud:pre-end')
        trial.client.wait_for(lambda: trial.news.status.hedged >= 3, 30.0, 'hedges that measure')
        for kind, label in ((HEDGE_VERSION, ''), (TAIL_VERSION, 'pi:pre-9 cloud:9-end')):
            if label:
                trial.follow(label)
            trial.client.emulate({}, {('pi', 'cloud'): (1_000.0, 0.001)})
            begin = len(trial.news.frames)
            trial.client.wait_for(
                lambda kind=kind, begin=begin: sum(f.plan_version == kind for f in trial.news.frames[begin:]) >= 3, 30.0,
                f'results of hedges {kind}',
            )  # fmt: skip
            trial.client.emulate({}, {('pi', 'cloud'): (50e6, 0.001)})
            trial.more_frames(5)
        status = trial.settle()
    won = [frame for frame in trial.news.frames if is_hedge(frame.plan_version)]
    assert status.hedge_won == len(won) <= status.hedged
    assert all(frame.delivered for frame in won)
    assert (status.lost, status.duplicated) == (0, 0)
    assert status.accepted == status.delivered + status.expired
    trial.news.frames[:] = [frame for frame in trial.news.frames if frame.delivered]
    status.accepted = status.delivered  # those that expired have no outputs to compare
    check_frames(trial, tmp_path)


def test_hedges_without_an_age_to_make_are_refused(ros_domain):
    from edge_dnn_partition.deployment.node_parameters import check_hedge as check
    from edge_dnn_partition.errors import UserError

    with pytest.raises(UserError, match='set max_age'):
        check({'hedge': True, 'max_age': 0.0})
    check({'hedge': True, 'max_age': 0.5})

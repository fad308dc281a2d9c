# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Shadow frames in a real fleet: a learning policy tries other plans on images that have their results."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


def test_a_learning_policy_tries_other_plans_and_no_result_changes(ros_domain, tmp_path, monkeypatch):
    from trial_fleet import check_frames, trial_fleet

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    with trial_fleet(tmp_path, parameters={'scheduler': {'policy': 'q_learning', 'exploration': 0.05}}) as trial:
        trial.client.wait_for(lambda: len(trial.news.shadows) >= 2, 150.0, 'shadow frames')
        trial.settle()
        # the books and the reports are of different topics: what is published last need not come last
        trial.client.wait_for(lambda: trial.news.status.shadows >= len(trial.news.shadows), 10.0, 'the books of them')
        status = trial.news.status
    check_frames(trial, tmp_path)
    in_force = {plan.version for _, plan in trial.news.plans}
    for report in trial.news.shadows:
        assert report.plan_version not in in_force
        assert report.latency_seconds > 0
        assert report.stages and report.hops
    assert status.shadows >= len(trial.news.shadows) >= 2
    assert status.shadows <= 0.05 * status.delivered + 1, 'the budget'
    assert not [line for _, line in trial.log if 'callback failed' in line or 'refused' in line]

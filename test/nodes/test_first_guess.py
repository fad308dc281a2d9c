# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A stream begins before a model is profiled, under a first guess; the profile replaces it while frames go on."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


def test_frames_run_under_a_first_guess_until_the_profile_is_there(ros_domain, tmp_path, monkeypatch):
    from trial_fleet import check_frames, trial_fleet

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    known = []

    def look(trial):
        state = trial.news.state
        known.append(sum(device.profiled for device in state.devices) if state is not None else 0)
        return known[-1] == len(trial.fleet.devices)

    with trial_fleet(tmp_path, parameters={'worker': {'profile_runs': 40}}, profiled=False) as trial:
        assert trial.news.frames, 'there is no result'
        assert not look(trial), 'the profile was quicker than the first results'
        guesses = [line for label, line in trial.log if label.startswith('pi') and 'first guess' in line]
        assert len(guesses) == 1, trial.log
        trial.client.wait_for(lambda: look(trial), 60.0, f'profiles: {trial.log[-15:]}')
        trial.more_frames()
        trial.settle()
    assert known == sorted(known), 'a profile became a guess again'
    check_frames(trial, tmp_path)
    assert len(list((tmp_path / 'cache' / 'profiles').glob('*.json'))) == 1, 'of one machine, which plays three devices'

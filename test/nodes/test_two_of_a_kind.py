# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet that is started twice: the second of each kind says who has its place, stands by, and takes over when that is gone."""

import signal

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from support import ros_arguments


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def test_the_second_of_a_kind_stands_by_and_takes_over(nodes, tmp_path):
    from lifecycle_manager import Manager
    from trial_fleet import trial_fleet

    kinds = {'scheduler': '/trial', 'frame_source': '/trial/pi', 'worker': '/trial/pi'}
    with trial_fleet(tmp_path, processes='each') as trial:
        file = tmp_path / 'fleet.yaml'
        second = {kind: nodes.start_node(kind, place, fleet_file=file) for kind, place in kinds.items()}
        managed = (*ros_arguments('/trial', fleet_file=file, autostart=False), '-r', '__node:=spare')
        spare = nodes.start('-m', 'edge_dnn_partition.nodes', 'scheduler', *managed)
        manager = Manager(trial.client, {'spare': '/trial/spare'})
        try:
            for kind, process in second.items():
                process.wait_for(f'standing by: {kinds[kind]}/{kind} is active already, on host ')
            manager.go('spare', 'configure')
            assert not manager.ask('spare', 'activate')
            spare.wait_for('refused: /trial/scheduler is active already, on host ')
            trial.more_frames(10)
            # On a machine that is very busy one was active for an instant, before it knew of the other.
            before = {kind: process.output.count(']: active') for kind, process in second.items()}
            assert all(process.output.count('stepping down: ') == before[kind] for kind, process in second.items())
            settled = len(trial.news.frames) if before['frame_source'] else 0
            trial.supervisor.signal('scheduler', signal.SIGSTOP)
            trial.supervisor.signal('pi/frame_source', signal.SIGKILL)
            for kind in ('scheduler', 'frame_source'):
                second[kind].wait_for(']: active', count=before[kind] + 1)
            trial.follow('jetson:pre-end')
            trial.supervisor.signal('scheduler', signal.SIGCONT)
            second['scheduler'].wait_for('stepping down: /trial/scheduler is active already', count=before['scheduler'] + 1)
            second['scheduler'].wait_for('standing by: ', count=2)
            trial.follow('cloud:pre-end')
        finally:
            print(*(process.output for process in nodes.all), sep='\n')  # pytest shows it where the test fails
    frames = trial.news.frames[settled:]
    numbers = [frame.frame_number for frame in frames]
    assert numbers == sorted(set(numbers)), 'a frame came twice or out of order'
    shown = [frame.stamp_ns for frame in frames if frame.delivered]
    assert shown == sorted(set(shown)), 'an image came twice or out of order'

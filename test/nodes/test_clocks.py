# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What keeps a fleet alive depends neither on the wall clock nor on simulated time; stamps follow the node's clock."""

import shutil

import pytest

from edge_dnn_partition.testbed.stepped_clock import stepped_clock

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Step the wall clock of the processes that are started from now on, by seconds from its true time."""
    shutil.which('cc') or pytest.skip('there is no C compiler')
    with stepped_clock(tmp_path) as (environment, step):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield step


def test_results_and_decisions_go_on_whatever_the_clocks_do(tmp_path, step):
    from builtin_interfaces.msg import Time
    from rosgraph_msgs.msg import Clock
    from trial_fleet import check_frames, trial_fleet

    simulated = {name: {'use_sim_time': True} for name in ('device_monitor', 'frame_source', 'worker', 'scheduler')}
    with trial_fleet(tmp_path, parameters=simulated) as trial:

        def goes_on(label, stamp):
            """Wait for more results, for another plan, and for the scheduler's view of a whole fleet, with a stamp."""
            trial.follow(label, count=10)
            trial.news.state = None

            def whole():
                if stamp:  # again and again, as nobody says whether it was heard
                    clock.publish(Clock(clock=Time(sec=stamp)))
                state = trial.news.state
                return state is not None and state.stamp.sec == stamp and all(device.alive for device in state.devices)

            trial.client.wait_for(whole, 20.0, f'a whole fleet at {stamp} s')

        goes_on('jetson:pre-end', 0)  # nobody has said a time yet
        clock = trial.client.node.create_publisher(Clock, '/clock', 1)
        trial.client.wait_for(lambda: clock.get_subscription_count() >= 8, 20.0, 'the nodes')
        clock.publish(Clock(clock=Time(sec=1000)))  # and there it stands still
        goes_on('cloud:pre-end', 1000)
        step(-60)
        goes_on('pi:pre-end', 1000)
        step(3600)
        goes_on('jetson:pre-end', 1000)
        trial.settle()
    check_frames(trial, tmp_path)

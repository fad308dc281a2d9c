# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of an arm: its baseline follows the protocol it stands for, and its measures see what they are named after."""

import numpy as np
import pytest

from edge_dnn_partition.cli import bench

bench.load('hedge', bench.find()['hedge'])

from edge_dnn_partition.benchmarks import arm_server  # noqa: E402
from edge_dnn_partition.benchmarks.arm_motion import HERTZ, STEPS, Arm, Arrival, alone, follow, path  # noqa: E402

GOOD = (5e6, 0.005)
CHUNK_SECONDS = STEPS / HERTZ


def observation(number, position=0.0, *, must_go=False):
    return arm_server._Observation(number, 0.0, np.full(6, position), must_go)


def test_the_server_leaves_out_what_its_protocol_leaves_out():
    """An arm that rests is answered only once its queue is empty: its observations are too like the last one."""
    server, answers = arm_server.Server(0.01), []
    server.observe(observation(0))
    server.call(0.0)
    server.step(0.0, answers.append)
    server.step(0.02, answers.append)
    assert [found.number for found in answers] == [0]
    server.observe(observation(7, 0.001))
    assert server.newest is None
    server.observe(observation(7, 0.1))
    assert server.newest.number == 7
    server.newest = None
    server.observe(observation(0, 0.1))  # answered already
    assert server.newest is None
    server.observe(observation(0, must_go=True))
    assert server.newest.must_go


def test_the_client_blends_as_its_protocol_does():
    client = arm_server.Client(Arm(), arm_server.Pipe(arm_server.EmulatedLink(*GOOD)), 1000, blocking=False)
    client.take(observation(0))
    before = {number: position for number, position, _ in client.queue}
    client.latest = 9
    client.take(observation(5, 0.3))
    assert [number for number, _, _ in client.queue] == list(range(10, 5 + STEPS))
    new = arm_server.policy(np.full(6, 0.3), 0.0)
    assert client.queue[0][1] == pytest.approx(0.3 * before[10] + 0.7 * new[5])


def test_a_server_out_of_reach_holds_the_arm_once_the_chunk_is_over():
    trace = [(0.0, *GOOD), (5.0, 0.0, 0.005), (12.0, *GOOD)]
    arm, client = arm_server.run(trace, 20.0, 0.05, 100_000, blocking=False)
    held = arm.measures(2.0, 20.0)['longest_hold_seconds']
    assert 7.0 - CHUNK_SECONDS - 0.3 < held < 7.0 and client.sent > 5
    undisturbed, _ = arm_server.run(trace[:1], 20.0, 0.05, 100_000, blocking=False)
    assert undisturbed.measures(2.0, 20.0)['longest_hold_seconds'] < 0.2 and undisturbed.measures(2.0, 20.0)['ready_share'] > 0.98


def test_a_client_that_waits_for_its_images_to_be_sent_moves_less_often():
    """At 0.37 s an observation the loop that shall run 30 times a second does so three times."""
    arm, _ = arm_server.run([(0.0, *GOOD)], 10.0, 0.05, 1_840_000, blocking=True)
    assert 0.1 < arm.measures(0.0, 10.0)['ready_share'] < 0.7


def test_chunks_that_keep_coming_keep_the_arm_moving():
    steady = follow(alone(0.3, 20.0), 20.0).measures(2.0, 20.0)
    assert steady['ready_share'] > 0.97 and steady['longest_hold_seconds'] < 0.4 and steady['path_error'] < 0.1
    replaced = follow(alone(0.3, 20.0), 20.0, blend_seconds=0.0).measures(2.0, 20.0)
    assert steady['largest_jump'] < replaced['largest_jump']
    late = [Arrival(at, at + CHUNK_SECONDS + 0.1) for at in np.arange(0, 20, 0.1)]
    assert not follow(late, 20.0).times  # not one action is still due


def test_the_measures_see_a_hold_and_a_jump():
    arm = Arm()
    for number in range(300):
        at = number / HERTZ
        if not 4.0 <= at < 6.0:
            arm.command(at, path(at)[0] + (0.5 if at >= 6.0 else 0.0), at - 0.2)
    found = arm.measures(0.0, 10.0)
    assert found['ready_share'] == pytest.approx(0.8, abs=0.01) and found['longest_hold_seconds'] == pytest.approx(2.0, abs=0.01)
    assert found['largest_jump'] > 0.5 and found['age_p95_seconds'] == pytest.approx(0.2)

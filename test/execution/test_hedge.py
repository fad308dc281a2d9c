# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Hedges: started when the plan's result is not going to come in time and the hedge's is, and never twice delivered."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, Hedger, upper_bound
from edge_dnn_partition.execution.frames.ledger import DELIVERED, EXPIRED, FrameLedger
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs

TICK = 0.02
often = settings(max_examples=60, deadline=None, derandomize=True)


def play(hedger, *, remote, local, max_age, period=0.1):
    """Let a stream run; return by frame (numbers from 1) how it ended, when its hedge began, and the books.

    :param remote: seconds of each frame's result from the plan; infinity: it never comes.
    :param local: seconds that a hedge takes.
    """
    ledger, inputs = FrameLedger(waiting=100), FrameInputs.of_image(CameraImage(np.zeros(1, np.uint8), 'jpeg'))
    events, hedged, ended, running = [], {}, {}, []
    hedger.follow(1, float('nan'))
    steps = round((len(remote) * period + max_age) / TICK) + 5
    for step in range(steps):
        now = step * TICK
        while ledger.counts.offered < len(remote) and ledger.counts.offered * period <= now:
            ledger.offer(inputs)
            frame = ledger.accept(now, 1, 1000)
            events.append((now + remote[frame.frame_number - 1], frame.frame_number, 1))
        for event in sorted(e for e in events if e[0] <= now):
            events.remove(event)
            at, frame_number, version = event
            if version == HEDGE_VERSION:
                hedger.on_result(frame_number, at)
            whole = ledger.result(frame_number, 0, version, {'y': np.ones(1)}, (), (), 1, at)
            if whole is not None:
                hedger.finished(frame_number, whole.latency_seconds, max_age, hedge=version == HEDGE_VERSION)
        for _ in ledger.expire(now, max_age):
            hedger.expired(max_age)
        for frame in ledger.unfinished:
            age = now - frame.accepted_at
            if hedger.due(frame.frame_number, age, now, max_age):
                hedger.start(frame.frame_number, age, now, max_age)
                ledger.hedged(frame.frame_number)
                assert frame.frame_number not in hedged
                hedged[frame.frame_number] = age
                running.append((now, now + local))
                events.append((now + local, frame.frame_number, HEDGE_VERSION))
        for frame in ledger.release():
            assert frame.frame_number not in ended
            ended[frame.frame_number] = frame.status
    assert list(ended) == list(range(1, len(remote) + 1))
    return ended, hedged, ledger.counts, running


@often
@given(st.data())
def test_each_frame_ends_once_and_hedges_stay_within_their_bounds(data):
    share = data.draw(st.floats(0.05, 1.0))
    local = data.draw(st.floats(0.02, 0.4))
    max_age = data.draw(st.floats(0.1, 0.8))
    remote = data.draw(st.lists(st.sampled_from([0.03, 0.09, 0.2, 0.5, float('inf')]), min_size=5, max_size=60))
    hedger = Hedger(share)
    ended, hedged, counts, running = play(hedger, remote=remote, local=local, max_age=max_age)
    assert set(ended.values()) <= {DELIVERED, EXPIRED}
    assert (counts.duplicated, counts.lost) == (0, 0)
    assert (hedger.started, counts.delivered + counts.expired) == (len(hedged), len(remote))
    assert hedger.won <= hedger.started
    assert all(a[1] <= b[0] + TICK for a, b in zip(running, running[1:], strict=False)), 'two at a time'
    seconds = len(remote) * 0.1 + max_age
    assert sum(b - a for a, b in running[3:]) <= 5.0 + share * seconds + local
    measured = sorted(hedged)[3:]
    assert all(hedged[frame] + local <= max_age + TICK for frame in measured), 'a hedge that cannot make the age'


def test_a_plan_that_keeps_well_within_the_age_is_not_hedged():
    _, hedged, _, _ = play(Hedger(), remote=[0.1] * 100, local=0.1, max_age=0.5)
    assert len(hedged) == 3, 'only to measure'


def test_a_straggler_is_hedged_at_the_last_moment():
    remote = [0.06] * 30 + [float('inf')] + [0.06] * 30
    ended, hedged, _, _ = play(Hedger(), remote=remote, local=0.1, max_age=0.4)
    assert set(ended.values()) == {DELIVERED}
    assert 0.2 <= hedged[31] <= 0.3
    after = [frame for frame in hedged if frame > 31]
    assert all(frame <= 36 for frame in after), 'the plan is back, and so no more are started'


def test_without_hedges_an_outage_expires_and_with_them_frames_come():
    remote = [0.06] * 20 + [float('inf')] * 20 + [0.06] * 20
    ended, _, _, _ = play(Hedger(), remote=remote, local=0.05, max_age=0.4)
    assert list(ended.values()).count(EXPIRED) == 0
    none, _, _, _ = play(Hedger(0.0), remote=remote, local=10.0, max_age=0.4)
    assert list(none.values()).count(EXPIRED) == 20


def test_a_hedge_slower_than_the_age_is_only_tried_out():
    _, hedged, _, _ = play(Hedger(), remote=[float('inf')] * 60, local=0.45, max_age=0.4)
    assert len(hedged) <= 4


def test_the_upper_bound_is_above_what_it_was_made_of():
    assert upper_bound([0.1]) > 0.1
    assert upper_bound([0.1] * 20 + [5.0]) < 0.2, 'one straggler does not move it'

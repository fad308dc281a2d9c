# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The two ends of a hop over real DDS: in fragments, through shared memory, and back to fragments where that cannot be."""

import time

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from hop import Hop

from edge_dnn_partition.transport.segments import SegmentReader

SIZES = (1, 5_000, 40_000, 700_000)


@pytest.fixture
def hops(context):
    made = []

    def make(here, there):
        made.append(Hop(context, here, there))
        made[-1].discover()
        return made[-1]

    yield make
    for hop in made:
        hop.end()


def tensors(frame):
    random = np.random.default_rng(frame)
    return {f't{size}': random.standard_normal(size).astype(np.float32) for size in SIZES[: 1 + frame % len(SIZES)]}


@pytest.mark.parametrize('hidden', [False, True])
@pytest.mark.parametrize(('here', 'there'), [('pi', 'pi'), ('pi', 'jetson')])
def test_tensors_arrive_as_they_were_sent(hops, tmp_path, here, there, hidden):
    """``hidden``: the receiver does not see the sender's shared memory, as in another container."""
    hop = hops(here, there)
    if hidden:
        hop.inbox.segments = SegmentReader(tmp_path)
    for frame in range(12):
        hop.send(frame, tensors(frame))
    hop.spin_until(lambda: len(hop.got) == 12)
    for frame, arrays in hop.got:
        wanted = tensors(frame)
        assert list(arrays) == list(wanted)
        for name, value in wanted.items():
            np.testing.assert_array_equal(arrays[name], value)
    assert sorted(frame for frame, _ in hop.got) == list(range(12))
    hop.spin_until(lambda: hop.sender.bytes_waiting == 0)
    peer = hop.sender.sender.peers[hop.target]
    assert peer.shared == {}
    assert (peer.segments is not None) == (here == there and not hidden)


def test_shared_memory_is_used_again(hops):
    hop = hops('pi', 'pi')
    for frame in range(20):
        hop.send(frame, {'t': np.full(300_000, frame, np.float32)})
        hop.spin_until(lambda frame=frame: len(hop.got) == frame + 1)
        assert hop.got[-1][1]['t'][-1] == frame
        hop.got[-1] = None
    pool = hop.sender.sender.peers[hop.target].segments
    assert 1 <= len(pool._segments) <= 3
    paths = [segment.path for segment in pool._segments]
    hop.sender.stop()
    assert not any(path.exists() for path in paths)


def test_a_probe_that_shows_another_rate_than_is_believed_is_confirmed_by_a_second_one(hops):
    from edge_dnn_partition.msg import HopAck

    from edge_dnn_partition.sensing.link import LinkEstimate
    from edge_dnn_partition.transport.fragments import PROBE

    hop = hops('pi', 'jetson')
    link = hop.sender.sender.links['jetson'].estimator
    for ago in (4.0, 2.0, 0.0):
        hop.sender.sender.links['jetson'].guard.seen(time.monotonic() - ago, LinkEstimate(1e8, 0.001, measured=True))
    for i in range(3):
        link.transfer(float(i), 1e5, 1.0, sender_limited=False)
    assert link.estimate.bytes_per_second == pytest.approx(1e5)
    hop.sender.probe('jetson')  # once

    def answered():
        return [r for r in hop.acks if r.kind == PROBE and r.state == HopAck.COMPLETE]

    hop.spin_until(lambda: len(answered()) >= 2)
    assert link.estimate.bytes_per_second > 1e6, 'both came over loopback'


def test_a_link_has_its_estimate_back_when_another_process_is_matched_in_the_place_of_one_that_has_died(hops):
    hop = hops('pi', 'jetson')
    link = hop.sender.sender.links['jetson'].estimator
    link.transfer(0.0, 1e5, 0.1, sender_limited=False)

    def look():
        return hop.sender.states()['jetson'].bytes_per_second

    assert look() == pytest.approx(1e6)
    for now in range(3):
        hop.sender.sender.links['jetson'].on_silence(float(now), answered=False)
    hop.stop_receiver()
    hop.spin_until(lambda: look() < 2e5 and not hop.sender.connected(hop.target))
    look()
    hop.start_receiver()
    hop.spin_until(lambda: look() == pytest.approx(1e6))

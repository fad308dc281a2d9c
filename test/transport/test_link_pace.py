# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The pace finds a link's rate from a guess that is far off, and keeps to it; in simulated time."""

import itertools
from statistics import median

import pytest
from simulated_hop import Hop

QUEUES = (0.01, 0.4)
SLOWEST_WITH_SHORT_QUEUE = 1.21
"""Over 1 Mbit/s a queue of 10 ms holds two packets, so a fragment has one or two: up to a sixth of what crosses is headers."""


@pytest.mark.parametrize(('megabits', 'queue'), list(itertools.product((1, 6, 19, 40, 100, 1000), QUEUES)))
@pytest.mark.parametrize('size', [64_000, 600_000])
def test_after_a_guess_that_is_far_off_tensors_take_little_more_than_their_bytes_over_the_rate(megabits, queue, size):
    hop = Hop(megabits, queue, guess=20)
    over = hop.frames(size, 24)
    allowed = SLOWEST_WITH_SHORT_QUEUE if megabits == 1 and queue == QUEUES[0] else 1.1
    assert median(over[8:]) <= allowed
    if megabits <= 20:
        assert over[0] < 4
        assert max(over[1:8]) < 3


@pytest.mark.parametrize('queue', QUEUES)
def test_a_large_tensor_on_a_far_slower_link_than_guessed_does_not_flood_it(queue):
    hop = Hop(6, queue, guess=100)
    over = hop.frames(12_000_000, 1)
    assert over[0] < 1.35
    assert hop.wire.dropped < 200 + 4000 * queue, 'most of its 9,400 packets went into a full queue'


@pytest.mark.parametrize('queue', QUEUES)
def test_a_link_that_falls_to_a_sixth_is_followed_within_a_tensor(queue):
    hop = Hop(40, queue, guess=40)
    hop.frames(600_000, 12)
    hop.set_rate(6)
    over = hop.frames(600_000, 12)
    assert over[0] < 2.8
    assert median(over[6:]) <= 1.12


@pytest.mark.parametrize('queue', QUEUES)
def test_a_link_that_rises_is_found_out(queue):
    hop = Hop(6, queue, guess=6)
    hop.frames(600_000, 8)
    hop.set_rate(40)
    assert median(hop.frames(600_000, 30)[20:]) <= 1.1


@pytest.mark.parametrize('queue', QUEUES)
@pytest.mark.parametrize('seconds', [2.0, 30.0])
def test_after_an_outage_a_tensor_goes_on_at_about_the_rate_that_there_was(queue, seconds):
    hop = Hop(19, queue, guess=19)
    hop.frames(600_000, 8)
    ideal = 3_200_000 / hop.wire.rate
    hop.cut(hop.now + ideal / 2, seconds)
    over = hop.frames(3_200_000, 3)
    asked_after = 2.4  # at most, which is how often a message's last fragment is sent again
    assert over[0] * ideal < seconds + asked_after + 2.5 * ideal
    assert max(over[1:]) < 1.6


@pytest.mark.parametrize('queue', QUEUES)
def test_a_link_that_comes_back_at_a_twentieth_is_not_flooded(queue):
    hop = Hop(19, queue, guess=19)
    hop.frames(600_000, 8)
    hop.cut(hop.now + 0.1, 10.0)
    hop.wire.rate /= 20
    ideal = 600_000 / hop.wire.rate
    over = hop.frames(600_000, 3)
    assert over[0] * ideal < 10.0 + 2.4 + 2 * ideal
    assert max(over[1:]) < 1.6

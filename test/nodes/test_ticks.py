# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a node does at intervals, in simulated time, and that the thread that spins is woken for it and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.nodes.core.ticks import Ticks


class Spin:
    """Spins ticks as `Spinner` does; ``wakes`` are the ends of its waits."""

    def __init__(self):
        self.now, self.wakes, self.woken = 1000.0, 0, 0
        self.ticks = Ticks(lambda: self.now)
        self.ticks.wake = self.wake

    def wake(self):
        self.woken += 1

    def until(self, end):
        while self.now < end:
            self.now += max(1e-6, self.ticks.seconds_left(min(1.0, end - self.now)))
            self.wakes += 1
            self.ticks.run()


def test_what_falls_together_costs_one_wake_up():
    spin, done = Spin(), []
    spin.now += 0.037  # begun at odd times
    spin.ticks.every(0.25, lambda: done.append('a'))
    spin.now += 0.111
    spin.ticks.every(0.5, lambda: done.append('b'))
    spin.ticks.every(1.0, lambda: done.append('c'))
    spin.until(1010.0)
    assert (done.count('a'), done.count('b'), done.count('c')) == (40, 20, 10)
    assert spin.wakes == 40


@given(st.lists(st.floats(0.005, 3.0), min_size=1, max_size=6), st.floats(0.0, 2.0))
def test_nothing_is_early_late_or_left_out(periods, began):
    spin = Spin()
    spin.now += began
    start, times = spin.now, {i: [] for i in range(len(periods))}
    for i, period in enumerate(periods):
        spin.ticks.every(period, lambda i=i: times[i].append(spin.now))
    spin.until(start + 5.0)
    for i, period in enumerate(periods):
        assert abs(len(times[i]) - 5.0 / period) <= 1.1
        for before, after in zip([start, *times[i]], times[i], strict=False):
            assert after - before <= period + 1e-3


def test_it_stops_starts_and_follows_another_period():
    spin, done = Spin(), []
    tick = spin.ticks.every(0.25, lambda: done.append(spin.now), start=False)
    spin.until(1001.0)
    assert not done
    tick.start()
    spin.until(1002.0)
    assert len(done) == 4
    tick.set_period(0.05)
    spin.until(1003.0)
    assert len(done) == 24
    tick.stop()
    spin.until(1004.0)
    spin.ticks.remove(tick)
    assert len(done) == 24


def test_a_wait_is_ended_for_what_is_due_before_its_end_only():
    spin, done = Spin(), []
    tick = spin.ticks.every(1.0, lambda: done.append('tick'))
    spin.ticks.seconds_left(1.0)  # it waits now, until the tick
    spin.woken = 0
    spin.ticks.every(2.0, lambda: None)
    assert spin.woken == 0
    tick.hasten()
    tick.hasten(0.5)
    assert spin.woken == 1
    spin.ticks.run()
    assert done == ['tick']
    spin.ticks.seconds_left(1.0)
    spin.ticks.soon(lambda: done.append('soon'))
    assert spin.woken == 2
    assert spin.ticks.seconds_left(1.0) == 0
    spin.ticks.run()
    assert done == ['tick', 'soon']
    assert spin.ticks.seconds_left(1.0) > 0


def test_what_a_tick_asks_for_needs_no_wake_up_and_what_fails_keeps_nothing_else():
    spin, done = Spin(), []

    def fail():
        spin.ticks.soon(lambda: done.append('soon'))
        raise ValueError('a bug')

    failing = spin.ticks.every(0.5, fail)
    spin.ticks.every(0.5, lambda: done.append('other'))
    spin.now += spin.ticks.seconds_left(1.0)
    spin.woken = 0
    with pytest.raises(ValueError, match='a bug'):
        spin.ticks.run()
    spin.ticks.run()
    assert set(done) == {'soon', 'other'}
    assert spin.woken == 0
    assert failing.running

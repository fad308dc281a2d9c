# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler whose fleet is at rest decides less often, and as often as ever once something happens."""

from types import SimpleNamespace

import pytest

from edge_dnn_partition.control.scheduling.scheduler import FleetScheduler

PERIOD = 0.25


class Resting(FleetScheduler):
    """Counts its decisions; of the rest only what the pace depends on is there."""

    def __init__(self):
        self.decided, self.devices = [], ('pi', 'jetson')
        self.active, self.proposal = object(), None
        self.view = SimpleNamespace(ready=lambda _: self.devices)
        self._frame_at = self._decided_at = float('-inf')
        self._ready = self.devices

    @property
    def switch(self):
        return self

    def decide(self, now):
        self.decided.append(now)
        self._decided_at, self._ready = now, self.devices

    def turns(self, begin, end, before=lambda _: None):
        """Return how often it decided between two times."""
        self.decided.clear()
        now = begin
        while now < end - 1e-9:
            before(now)
            self.decide_in_turn(now)
            now += PERIOD
        return len(self.decided)


def test_it_decides_once_a_second_and_a_bit_where_nothing_happens():
    scheduler = Resting()
    assert scheduler.turns(0.0, 10.0) == pytest.approx(8, abs=1)


def test_it_decides_in_every_turn_while_frames_come_and_for_two_seconds_after():
    scheduler = Resting()
    scheduler._frame_at = 0.0
    assert scheduler.turns(0.0, 2.0) == 8
    assert scheduler.turns(2.25, 12.25) <= 10


@pytest.mark.parametrize('missing', ['active', 'proposal'])
def test_it_decides_in_every_turn_until_a_plan_is_in_force(missing):
    scheduler = Resting()
    setattr(scheduler, missing, None if missing == 'active' else object())
    assert scheduler.turns(0.0, 3.0) == 12


def test_a_device_that_goes_or_comes_is_decided_on_in_the_next_turn():
    scheduler = Resting()
    scheduler.turns(0.0, 0.5)

    def lose(now):
        if now >= 0.75:
            scheduler.devices = ('pi',)

    scheduler.turns(0.5, 1.0, lose)
    assert scheduler.decided == [0.75]

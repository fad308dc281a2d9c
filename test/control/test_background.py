# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Work that takes long is done rarely."""

from __future__ import annotations

from edge_dnn_partition.control.scheduling.background import DutyCycleLimiter


def test_work_takes_no_more_than_its_share():
    duty_cycle_limiter, now, worked = DutyCycleLimiter(0.1), 0.0, 0.0
    while now < 1000.0:
        if duty_cycle_limiter.due(now):
            duty_cycle_limiter.spent(now, 7.0)
            worked += 7.0
        now += 0.25
    assert 0.09 * now < worked <= 0.1 * now + 7.0


def test_short_work_is_not_spaced():
    duty_cycle_limiter = DutyCycleLimiter(0.1, free_seconds=0.05)
    duty_cycle_limiter.spent(10.0, 0.04)
    assert duty_cycle_limiter.due(10.05)
    duty_cycle_limiter.spent(10.0, 0.2)
    assert not duty_cycle_limiter.due(11.9)
    assert duty_cycle_limiter.due(12.1)
    duty_cycle_limiter.renew()
    assert duty_cycle_limiter.due(10.3)

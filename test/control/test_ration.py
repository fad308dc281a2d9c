# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Work that takes long is done rarely."""

from __future__ import annotations

from edge_dnn_partition.control.scheduling.ration import Ration


def test_work_takes_no_more_than_its_share():
    ration, now, worked = Ration(0.1), 0.0, 0.0
    while now < 1000.0:
        if ration.due(now):
            ration.spent(now, 7.0)
            worked += 7.0
        now += 0.25
    assert 0.09 * now < worked <= 0.1 * now + 7.0


def test_short_work_is_not_spaced():
    ration = Ration(0.1, free_seconds=0.05)
    ration.spent(10.0, 0.04)
    assert ration.due(10.05)
    ration.spent(10.0, 0.2)
    assert not ration.due(11.9)
    assert ration.due(12.1)
    ration.renew()
    assert ration.due(10.3)

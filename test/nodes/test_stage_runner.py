# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How often an idle worker looks at its device's speed."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from edge_dnn_partition.msg import Exploration

from edge_dnn_partition.nodes.execution.stage_runner import LOOK_SECONDS, StageRunner


def told(*rows, budget=0.02, seconds=0.002):
    """Return the pause of a jetson's worker that was told of some rows; a look at its speed takes ``seconds``."""
    numbers = {'probe_period': 1.0, 'probing_budget': budget}
    node = SimpleNamespace(topics=SimpleNamespace(device='jetson'), params=SimpleNamespace(number=numbers.__getitem__))
    runner = StageRunner(node, *[MagicMock() for _ in range(7)])
    runner._probe_seconds = seconds
    senders, receivers, shares = zip(*rows, strict=True)
    runner.worth_probing(Exploration(
        senders=senders, receivers=receivers, shares=shares, bytes_per_second=[1.0] * len(rows),
    ))  # fmt: skip
    return runner._probe_pause()


@pytest.mark.parametrize(('rows', 'pause'), [
    ([('jetson', 'jetson', 1.0)], LOOK_SECONDS),
    ([('pi', 'pi', 1.0), ('jetson', 'jetson', 0.25)], 0.4),
    ([('pi', 'pi', 1.0), ('jetson', 'pi', 1.0), ('pi', 'jetson', 1.0)], 1.0),
])
def test_the_speed_is_looked_at_by_what_that_is_worth(rows, pause):
    assert told(*rows) == pytest.approx(pause)


def test_a_slow_device_looks_no_more_often_than_the_ceiling_lets_it():
    assert told(('jetson', 'jetson', 1.0), seconds=0.01) == pytest.approx(0.5)
    assert told(('jetson', 'jetson', 1.0), seconds=0.1) == 1.0
    assert told(('jetson', 'jetson', 1.0), budget=0.0) == 1.0

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which links are worth probing: those that a better plan would need."""

from dataclasses import replace

import pytest

from edge_dnn_partition.control.scheduling.exploration import FULL_GAIN, Hope, worth_probing
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.objectives import Goal

UP, DOWN, NEAR, FAR = ('pi', 'cloud'), ('cloud', 'pi'), ('pi', 'jetson'), ('jetson', 'cloud')


def fleet(**rates):
    """A camera's images of 100 kB: 0.5 s on the pi, 0.25 s on the jetson, 0.01 s in the cloud."""
    links = {UP: 1e5, DOWN: 1e6, NEAR: 1e5, ('jetson', 'pi'): 1e6, FAR: 1e4} | {tuple(k.split('_')): v for k, v in rates.items()}
    return from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 1e5, 'outputs': [0], 'devices': {'pi': {}, 'jetson': {}, 'cloud': {}},
        'links': [{'from': a, 'to': b, 'bytes_per_second': rate, 'latency_seconds': 0.001} for (a, b), rate in links.items()],
        'layers': [{'name': 'all', 'inputs': [-1], 'output_bytes': 100, 'weight_bytes': 0,
                    'seconds': {'pi': 0.5, 'jetson': 0.25, 'cloud': 0.01}}],
    })  # fmt: skip


def worth(problem, hopes, least_gain=0.08, plan='pi'):
    return worth_probing(problem, [plan], problem, hopes, Goal(), least_gain)


def test_a_link_that_would_allow_a_better_plan_is_worth_all_that_may_be_spent():
    assert worth(fleet(), {UP: Hope(1e6)}) == {UP: 1.0}
    assert worth(fleet(), {UP: Hope(1e6, 0.25)}) == {UP: 0.25}


def test_nothing_is_spent_where_nothing_can_be_gained():
    assert worth(fleet(), {}) == {}
    assert worth(fleet(), {UP: Hope(1.9e5)}) == {}, 'the pi would be quicker still'
    assert worth(fleet(), {FAR: Hope(1e9)}) == {}, 'its tensors would have to come over another link that is slow'
    assert worth(fleet(pi_cloud=1e7), {FAR: Hope(1e9)}) == {}


def test_what_the_plan_in_force_uses_is_worth_nothing_by_itself():
    assert worth(fleet(pi_cloud=1e6), {UP: Hope(1e7), DOWN: Hope(1e7)}, plan='cloud') == {}
    assert worth(fleet(pi_jetson=1e6), {NEAR: Hope(1e7), UP: Hope(1e6)}, plan='jetson') == {UP: 1.0}


def test_a_small_gain_is_worth_little():
    (share,) = worth(fleet(), {UP: Hope(2.3e5)}).values()
    gain = 1 - (0.001 + 1e5 / 2.3e5 + 0.01 + 0.001 + 1e-4) / 0.5
    assert share == pytest.approx(gain / FULL_GAIN)
    assert worth(fleet(), {UP: Hope(2.3e5)}, least_gain=0.2) == {}


def test_a_link_that_stays_slow_does_not_hide_one_that_may_have_come_back():
    found = worth(fleet(), {UP: Hope(1e6), NEAR: Hope(1e6), FAR: Hope(1e4)})
    assert found.keys() == {UP, NEAR}, 'without the uplink the jetson is the next best'


def test_a_device_that_would_allow_a_better_plan_is_worth_it_as_a_link_is():
    device = ('jetson', 'jetson')
    busy = replace(fleet(pi_jetson=1e6), seconds=fleet().seconds * [1.0, 3.0, 1.0])
    assert worth(busy, {device: Hope(3.0)}) == {device: 1.0}
    assert worth(busy, {device: Hope(3.0, 0.25)}) == {device: 0.25}
    assert worth(busy, {device: Hope(1.4)}) == {}, 'the pi would be quicker still'
    slow = replace(fleet(), seconds=busy.seconds)
    assert worth(slow, {device: Hope(3.0)}) == {}, 'its link is too slow'
    assert worth(slow, {device: Hope(3.0), NEAR: Hope(1e6)}) == {device: 1.0, NEAR: 1.0}


def test_all_links_on_the_way_of_a_better_plan_are_worth_it():
    found = worth(fleet(cloud_pi=50.0), {UP: Hope(1e6), DOWN: Hope(1e6)})
    assert found == {UP: 1.0, DOWN: 1.0}

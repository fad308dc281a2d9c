# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Joules of hops on the radios of their ends: modelled, by the rate that was seen, unknown where nothing says it."""

import math

import pytest

from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.timing import HopTime, Radio

FLEET = parse_fleet({
    'fleet': 'f', 'source': 'pi', 'devices': {
        'pi': {'power': {'radio': '1 W'}}, 'jetson': {'power': {'radio': '2 W'}}, 'cloud': {}, 'edge': {},
    }, 'links': [{'between': [a, b], 'rate': '8 Mbit/s', 'delay': '1 ms'} for a, b in (('pi', 'jetson'), ('pi', 'cloud'))],
}, what='fleet')  # fmt: skip


def hop(sender, receiver, size=1_000_000, spread=0.4, behind=800_000):
    return HopTime(sender, receiver, 0, size, 0.0, spread, behind)


@pytest.mark.parametrize(('found', 'total', 'pi', 'jetson'), [
    (hop('pi', 'jetson'), 1.5, 0.5, 1.0),  # 2 MB/s by its fragments: half a second on the air
    (hop('pi', 'jetson', spread=0.0, behind=0), 3.0, 1.0, 2.0),  # one fragment: the fleet file's 1 MB/s
    (hop('pi', 'cloud'), 0.5, 0.5, 0.0),  # of the end that has figures
    (hop('pi', 'pi'), 0.0, 0.0, 0.0),
])  # fmt: skip
def test_joules(found, total, pi, jetson):
    radio = Radio.of_fleet(FLEET)
    assert radio.joules(found) == pytest.approx(total)
    assert (radio.joules_at(found, 'pi'), radio.joules_at(found, 'jetson')) == (pytest.approx(pi), pytest.approx(jetson))


def test_what_nothing_says_is_unknown():
    radio = Radio.of_fleet(FLEET)
    assert math.isnan(radio.joules(hop('cloud', 'edge')))
    assert math.isnan(radio.joules_at(hop('pi', 'cloud'), 'cloud'))
    assert math.isnan(radio.joules(hop('pi', 'edge', spread=0.0, behind=0)))  # neither fragments nor a link in the file
    assert math.isnan(radio.total([]))
    assert math.isnan(radio.total([hop('pi', 'jetson'), hop('cloud', 'edge')]))
    assert radio.total([hop('pi', 'jetson'), hop('jetson', 'pi')]) == pytest.approx(3.0)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Shapes and the commands made of them; no root needed."""

from __future__ import annotations

import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed.shaping import PACKET_BYTES, Counters, Shape, ShapedLink

LINK = ShapedLink('to1', 17, '10.77.16.2')
STATISTICS = """\
class htb 1:1 root leaf 1001: prio 0 rate 1Mbit ceil 1Mbit burst 1514b cburst 1514b
 Sent 7 bytes 1 pkt (dropped 0, overlimits 0 requeues 0)
class htb 1:11 root leaf 1011: prio 0 rate 20Mbit ceil 20Mbit burst 5000b cburst 5000b
 Sent 1574321 bytes 1085 pkt (dropped 12, overlimits 900 requeues 0)
 backlog 0b 0p requeues 0
"""


@pytest.mark.parametrize(('rate', 'queue', 'queue_bytes', 'burst_bytes', 'at_once'), [
    (1e6, 0.01, 2 * PACKET_BYTES, 250, 1),
    (1e6, 0.0, 2 * PACKET_BYTES, 250, 1),
    (40e6, 0.4, 2_000_000, 10_000, 1),
    (1e9, 0.01, 1_250_000, 250_000, 8),
    (1e11, 10.0, 2**32 - 1, 25_000_000, 16),
])
def test_what_a_shape_asks_of_the_kernel(rate: float, queue: float, queue_bytes: int, burst_bytes: int, at_once: int) -> None:
    shape = Shape(rate, queue)
    assert (shape.queue_bytes, shape.burst_bytes, shape.packets_at_once) == (queue_bytes, burst_bytes, at_once)


@pytest.mark.parametrize(('rate', 'queue', 'word'), [
    (0, 0.1, 'bits_per_second'), (-1e6, 0.1, 'bits_per_second'), (float('nan'), 0.1, 'bits_per_second'),
    (float('inf'), 0.1, 'bits_per_second'), (1e6, -0.1, 'queue_seconds'), (1e6, float('nan'), 'queue_seconds'),
])
def test_impossible_shapes_are_refused(rate: float, queue: float, word: str) -> None:
    with pytest.raises(UserError, match=word):
        Shape(rate, queue)


def test_commands_name_the_same_class_and_queue() -> None:
    add, change, flush = LINK.add(Shape(20e6)), LINK.change(Shape(1e6)), LINK.flush(Shape(1e6))
    assert 'classid 1:11 htb rate 20000000bit' in add[0]
    assert add[2].endswith('match ip src 10.77.16.2/32 flowid 1:11')
    assert all('parent 1:11 handle 1011: bfifo' in line for line in (add[1], change[1], *flush))


def test_a_delay_is_netems_and_its_queue_holds_what_is_on_the_way() -> None:
    shape = Shape(12.112e6, 0.1, 0.02)  # 1000 packets a second
    assert shape.queue == 'netem delay 20000us limit 120'
    assert LINK.add(shape)[1] == 'qdisc add dev to1 parent 1:11 handle 1011: netem delay 20000us limit 120'
    assert LINK.flush(shape)[0] == 'qdisc del dev to1 parent 1:11 handle 1011: netem'
    with pytest.raises(UserError, match='delay_seconds'):
        Shape(1e6, delay_seconds=-1.0)


def test_counters_are_those_of_the_link() -> None:
    assert LINK.counters(STATISTICS) == Counters(sent_bytes=1574321, sent_packets=1085, dropped_packets=12)


def test_counters_of_a_link_that_is_not_there() -> None:
    with pytest.raises(UserError, match='no class 1:2 on to1'):
        ShapedLink('to1', 2, '10.77.1.2').counters(STATISTICS)

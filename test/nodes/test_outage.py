# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A link that is away in the middle of a tensor: each one arrives after it, once."""

import time

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.cli import bench
from edge_dnn_partition.testbed.namespaces import Namespaces, Shape, why_not


@pytest.mark.skipif(why_not() is not None, reason=f'{why_not()}')
@pytest.mark.parametrize('both_ways', [True, False])
def test_tensors_arrive_once_after_a_short_outage(both_ways):
    pair = bench.load('hop', bench.find()['hop']).Pair
    shape = Shape(20e6, 0.01)
    with Namespaces(['a', 'b'], {('a', 'b'): shape, ('b', 'a'): shape}) as network, pair('own', network=network) as hop:
        assert hop.stream(600_000, 2)['distinct'] == 2
        hop.begin(2_000_000, 3)
        crossed = network.sent_bytes('a', 'b')
        while network.sent_bytes('a', 'b') < crossed + 500_000:
            time.sleep(0.01)
        network.cut('a', 'b', both_ways=both_ways)
        time.sleep(1.5)
        assert network.sent_bytes('a', 'b') < crossed + 2_000_000, 'the outage was to be in the middle of a tensor'
        network.heal('a', 'b', both_ways=both_ways)
        found = hop.finish()
    assert (found.get('arrived'), found.get('distinct')) == (3, 3), found

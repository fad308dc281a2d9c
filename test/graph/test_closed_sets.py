# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Orders that carry as few bytes as any closed set of layers does, at each share of the work."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.graph.closed_sets import Dataflow, levels
from edge_dnn_partition.graph.cuts import near_shares
from edge_dnn_partition.graph.order import small_frontier_order


class Graph:
    """Layers by what they read, each with one tensor of its own number; those that nobody reads are the outputs."""

    def __init__(self, reads, sizes, work):
        self.reads = [tuple(f't{source}' for source in sources) for sources in reads]
        self.writes = [(f't{layer}',) for layer in range(len(reads))]
        self.sizes = {f't{layer}': size for layer, size in enumerate(sizes, start=-1)}
        read = {name for names in self.reads for name in names}
        self.outputs = [names[0] for names in self.writes if names[0] not in read]
        self.work = work
        self.flow = Dataflow(self.reads, self.writes, sizes=self.sizes, outputs=self.outputs, work=work)

    def order(self, found=None):
        return small_frontier_order(self.reads, self.writes, sizes=self.sizes, outputs=self.outputs, levels=found)

    def chosen(self):
        return self.order(levels(self.flow, self.order(), self.order))

    def is_closed(self, done):
        there = {'t-1', *(f't{layer}' for layer in done)}
        return all(name in there for layer in done for name in self.reads[layer])

    def bytes(self, done):
        needed = {*self.outputs, *(name for layer in range(len(self.reads)) if layer not in done for name in self.reads[layer])}
        return sum(self.sizes[name] for name in needed & {'t-1', *(f't{layer}' for layer in done)})

    def share(self, done):
        return sum(self.work[layer] for layer in done) / sum(self.work)

    def closed_sets(self):
        found, last = set(), {frozenset()}
        while last:
            last = {done | {layer} for done in last for layer in range(len(self.reads))
                    if layer not in done and self.is_closed({*done, layer})}
            found |= last
        return [done for done in found if len(done) < len(self.reads)]

    def least_near(self, sets):
        """Per share, the fewest bytes of some sets near it; None: there is none."""
        found = [(self.share(done), self.bytes(done)) for done in sets]
        return [min((found[place][1] for place in near), default=None) for near in near_shares([share for share, _ in found])]


@st.composite
def graphs(draw):
    count = draw(st.integers(3, 8))
    reads = [draw(st.sets(st.integers(-1, layer - 1), min_size=1, max_size=3)) for layer in range(count)]
    sizes = draw(st.lists(st.integers(1, 1000), min_size=count + 1, max_size=count + 1))
    return Graph([sorted(sources) for sources in reads], sizes, draw(st.lists(st.integers(1, 50), min_size=count, max_size=count)))


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_orders_are_topological_and_sets_are_measured(graph):
    order = graph.chosen()
    assert sorted(order) == list(range(len(graph.reads)))
    for count in range(1, len(order)):
        done = set(order[:count])
        assert graph.is_closed(done)
        found = graph.flow.measured(np.isin(np.arange(len(order)), list(done)))
        assert found.bytes == graph.bytes(done)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_least_set_is_the_one_furthest_below_the_line(graph):
    flow, sets = graph.flow, graph.closed_sets()
    count = flow.layers
    below, above = flow.measured(np.zeros(count, dtype=bool)), flow.measured(np.ones(count, dtype=bool))
    run, rise = above.work - below.work, above.bytes - below.bytes

    def height(one):
        return one.bytes * run - one.work * rise

    found = flow.least(below, above)
    heights = [height(flow.measured(np.isin(np.arange(count), list(done)))) for done in (set(), *sets, set(range(count)))]
    unit = sum(max(1, size) for size in graph.sizes.values()) * run // 2**28 + 1
    assert height(found) - min(heights) <= unit * len(graph.sizes) * 4  # capacities are rounded to 28 bits


def taps(blocks, reducing):
    """A deep chain; a decoder takes the tensor of every third block after some layers have made it small."""
    reads, sizes, work = [[-1]], [600, 500], [10]
    tokens, small = 0, []
    for block in range(blocks):
        reads.append([tokens])
        sizes.append(500)
        work.append(10)
        tokens = len(reads) - 1
        if block % 3 == 2:
            for step in range(reducing):
                reads.append([len(reads) - 1])
                sizes.append(60 if step == reducing - 1 else 510)
                work.append(2)
            small.append(len(reads) - 1)
    low = small.pop()
    while small:
        reads.append([low, small.pop()])
        sizes.append(300)
        work.append(10)
        low = len(reads) - 1
    return Graph(reads, sizes, work)


def unet(depth):
    """An encoder whose long skips a decoder takes after two layers have made them small."""
    reads, sizes, work, skips = [[-1]], [200, 400], [5], []
    for level in range(depth):
        for _ in range(2):
            reads.append([len(reads) - 1])
            sizes.append(400 // 2**level)
            work.append(10)
        skips.append(len(reads) - 1)
    low = skips[-1]
    for level in reversed(range(depth - 1)):
        reads.append([skips[level]])
        sizes.append(450 // 2**level)
        work.append(4)
        reads.append([len(reads) - 1])
        sizes.append(50 // 2**level)
        work.append(4)
        reads.append([low, len(reads) - 1])
        sizes.append(400 // 2**level)
        work.append(10)
        low = len(reads) - 1
    return Graph(reads, sizes, work)


@pytest.mark.parametrize('graph', [taps(9, 2), taps(12, 3), unet(4)], ids=['taps', 'more taps', 'unet'])
def test_orders_carry_as_little_as_any_closed_set(graph):
    def above(order):
        """Return the shares near which an order's cuts carry more than 5 % above the least."""
        offered = graph.least_near([set(order[:count]) for count in range(1, len(order))])
        return [share for share, (least, found) in enumerate(zip(bound, offered, strict=True))
                if least is not None and (found is None or found > 1.05 * least)]

    bound = graph.least_near(graph.closed_sets())
    assert above(graph.order())  # a scheduler that looks one layer ahead takes the tensors along as they are
    assert not above(graph.chosen())


def test_orders_as_good_as_any_are_left_alone():
    chain = Graph([[-1], [0], [1]], [9, 5, 9, 1], [1, 1, 1])
    assert levels(chain.flow, [0, 1, 2], chain.order) is None
    residual = Graph([[-1], [0], [0, 1], [2]], [90, 50, 50, 40, 10], [2, 3, 1, 1])
    assert levels(residual.flow, residual.order(), residual.order) is None

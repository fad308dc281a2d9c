# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where one link collapses, those that share what limits it are believed to have, until they are measured."""

import pytest

from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.control.state.shared_links import SUSPECT_SECONDS
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.sensing.link import LinkEstimate

UP, OTHER, NEAR = ('pi', 'cloud'), ('jetson', 'cloud'), ('pi', 'jetson')


class World:
    """A fleet whose links are reported ten times a second; `measure` says when what is reported was measured."""

    def __init__(self, channel=None, near=2.5e6):
        fleet = Fleet.model_validate({
            'fleet': 'f', 'source': 'pi', 'devices': {'pi': {}, 'jetson': {}, 'cloud': {}},
            'links': [{'between': list(pair), 'rate': '8 Mbit/s', 'channel': channel} for pair in (UP, OTHER, NEAR)],
        })  # fmt: skip
        self.view, self.now = FleetView(fleet), 0.0
        self.known = {UP: (1e6, 0.015, 0.0), OTHER: (1.1e6, 0.016, 0.0), NEAR: (near, 0.002, 0.0)}
        self.run(5.0)

    def measure(self, pair, rate):
        self.known[pair] = rate, self.known[pair][1], self.now

    def run(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            for node, ((a, b), (rate, latency, at)) in enumerate(self.known.items()):
                self.view.on_link(a, b, node, LinkEstimate(rate, latency, measured=True), self.now - at, self.now)

    def believed(self, pair):
        return self.view.links()[pair].bytes_per_second


def collapse(world, pair=UP, rate=1e5):
    for share in (0.7, 0.4, 1.0):  # what is overdue shows it bit by bit
        world.measure(pair, rate / share)
        world.run(0.1)


def test_the_other_link_of_an_uplink_that_collapses_is_believed_to_have_collapsed_until_it_is_measured():
    world = World()
    collapse(world)
    assert world.believed(OTHER) == pytest.approx(1e5)
    assert world.believed(NEAR) == 2.5e6, 'it carries more, and at another latency: something else limits it'
    assert world.view.hopes(world.now)[OTHER] == (1.1e6, 1.0), 'and so it is worth probing'
    world.measure(OTHER, 1.05e6)
    world.run(0.2)
    assert world.believed(OTHER) == pytest.approx(1e5), 'a median moves with the second measurement'
    world.measure(OTHER, 1.05e6)
    world.run(0.1)
    assert world.believed(OTHER) == 1.05e6


def test_what_was_found_out_twice_is_remembered():
    world = World()
    for _ in range(2):
        collapse(world)
        assert world.believed(OTHER) == pytest.approx(1e5)
        for _ in range(2):
            world.measure(OTHER, 1.05e6)
            world.run(1.0)
        world.measure(UP, 1.1e5)  # still slow, while the other is not
        world.run(0.2)
        world.measure(UP, 1e6)
        world.run(5.0)
    collapse(world)
    assert world.believed(OTHER) == 1.05e6, 'it did not collapse with it the last times'


def test_a_link_that_is_measured_after_both_have_recovered_is_suspected_the_next_time_as_well():
    """The recovery of one is noticed before that of the other."""
    world = World()
    collapse(world)
    for _ in range(2):
        world.measure(OTHER, 1.05e6)
        world.run(0.3)
    world.measure(UP, 1e6)
    world.run(5.0)
    collapse(world)
    assert world.believed(OTHER) == pytest.approx(1e5)


def test_links_that_have_collapsed_together_are_suspected_the_next_time_however_much_they_carry():
    world = World()
    for pair in (UP, NEAR):
        collapse(world, pair)
    world.run(3.0)
    for pair, rate in ((UP, 1e6), (NEAR, 2.5e6)):
        world.measure(pair, rate)
    world.run(5.0)
    collapse(world)
    assert world.believed(NEAR) == pytest.approx(1e5)


def test_links_of_a_channel_share_it():
    world = World('air')
    collapse(world)
    assert world.believed(NEAR) == world.believed(OTHER) == pytest.approx(1e5)


def test_a_suspicion_that_nobody_looks_into_ends():
    world = World()
    collapse(world)
    world.run(SUSPECT_SECONDS + 0.2)
    assert world.believed(OTHER) == 1.1e6


def test_a_link_that_becomes_slower_bit_by_bit_has_not_collapsed():
    world = World()
    for step in range(20):
        world.measure(UP, 1e6 * 0.85**step)
        world.run(0.5)
    assert world.believed(OTHER) == 1.1e6

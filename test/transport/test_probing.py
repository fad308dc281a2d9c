# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When a link is probed: by what knowing is worth, within the ceiling. Estimator, doubt, budget and prober, in simulated time."""

import itertools
import math

import pytest

from edge_dnn_partition.sensing.link import LEAST_BYTES, LinkEstimator
from edge_dnn_partition.transport.link_model import EstimateGuard
from edge_dnn_partition.transport.probing import SHORT_SECONDS, UNTOLD, UNWORTHY, LinkProber

CEILING = 0.02
CONFIRM_SECONDS = 0.1


class Link:
    """An idle link of a known rate that is looked at every 0.1 s, and what was spent on it."""

    def __init__(self, rate):
        self.rate, self.now, self.spent, self.probes = rate, 0.0, 0.0, 0
        self.estimator, self.doubt, self.prober = LinkEstimator((rate, 0.01)), EstimateGuard(), LinkProber()
        for _ in range(3):
            self.estimator.transfer(0.0, 1e5, 1e5 / rate, sender_limited=False)

    @property
    def believed(self):
        return self.estimator.estimate.bytes_per_second

    def run(self, seconds, *, worth=None, until=lambda: False):
        end = self.now + seconds
        while self.now < end and not until():
            if worth is not None:
                self.prober.on_exploration(self.now, worth, 0.0)
            probe = self.prober.next_probe(self.now, self.estimator, self.doubt, ceiling=CEILING, period=1.0)
            if probe is not None:
                self.spent += probe.cost_bytes
                self.probes += 1
                size = (probe.fragments - 1) * probe.fragment_bytes
                seen = min(self.rate, probe.bytes_per_second or 1.1 * self.believed)
                seconds = size / seen
                short = size < LEAST_BYTES and seconds < SHORT_SECONDS  # what so little shows at most, as `Links`
                limited = short or seen < self.rate
                self.estimator.transfer(
                    self.now, size, SHORT_SECONDS if short else seconds, sender_limited=limited, short=True
                )  # fmt: skip
            self.now += CONFIRM_SECONDS
        return self


@pytest.mark.parametrize('good', [250e3, 1e6, 12.5e6])
@pytest.mark.parametrize('away', [7.0, 7.3, 13.05, 60.0])
def test_a_link_that_has_come_back_is_known_to_within_a_second_and_within_the_ceiling(good, away):
    link = Link(good).run(10.0, worth=0.0)
    link.rate = good / 10
    for _ in range(3):
        link.estimator.transfer(link.now, 1e5, 1e5 / link.rate, sender_limited=False)
    spent = link.spent
    link.run(away, worth=1.0)
    begun, link.rate = link.now, good
    link.run(5.0, worth=1.0, until=lambda: link.believed > 0.9 * good)
    assert link.now - begun <= 0.85
    largest = 5 * 12 * 1480
    assert link.spent - spent <= CEILING * good * (away + 1) + 3 * min(largest, CEILING * good + 4 * 1480)


@pytest.mark.parametrize('good', [1e6, 5e6])
def test_a_probe_of_a_link_that_is_worth_little_is_large_enough_to_show_more_than_is_believed(good):
    link = Link(good).run(10.0, worth=0.0)
    link.rate = 0.45 * good
    for _ in range(3):
        link.estimator.transfer(link.now, 1e5, 1e5 / link.rate, sender_limited=False)
    link.run(20.0, worth=0.1)
    link.rate = good
    assert link.run(15.0, worth=0.1).believed > 0.9 * good


@pytest.mark.parametrize('good', [100e3, 1e6, 2.5e6, 12.5e6])
@pytest.mark.parametrize('worth', [0.06, 0.3, 1.0])
def test_a_probe_that_looks_for_more_is_as_long_as_no_token_bucket_lets_pass_at_once(good, worth):
    link, probes = Link(good), []
    for tenth in range(600):
        link.prober.on_exploration(tenth / 10, worth, 3 * good)
        probe = link.prober.next_probe(tenth / 10, link.estimator, link.doubt, ceiling=CEILING, period=1.0)
        probes += [] if probe is None else [probe]
    assert len(probes) >= 3
    assert all((p.fragments - 1) * p.fragment_bytes >= p.bytes_per_second * SHORT_SECONDS and p.bytes_per_second >= 3 * good for p in probes)
    assert sum(p.cost_bytes for p in probes) <= CEILING * worth * good * 60 + 2 * max(p.cost_bytes for p in probes)


def test_a_link_that_nothing_depends_on_costs_next_to_nothing():
    link = Link(1e6).run(600.0, worth=0.0)
    assert 0 < link.spent <= 1.1 * UNWORTHY * CEILING * 1e6 * 600 + 25_000
    untold = Link(1e6).run(600.0)
    assert link.spent < untold.spent <= 1.1 * UNTOLD * CEILING * 1e6 * 600 + 25_000


@pytest.mark.parametrize('good', [250e3, 1e6, 2.5e6])
def test_a_link_of_which_less_is_known_than_before_costs_next_to_nothing_while_nothing_depends_on_it(good):
    link = Link(good).run(10.0, worth=0.0)
    link.estimator.loss(link.now, 0.0, 0.0, bound=good / 10)
    spent = link.spent
    assert link.run(20.0, worth=0.0).spent - spent <= 0.002 * good * 20


def test_what_is_worth_half_is_looked_at_half_as_much():
    whole, half = (Link(25e3).run(300.0, worth=worth) for worth in (1.0, 0.5))
    assert half.spent == pytest.approx(0.5 * whole.spent, rel=0.15)
    assert whole.spent <= CEILING * 25e3 * 300 + 8e3


def test_a_link_is_looked_at_at_once_when_it_becomes_worth_it():
    link = Link(250e3).run(100.05, worth=0.0)
    before = link.probes
    link.run(0.1, worth=0.5)
    assert link.probes == before + 1
    link.run(0.2, worth=0.5)
    assert link.probes == before + 1, 'that is paid for later'


def test_probes_look_for_what_the_scheduler_hopes_for_unless_a_token_bucket_was_found():
    link = Link(1e5)

    def next_looks_for(now):
        return link.prober.next_probe(now, link.estimator, link.doubt, ceiling=1.0, period=1.0).bytes_per_second

    link.prober.on_exploration(0.0, 1.0, 9e5)
    assert next_looks_for(0.0) == 9e5
    for now in (0.0, 0.0):
        link.doubt.probed(now, 1e5, 9e5)
        link.doubt.tensor(now, 1e5)
    assert next_looks_for(1.0) == 0.0


def test_what_a_scheduler_said_long_ago_does_not_count():
    link = Link(25e3)
    link.prober.on_exploration(0.0, 1.0, math.inf)
    link.now = 6.0
    assert link.run(300.0).spent <= UNTOLD * CEILING * 25e3 * 300 + 15e3


@pytest.mark.parametrize('worth', [0.0, 1.0])
def test_a_link_that_is_held_up_is_probed_for_a_better_plan_alone_and_for_a_third_of_its_pace(worth):
    link = Link(250e3).run(10.0, worth=0.0)
    for _ in range(3):
        link.estimator.transfer(link.now, 1e5, 1e5 / 5e3, sender_limited=False)
    at = []
    for tick in range(200):
        now = link.now + 0.1 * tick
        link.prober.on_exploration(now, worth, 250e3)
        probe = link.prober.next_probe(now, link.estimator, link.doubt, ceiling=CEILING, period=1.0, rate=5e3, busy=True)
        if probe is not None:
            at.append((now, probe.cost_bytes))
    assert len(at) == 0 if worth == 0.0 else len(at) > 8
    assert all(cost <= (b - a) * 5e3 / 3 + 1e-6 for (a, _), (b, cost) in itertools.pairwise(at))

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Probing an idle link costs no more than its share, finds a link that has come back, and can be turned off."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.link import LEAST_BYTES, LinkEstimator
from edge_dnn_partition.transport.fragments import HEADER_BYTES, PROBE_FRAGMENTS, probe_fragment_size
from edge_dnn_partition.transport.probing import LONGEST_SECONDS, REMEMBER_SECONDS, ProbeBudget

SIZE = 20_000.0


def granted(budget, rate, seconds, *, start=0.0, period=1.0, size=SIZE, silent=False):
    times = (start + i * period for i in range(int(seconds / period)))
    return [t for t in times if budget.grant(t, size, rate, silent=silent)]


def test_a_fast_link_is_probed_whenever_it_is_asked_for():
    assert len(granted(ProbeBudget(0.01), 5e6, 60)) == 60


def test_a_slow_link_is_probed_for_its_share():
    times = granted(ProbeBudget(0.01), 250e3, 800)
    assert times[0] == 0.0, 'an unknown link is looked at soon'
    assert len(times) == pytest.approx(800 * 2500 / SIZE, abs=2)


@pytest.mark.parametrize('rate', [2e3, 1e4, 3e4, 7e4, 2e5, 1e6])
def test_the_slowest_links_pay_their_share_and_are_not_given_up(rate):
    budget = ProbeBudget(0.01)
    cost = PROBE_FRAGMENTS * (probe_fragment_size(rate, budget.affordable(rate)) + HEADER_BYTES)
    times = granted(budget, rate, 20_000, size=cost)
    assert (len(times) - 1) * cost <= 0.01 * rate * 20_000
    assert len(times) > 0.7 * min(20_000.0, 0.01 * rate * 20_000 / cost)
    assert max(b - a for a, b in itertools.pairwise(times)) <= max(LONGEST_SECONDS, 7500 / (0.01 * rate) + 1)
    assert (PROBE_FRAGMENTS - 1) * probe_fragment_size(rate, 0.0) >= LEAST_BYTES, 'it shows no rate'


def test_only_a_link_that_answers_nothing_is_asked_beyond_its_share():
    times = granted(ProbeBudget(0.01), 2_000.0, 300, silent=True)
    assert [b - a for a, b in itertools.pairwise(times)] == [LONGEST_SECONDS] * 9
    assert len(granted(ProbeBudget(0.01), 2_000.0, 300)) == 1


def test_a_link_that_seems_to_be_gone_is_looked_for_as_before():
    budget = ProbeBudget(0.01)
    assert len(granted(budget, 5e6, 10)) == 10
    assert len(granted(budget, 2_000.0, 100, start=10.0)) == 100
    late = granted(budget, 2_000.0, 300, start=10.0 + REMEMBER_SECONDS)
    assert len(late) <= 3


def test_no_share_no_probes():
    assert granted(ProbeBudget(0.0), 1e9, 100) == []


@given(
    st.lists(st.tuples(st.floats(0.01, 40), st.floats(1e3, 1e8), st.booleans()), min_size=1, max_size=60),
    st.floats(0.001, 1.0),
)  # fmt: skip
def test_the_share_is_never_exceeded(steps, share):
    budget, now, most, count, doubts = ProbeBudget(share), 0.0, 0.0, 0, False
    for wait, rate, doubtful in steps:
        now, most, doubts = now + wait, max(most, rate), doubts or doubtful
        count += budget.grant(now, SIZE, rate, doubtful=doubtful)
    begin = steps[0][0]
    assert count * SIZE <= share * most * (now - begin) + (1 + doubts) * SIZE * (1 + 1e-9)


def test_what_a_probe_showed_is_confirmed_at_once_and_paid_for_after():
    budget, estimator = ProbeBudget(0.01), LinkEstimator((1e6, 0.0))
    found, granted_at = None, []
    for tick in range(200):
        now = tick * 0.5
        if budget.grant(now, SIZE, 1e6, doubtful=estimator.doubtful):
            granted_at.append(now)
            estimator.transfer(now, SIZE, SIZE / (1e5 if now < 40 else 1e6), sender_limited=False)
        if found is None and now >= 40 and estimator.estimate.bytes_per_second > 9e5:
            found = now
    assert found is not None and found <= 42.5, 'a period of 2 s, and a second probe at the next occasion'
    after = [t for t in granted_at if t >= 40]
    assert after[1] - after[0] == 0.5 and after[2] - after[1] == 3.5

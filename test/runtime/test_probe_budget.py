# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Probing an idle link costs no more than its share, finds a link that has come back, and can be turned off."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.runtime.probe_budget import LONGEST_SECONDS, REMEMBER_SECONDS, ProbeBudget

SIZE = 20_000.0


def granted(budget, rate, seconds, *, start=0.0, period=1.0):
    return [t for t in (start + i * period for i in range(int(seconds / period))) if budget.grant(t, SIZE, rate)]


def test_a_fast_link_is_probed_whenever_it_is_asked_for():
    assert len(granted(ProbeBudget(0.01), 5e6, 60)) == 60


def test_a_slow_link_is_probed_for_its_share():
    times = granted(ProbeBudget(0.01), 250e3, 800)
    assert times[0] == 0.0, 'an unknown link is looked at soon'
    assert len(times) == pytest.approx(800 * 2500 / SIZE, abs=2)


def test_the_slowest_links_are_not_given_up():
    times = granted(ProbeBudget(0.01), 2_000.0, 300)
    assert [b - a for a, b in zip(times, times[1:])] == [LONGEST_SECONDS] * (len(times) - 1) and len(times) == 10


def test_a_link_that_seems_to_be_gone_is_looked_for_as_before():
    budget = ProbeBudget(0.01)
    assert len(granted(budget, 5e6, 10)) == 10
    assert len(granted(budget, 2_000.0, 100, start=10.0)) == 100
    late = granted(budget, 2_000.0, 300, start=10.0 + REMEMBER_SECONDS)
    assert len(late) <= 12


def test_no_share_no_probes():
    assert granted(ProbeBudget(0.0), 1e9, 100) == []


@given(
    st.lists(st.tuples(st.floats(0.01, 40), st.floats(1e3, 1e8)), min_size=1, max_size=60), st.floats(0.001, 1.0),
)  # fmt: skip
def test_the_share_is_never_exceeded(steps, share):
    budget, now, most, count, last, forced = ProbeBudget(share), 0.0, 0.0, 0, -math.inf, 0
    for wait, rate in steps:
        now, most = now + wait, max(most, rate)
        if budget.grant(now, SIZE, rate):
            count += 1
            forced += now - last >= LONGEST_SECONDS
            last = now
    begin = steps[0][0]
    assert (count - forced) * SIZE <= share * most * (now - begin) + SIZE * (1 + 1e-9)

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What tensors that have not come say of a link, and when a probe may be bold; time is passed in."""

import math

import numpy as np
import pytest
from outbox_drain import drain, message

from edge_dnn_partition.sensing.link import LEAST_RATE, LinkEstimate
from edge_dnn_partition.sensing.windowed_max import WindowedMax
from edge_dnn_partition.transport.fragments import PROBE
from edge_dnn_partition.transport.link_model import BOUND_SECONDS, HOLDS_SECONDS, SEEN_SECONDS, EstimateGuard, overdue_bound
from edge_dnn_partition.transport.outbox import Outbox
from edge_dnn_partition.transport.outgoing import Loss, Waiting


def believed(rate, *, measured=True):
    return LinkEstimate(rate, 0.01, measured)


def test_a_message_bounds_the_rate_once_it_is_overdue_by_far():
    assert overdue_bound(believed(1e6), 0.02, Waiting(100_000, 0.33, 9_000)) is None
    assert overdue_bound(believed(1e6), 0.02, Waiting(100_000, 0.35, 100_000)) == pytest.approx(100_000 / 0.33)
    assert overdue_bound(believed(1e6), 0.02, Waiting(100_000, 0.35, 9_000)) == pytest.approx(9_000 / 0.33), 'of so much there was word'
    assert overdue_bound(believed(1e6), 0.02, Waiting(10_000, 0.20, 9_000)) == pytest.approx(10_000 / 0.18), 'but not so soon'
    assert overdue_bound(believed(1e6), 0.02, Waiting(10, 1e6, 10)) == LEAST_RATE
    assert overdue_bound(believed(1e6, measured=False), 0.02, Waiting(100_000, 99.0, 100_000)) is None


def test_a_bound_is_forgotten():
    doubt = EstimateGuard()
    assert doubt.bound(0.0, 0.0) == math.inf
    doubt.overdue(1.0, 5e4)
    assert doubt.bound(1.0 + BOUND_SECONDS, 1.0) == 5e4
    assert doubt.bound(1.01 + BOUND_SECONDS, 0.99) == 5e4, 'nothing was measured since'
    assert doubt.bound(1.01 + BOUND_SECONDS, 1.0) == math.inf


def test_what_was_measured_of_late_and_held_is_remembered():
    doubt = EstimateGuard()
    assert doubt.seen(0.0, believed(9e6, measured=False)) == 0.0
    for now in range(1, 8):
        found = doubt.seen(now, believed(9e6 if now == 3 else 4e6))
    assert found == 4e6, 'a single outlier is nothing that a link was seen to carry'
    for now in range(8, 120):
        found = doubt.seen(now, believed(2e5))
    assert found == 4e6
    assert doubt.seen(8.0 + SEEN_SECONDS, believed(2e5)) == 2e5


def raised(doubt, now, size=7e3):
    doubt.probed(now, 1e6, 4e6, size)


def test_where_tensors_do_not_find_what_probes_have_raised_time_and_again_probes_are_shy_longer_each_time():
    doubt, now = EstimateGuard(), 0.0
    doubt.tensor(now, 1e6)  # nothing had been raised
    doubt.probed(now, 1e6, 1.1e6)
    doubt.tensor(now, 1e5)  # by little
    assert not doubt.shy(now)
    for pause in (0.0, 4.0, 12.0, 36.0, 60.0, 60.0):
        raised(doubt, now)
        doubt.tensor(now + 0.5, 3e6, 5e3)  # no larger than the probe: it passes a token bucket, too
        doubt.tensor(now + 0.5, 2e6, at_least=True)  # the sender held it back
        doubt.overdue(now + 1.0, 1e6)
        doubt.tensor(now + 1.0, 1e6)
        assert doubt.shy(now + 0.9 + pause) == (pause > 0)
        now += 1.1 + pause
        assert not doubt.shy(now)


def test_a_link_that_falls_after_tensors_have_found_what_probes_raised_is_no_token_bucket():
    doubt = EstimateGuard()
    for now in range(0, 40, 4):
        raised(doubt, now)
        doubt.tensor(now + 1.0, 3e6, 5e4, at_least=True)
        doubt.tensor(now + 2.0, 2e5)
        assert not doubt.shy(now + 2.0)
    raised(doubt, 50.0)
    doubt.tensor(50.0 + HOLDS_SECONDS + 0.1, 2e5)
    assert not doubt.shy(61.0), 'nothing had contradicted it for long'


def test_a_bold_probe_leaves_at_the_rate_that_was_seen_and_a_lost_one_says_nothing():
    outbox = Outbox(rate=1e4)
    outbox.put(message(1, 50, kind=PROBE), 0.0, hoped=8e4)
    times = [at for at, *_ in drain(outbox)]
    np.testing.assert_allclose(np.diff(times), 10 / 8e4, rtol=1e-6)
    assert not outbox.sample(1).shows_the_rate(8e4), 'it is one sample of several: a receiver that was held up finds it side by side'
    assert outbox.probe_lost(1, [4]) == Loss()
    assert outbox.probe_lost(1, [2, 3, 4]) is None, 'and what came of it nothing either: the link does not carry that'
    outbox.cautious = True
    assert outbox.probe_lost(1, [2, 3, 4]) == Loss(), 'but it is more than is known of a link of which nothing is'
    outbox.cautious = False
    outbox.put(message(2, 50, kind=PROBE), 1.0)
    drain(outbox, 1.0)
    assert outbox.probe_lost(2) == Loss(1.0)
    assert outbox.probe_lost(1, [2, 3, 4]) is None, 'however late that is told'
    assert outbox.sample(1).pace == pytest.approx(8e4)


def test_what_is_no_more_than_a_probe_looks_for_anyway_makes_it_not_bold():
    outbox = Outbox(rate=1e4)
    outbox.put(message(1, 50, kind=PROBE), 0.0, hoped=1.01e4)
    drain(outbox)
    assert outbox.probe_lost(1) == Loss(1.0)


def test_a_windowed_maximum_is_that_of_the_window():
    random, window, values = np.random.default_rng(1), WindowedMax(5.0), []
    for now in np.cumsum(random.exponential(0.5, 500)):
        values.append((now, random.uniform()))
        assert window.add(*values[-1]) == max(value for at, value in values if at >= now - 5.0)

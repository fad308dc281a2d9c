# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What tensors that have not come say of a link, and when a probe may be bold; time is passed in."""

import math

import numpy as np
import pytest
from outbox_drain import bundle, drain

from edge_dnn_partition.runtime.transport.link_doubt import BOUND_SECONDS, SEEN_SECONDS, LinkDoubt, overdue_bound
from edge_dnn_partition.runtime.transport.link_evidence import Loss
from edge_dnn_partition.runtime.transport.outbox import Outbox
from edge_dnn_partition.runtime.transport.pieces import PROBE
from edge_dnn_partition.runtime.transport.windowed_max import WindowedMax
from edge_dnn_partition.sensing.link import LEAST_RATE, LinkEstimate


def believed(rate, *, measured=True):
    return LinkEstimate(rate, 0.01, measured)


def test_a_bundle_bounds_the_rate_once_it_is_overdue_by_far():
    assert overdue_bound(believed(1e6), 0.02, 100_000, 0.33) is None
    assert overdue_bound(believed(1e6), 0.02, 100_000, 0.35) == pytest.approx(100_000 / 0.33)
    assert overdue_bound(believed(1e6), 0.02, 10, 1e6) == LEAST_RATE
    assert overdue_bound(believed(1e6, measured=False), 0.02, 100_000, 99.0) is None


def test_a_bound_is_forgotten():
    doubt = LinkDoubt()
    assert doubt.bound(0.0) == math.inf
    doubt.overdue(1.0, 5e4)
    assert doubt.bound(1.0 + BOUND_SECONDS) == 5e4
    assert doubt.bound(1.01 + BOUND_SECONDS) == math.inf


def test_a_probe_looks_for_the_most_that_was_measured_of_late():
    doubt = LinkDoubt()
    assert doubt.worth_looking_for(0.0, believed(9e6, measured=False)) == 0.0
    assert [doubt.worth_looking_for(1.0, believed(rate)) for rate in (1e6, 4e6, 2e5)] == [1e6, 4e6, 4e6]
    assert doubt.worth_looking_for(1.1 + SEEN_SECONDS, believed(2e5)) == 2e5


def test_where_tensors_do_not_find_what_a_probe_has_raised_probes_are_shy_longer_each_time():
    doubt = LinkDoubt()
    looked = lambda now: doubt.worth_looking_for(now, believed(1e6))  # noqa: E731
    doubt.worth_looking_for(0.0, believed(4e6))
    doubt.tensor(1.0, 1e6)  # nothing had been raised
    assert looked(1.0) == 4e6
    doubt.probed(2.0, 1e6, 1.1e6)
    doubt.tensor(3.0, 1e5)  # by little
    assert looked(3.0) == 4e6
    now = 4.0
    for pause in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        doubt.worth_looking_for(now, believed(4e6))
        doubt.probed(now, 1e6, 4e6)
        doubt.tensor(now + 1.0, 3e6)
        assert looked(now + 1.0) == 4e6
        doubt.overdue(now + 2.0, 1e6)
        doubt.tensor(now + 2.0, 1e6)
        assert looked(now + 1.9 + pause) == 0.0
        now += 2.1 + pause
        assert looked(now) > 0.0
    doubt.probed(now, 1e6, 4e6)
    doubt.probed(now + 11.0, 1e6, 4e6)  # the one before has held
    doubt.tensor(now + 12.0, 1e6)
    assert looked(now + 16.9) == 0.0 < looked(now + 17.1)


def test_a_bold_probe_leaves_at_the_rate_that_was_seen_and_a_lost_one_says_nothing():
    outbox = Outbox(rate=1e4)
    outbox.put(bundle(1, 50, kind=PROBE), 0.0, seen=8e4)
    times = [at for at, *_ in drain(outbox)]
    np.testing.assert_allclose(np.diff(times), 10 / 8e4, rtol=1e-6)
    assert not outbox.look(1).shows_the_rate(8e4), 'it is one sample of several: a receiver that was held up finds it side by side'
    assert outbox.probe_lost(1) == Loss()
    outbox.put(bundle(2, 50, kind=PROBE), 1.0)
    drain(outbox, 1.0)
    assert outbox.probe_lost(2) == Loss(1.0)


def test_what_is_no_more_than_a_probe_looks_for_anyway_makes_it_not_bold():
    outbox = Outbox(rate=1e4)
    outbox.put(bundle(1, 50, kind=PROBE), 0.0, seen=1.01e4)
    drain(outbox)
    assert outbox.probe_lost(1) == Loss(1.0)


def test_a_windowed_maximum_is_that_of_the_window():
    random, window, values = np.random.default_rng(1), WindowedMax(5.0), []
    for now in np.cumsum(random.exponential(0.5, 500)):
        values.append((now, random.uniform()))
        assert window.add(*values[-1]) == max(value for at, value in values if at >= now - 5.0)

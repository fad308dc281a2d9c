# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A change by much is decided on at once, noise at the usual turn; never without end."""

import numpy as np

from edge_dnn_partition.control.decision.steps import HURRY_SECONDS, LEAST_SECONDS, MOST_SHARE, Urgency

LINK = ('pi', 'cloud')


def due(urgency, now, **signs):
    return urgency.is_due(now, lambda: {LINK: 1e6} | signs)


def test_what_has_changed_by_much_is_decided_on_at_once_and_again_to_confirm():
    urgency = Urgency()
    urgency.on_decision(0.0, {'pi': 1.0, LINK: 1e6})
    assert not due(urgency, 10.0, pi=1.25)
    assert due(urgency, 10.0, pi=1.35)
    assert due(urgency, 10.0, pi=0.7)
    urgency.on_decision(10.0, {'pi': 1.35, LINK: 1e6})
    assert not due(urgency, 10.0 + LEAST_SECONDS / 2, pi=1.35)
    assert due(urgency, 10.0 + 1.01 * LEAST_SECONDS, pi=1.35)
    urgency.on_decision(10.1, {'pi': 1.35, LINK: 1e6})
    assert not due(urgency, 10.01 + HURRY_SECONDS, pi=1.35)


def test_a_link_counts_as_well_and_what_is_new_does_not():
    urgency = Urgency()
    urgency.on_decision(0.0, {'pi': 1.0, LINK: 4e6})
    assert due(urgency, 1.0)
    assert not Urgency().is_due(1.0, lambda: {'pi': 5.0})


def test_estimates_are_not_asked_for_right_after_a_decision():
    urgency = Urgency()
    urgency.on_decision(1.0, {})
    assert not urgency.is_due(1.0 + LEAST_SECONDS / 2, lambda: 1 / 0)


def test_noise_causes_no_decision_of_its_own():
    random, urgency, extra = np.random.default_rng(3), Urgency(), 0
    urgency.on_decision(0.0, {'pi': 1.0, LINK: 1e6})
    for tick in range(1, 2000):
        now = tick * 0.1
        signs = {'pi': random.uniform(0.9, 1.1), LINK: 1e6 * random.uniform(0.9, 1.1)}
        if urgency.is_due(now, lambda signs=signs: signs):
            extra += 1
        elif tick % 3 == 0:
            urgency.on_decision(now, signs)
    assert extra == 0


def test_decisions_that_take_long_take_a_quarter_of_the_time_at_most():
    urgency, now, took, count = Urgency(), 0.0, 0.2, 0
    urgency.on_decision(0.0, {'pi': 1.0, LINK: 1e6})
    while now < 60.0:
        pi = 4.0 ** (count + 1)
        if due(urgency, now, pi=pi):
            urgency.on_decision(now, {'pi': pi, LINK: 1e6})
            now, count = now + took, count + 1
            urgency.on_duration(now, took)
        now += 0.01
    assert 0.8 * MOST_SHARE < count * took / 60.0 <= MOST_SHARE

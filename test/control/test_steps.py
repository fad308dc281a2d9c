# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What lasts is a step, there and back; bursts of other work are one a few times, then noise; which way a step goes."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.control.decision.steps import Steps, signs_of

LINK = ('pi', 'cloud')


def steps_of(values, *, period=0.25, name='pi'):
    """Return when an estimate made a step, whose values are observed one after the other."""
    steps = Steps()
    return [turn * period for turn, value in enumerate(values) if steps.observe(turn * period, {name: value})]


@given(factor=st.floats(1.4, 30.0), lasts=st.integers(42, 120), up=st.booleans())
def test_what_lasts_is_a_step_there_and_back_again_and_again(factor, lasts, up):
    there = factor if up else 1 / factor
    values = ([1.0] * lasts + [there] * lasts) * 4
    assert steps_of(values, period=0.25) == [turn * lasts * 0.25 for turn in range(1, 8)]


@pytest.mark.parametrize(('delay', 'step'), [(0.4, True), (0.012, False)])
def test_a_delay_that_rises_much_is_a_step_of_its_link(delay, step):
    steps = Steps()
    for now, seconds in enumerate([0.005] * 40 + [delay] * 4):
        problem = SimpleNamespace(
            names=('pi', 'cloud'), source='pi', sink='pi', position={'pi': 0, 'cloud': 1}, seconds=np.ones((3, 2)),
            rate=np.array([[np.inf, 5e6], [5e6, np.inf]]), latency=np.array([[0.0, seconds], [seconds, 0.0]]),
        )  # fmt: skip
        steps.observe(0.25 * now, signs_of(problem, ('pi', 'cloud')))
    assert (steps.last([LINK], worse=True) > 9.0) is step


@pytest.mark.parametrize('seed', range(4))
def test_bursts_that_go_on_are_noise(seed):
    """Other work that doubles or triples a device's time for a second now and then, each five seconds in the mean."""
    random = np.random.default_rng(seed)
    values, bursts = [], 0
    while len(values) < 4 * 180:
        values += [1.0] * random.geometric(1 / 20)
        values += [random.uniform(1.8, 3.0)] * random.integers(1, 7)
        bursts += 1
    found = [at for at in steps_of(np.array(values) * np.exp(random.normal(0, 0.05, len(values)))) if at >= 10.0]
    assert bursts >= 25
    assert len(found) <= 6


def test_a_step_beyond_all_bursts_is_one_and_so_is_a_small_one_when_they_are_over():
    burst = [2.5] * 2 + [1.0] * 18
    assert steps_of(burst * 4 + [5.0] * 40)[-1] == 80 * 0.25
    assert steps_of(burst * 4 + [1.0] * 400 + [1.6] * 40)[-1] == 480 * 0.25


@pytest.mark.parametrize(('name', 'value', 'worse'), [('pi', 2.0, True), ('pi', 0.5, False), (LINK, 2.0, False), (LINK, 0.5, True)])
def test_a_step_is_to_the_worse_or_to_the_better(name, value, worse):
    steps = Steps()
    steps.observe(0.0, {name: 1.0})
    assert steps.observe(1.0, {name: value})
    assert steps.last({name}) == steps.last({name}, worse=worse) == 1.0
    assert steps.last({name}, worse=not worse) == float('-inf')


@pytest.mark.parametrize(('name', 'makes_one'), [(LINK, True), ('pi', False)])
def test_a_link_that_drifts_since_a_plan_was_chosen_has_made_a_step_and_a_device_has_not(name, makes_one):
    """Slower by a hundredth each quarter of a second, then the same way back under the same plan."""
    steps = Steps()
    for turn in range(80):
        assert not steps.observe(turn * 0.25, {name: 0.99 ** (turn - 10) if turn > 10 else 1.0})
        if turn == 10:
            steps.mark()
            assert not steps.drifted({name}, worse=True)
    assert steps.drifted({name}, worse=True) is makes_one
    assert not steps.drifted({name}, worse=False)
    assert steps.last({name}) == -np.inf, 'frames under way count'
    steps.mark()
    assert not steps.drifted({name}, worse=True), 'the next plan was chosen for it'


@pytest.mark.parametrize('seed', range(4))
def test_a_link_that_is_measured_now_higher_and_now_lower_does_not_drift(seed):
    random, steps = np.random.default_rng(seed), Steps()
    for turn in range(480):
        steps.observe(turn * 0.25, {LINK: float(np.exp(random.normal(0.0, 0.15)))})
        if turn == 40:
            steps.mark()
        assert not any(steps.drifted({LINK}, worse=worse) for worse in (True, False))


def test_a_device_that_is_idle_again_after_long_has_made_a_large_step_and_one_that_comes_and_goes_none():
    steps, found = Steps(), []
    for now in range(200):
        busy = 40 <= now < 47 or (now >= 100 and now % 20 < 10)
        steps.observe(float(now), {'jetson': 2.8 if busy else 1.0})
        found.append(steps.last({'jetson'}, worse=False, large=True))
    assert sorted(set(found[1:])) == [float('-inf'), 47.0, 110.0]
    assert steps.last({'jetson'}, worse=True, large=True) == float('-inf')

# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Joules that are added up, and which meters make a device's total."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.power.reading import EnergyCounter, PowerIntegral, PowerReading, measured_for, parts, total

steps = st.lists(st.tuples(st.floats(0.05, 5.0), st.floats(0.0, 400.0)), min_size=1, max_size=40)


@given(steps=steps, start=st.floats(0.0, 262_143.0))
def test_a_counter_that_wraps_loses_and_adds_nothing(steps, start):
    counter = EnergyCounter(262_143.3)
    now, value = 0.0, start
    counter.update(now, value)
    for seconds, watts in steps:
        now += seconds
        value = (value + watts * seconds) % 262_143.3
        counter.update(now, value)
        assert counter.watts == pytest.approx(watts, abs=1e-6)
    assert counter.joules == pytest.approx(sum(s * w for s, w in steps), abs=1e-6)
    assert counter.covered_seconds == pytest.approx(sum(s for s, _ in steps))


@given(values=st.lists(st.one_of(st.floats(0, 1e6), st.just(math.nan)), max_size=30))
def test_joules_never_fall(values):
    counter = EnergyCounter(1e6)
    before = 0.0
    for now, value in enumerate(values):
        counter.update(float(now), value)
        assert counter.joules >= before
        before = counter.joules


def test_a_counter_that_may_have_wrapped_twice_or_was_reset_is_not_trusted():
    counter = EnergyCounter(1000.0)
    counter.update(0.0, 10.0)
    counter.update(0.4, 20.0)
    counter.update(1.4, 30.0)  # 1 s: 2 kW would have wrapped it
    assert math.isnan(counter.watts)
    assert (counter.joules, counter.covered_seconds) == (10.0, 0.4)
    endless = EnergyCounter()
    for now, value in ((0.0, 500.0), (1.0, 600.0), (2.0, 5.0), (3.0, 25.0)):
        endless.update(now, value)
    assert (endless.joules, endless.covered_seconds) == (120.0, 2.0)


@given(watts=st.floats(0, 100), count=st.integers(2, 30), period=st.floats(0.01, 2.0))
def test_steady_watts_are_watts_times_seconds(watts, count, period):
    integral = PowerIntegral()
    for i in range(count):
        integral.update(i * period, watts)
    assert integral.joules == pytest.approx(watts * period * (count - 1))


def test_time_that_nobody_measured_is_not_covered():
    integral = PowerIntegral(longest_gap_seconds=5.0)
    for now, watts in ((0.0, 10.0), (1.0, 20.0), (2.0, math.nan), (3.0, 10.0), (9.0, 10.0), (10.0, 10.0)):
        integral.update(now, watts)
    assert (integral.joules, integral.covered_seconds) == (25.0, 2.0)


def reading(source, scope, watts=1.0, joules=2.0, **more):
    return PowerReading(source, scope, watts, joules, 1.0, 0.3, 0.4, **more)


@pytest.mark.parametrize(
    ('readings', 'expected'),
    [
        ([], []),
        ([reading('rapl package', 'cpu'), reading('rapl dram', 'memory'), reading('nvml', 'gpu')],
         ['rapl package', 'rapl dram', 'nvml']),
        ([reading('rapl package', 'cpu'), reading('rapl psys', 'board'), reading('battery', 'board')], ['rapl psys']),
        ([reading('rapl package', 'cpu'), reading('battery', 'board', math.nan)], ['rapl package']),
        ([reading('ina3221 VDD_IN', 'board'), reading('external wall', 'board')], ['external wall']),
        ([reading('nvml', 'gpu'), reading('zeus', 'gpu')], ['nvml']),
    ],
)  # fmt: skip
def test_nothing_is_counted_twice(readings, expected):
    assert [r.source for r in parts(readings)] == expected


def test_a_total_of_parts_says_that_it_is_not_the_board():
    both = total([reading('rapl package', 'cpu', 5.0, 50.0), reading('nvml', 'gpu', 7.0, 70.0, note='5 W')])
    assert (both.source, both.scope, both.watts, both.joules) == ('rapl package + nvml', 'parts', 12.0, 120.0)
    assert (both.resolution_joules, both.note) == (pytest.approx(math.hypot(0.4, 0.4)), '5 W')
    assert total([]) is None
    board = reading('battery', 'board')
    assert total([board]) is board


def test_a_gpus_meter_alone_says_nothing_of_the_cpu():
    gpu, cpu, board = reading('nvml', 'gpu', 70.0, 700.0), reading('rapl package', 'cpu', 5.0, 50.0), reading('ina3221', 'board')
    guess = PowerReading('model', 'board', 9.0, 90.0, 1.0, kind='modelled')
    assert measured_for([gpu, guess], 'cpu') is None
    assert measured_for([gpu, guess], 'gpu') is gpu
    assert measured_for([cpu, gpu], 'cpu').joules == 750.0
    assert measured_for([cpu], 'gpu') is None
    assert measured_for([board], 'gpu') is board
    assert measured_for([guess], 'cpu') is None
    assert measured_for([reading('rapl package', 'cpu', 5.0, math.nan)], 'cpu') is None

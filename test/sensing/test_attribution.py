# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Energy by stage: the shares, idleness and the rest add up to the meter's total, on synthetic traces."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.power.attribution import (
    Attribution,
    Energy,
    EnergyTrace,
    Run,
    Window,
    attribute,
    busy_seconds,
    modelled,
)
from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.power.reading import EnergyCounter, PowerReading

joules = st.floats(0, 1e5)
core_seconds = st.dictionaries(st.sampled_from('abcdef'), st.floats(0, 1e4), max_size=6)


def whole(found):
    return found.idle.joules + found.radio.joules + found.other.joules + math.fsum(e.joules for e in found.stages.values())


def summed(parts):
    """Several windows as one; the errors of different windows are independent."""
    def together(energies):
        return Energy(math.fsum(e.joules for e in energies), math.hypot(*(e.error_joules for e in energies)), energies[0].kind)

    names = dict.fromkeys(name for part in parts for name in part.stages)
    return Attribution(
        **{name: together([getattr(part, name) for part in parts]) for name in ('total', 'idle', 'radio', 'other')},
        stages={name: together([part.stages[name] for part in parts if name in part.stages]) for name in names},
    )


@given(energy=joules, seconds=st.floats(0.01, 100), idle=st.floats(0, 50), busy=core_seconds, other=st.floats(0, 1e4),
       radio=joules)  # fmt: skip
def test_shares_idleness_radio_and_the_rest_add_up_to_the_total(energy, seconds, idle, busy, other, radio):
    found = attribute(Window(energy, 0.1), seconds, idle_watts=idle, idle_error_watts=0.2, busy=busy, other_busy=other,
                      radio_joules=radio)  # fmt: skip
    assert found.radio.kind == 'modelled'
    assert 0 <= found.radio.joules <= radio
    assert whole(found) == pytest.approx(energy, rel=1e-9, abs=1e-9)
    for part in (found.idle, found.other, *found.stages.values()):
        assert part.joules >= 0
        assert part.error_joules >= 0
    assert found.idle.joules <= idle * seconds + 1e-9


def test_stages_share_by_their_busy_time():
    found = attribute(Window(20.0, 0.3), 2.0, idle_watts=4.0, idle_error_watts=0.2, busy={'a': 3.0, 'b': 1.0}, other_busy=2.0)
    assert found.idle.joules == 8.0
    assert found.stages['a'].joules == pytest.approx(6.0)
    assert found.stages['b'].joules == pytest.approx(2.0)
    assert found.other.joules == pytest.approx(4.0)
    assert found.stages['a'].error_joules == pytest.approx(0.5 * math.hypot(0.3, 0.4))
    assert found.total.kind == 'measured'


def test_without_busy_time_it_belongs_to_no_stage_and_what_is_unknown_stays_unknown():
    found = attribute(Window(20.0, 0.0), 2.0, idle_watts=4.0, busy={'a': 0.0})
    assert (found.other.joules, found.stages['a'].joules) == (12.0, 0.0)
    lost = attribute(Window(math.nan, math.nan), 2.0, idle_watts=4.0, busy={'a': 1.0})
    assert math.isnan(lost.stages['a'].joules)
    assert math.isnan(lost.total.joules)


def test_runs_that_overlap_or_reach_beyond_the_window():
    runs = [Run('a', 0.0, 2.0), Run('a', 1.5, 2.5, cores=2.0), Run('b', -1.0, 0.5), Run('c', 5.0, 6.0)]
    assert busy_seconds(runs, 0.25, 2.0) == pytest.approx({'a': 1.75 + 1.0, 'b': 0.25})


def synthetic(seed, step_joules, period, seconds=20.0, wrap=math.inf):
    """Return a trace as a meter with steps gives it of stages that run, the runs, and each stage's true joules."""
    rng = np.random.default_rng(seed)
    idle, core = 2.5, 1.5
    runs, now = [], 0.0
    while now < seconds - 1:
        stage = 'ab'[int(rng.integers(2))]
        length = rng.uniform(0.02, 0.2)
        runs.append(Run(stage, now, now + length, cores=1.0))
        now += length + rng.uniform(0.0, 0.1)

    def true_joules(end):
        return idle * end + core * sum(busy_seconds(runs, 0.0, end).values())

    trace, counter = EnergyTrace(), EnergyCounter(wrap)
    offset = rng.uniform(190, 240)  # wraps soon
    for i in range(int(seconds / period) + 1):
        value = math.floor((true_joules(i * period) + offset) / step_joules) * step_joules % wrap
        counter.update(i * period, value)
        trace.add(i * period, PowerReading('m', 'board', counter.watts, counter.joules, counter.covered_seconds,
                                           step_joules, step_joules))  # fmt: skip
    truth = {stage: core * busy for stage, busy in busy_seconds(runs, 0.0, seconds).items()}
    return trace, runs, truth, idle, true_joules(seconds)


@pytest.mark.parametrize('step', [6e-5, 0.04, 0.5])
@pytest.mark.parametrize('period', [0.1, 0.5])
@pytest.mark.parametrize('seed', range(4))
def test_on_a_synthetic_trace_the_sum_is_the_meters_total_within_its_resolution(seed, period, step):
    trace, runs, truth, idle, true_total = synthetic(seed, step, period, wrap=250.0 if period == 0.1 and step < 1e-3 else math.inf)
    first, last = trace.span()
    edges = np.linspace(first, last, 38)  # not the readings' times
    parts = [
        attribute(trace.between(a, b), b - a, idle_watts=idle, busy=busy_seconds(runs, a, b))
        for a, b in zip(edges, edges[1:])
    ]
    found = summed(parts)
    assert whole(found) == pytest.approx(trace.between(first, last).joules, abs=1e-6)
    assert whole(found) == pytest.approx(true_total, abs=step + 1e-6)
    if period == 0.1 and step < 0.1:
        for stage, expected in truth.items():
            assert found.stages[stage].joules == pytest.approx(expected, rel=0.1)
            assert abs(found.stages[stage].joules - expected) < 4 * found.stages[stage].error_joules + 0.05 * expected


times = st.lists(st.floats(0.0, 10.0), min_size=2, max_size=8, unique=True).map(sorted)


@given(steps=st.lists(st.tuples(st.floats(0.1, 2.0), st.floats(0, 30)), min_size=10, max_size=20), cuts=times)
def test_neighbouring_windows_add_up(steps, cuts):
    trace, now, energy = EnergyTrace(), 0.0, 0.0
    trace.add(0.0, PowerReading('m', 'board', 0.0, 0.0, 0.0, 0.1, 0.1))
    for seconds, watts in steps:
        now += seconds
        energy += watts * seconds
        trace.add(now, PowerReading('m', 'board', watts, energy, now, 0.1, 0.1))
    cuts = [min(now, cut * now / 10.0) for cut in cuts]
    fragments = [trace.between(a, b).joules for a, b in zip(cuts, cuts[1:])]
    assert math.fsum(fragments) == pytest.approx(trace.between(cuts[0], cuts[-1]).joules, abs=1e-9)


def test_a_window_that_the_meter_did_not_cover_is_unknown():
    trace = EnergyTrace(keep_seconds=10.0)
    assert math.isnan(trace.between(0.0, 1.0).joules)
    for now, energy, covered in ((0.0, 0.0, 0.0), (1.0, 5.0, 1.0), (4.0, 5.0, 1.0), (5.0, 10.0, 2.0)):
        trace.add(now, PowerReading('m', 'board', 5.0, energy, covered, 0.1, 0.1))
    assert trace.between(0.0, 1.0).joules == 5.0
    assert trace.between(0.25, 0.75).joules == pytest.approx(2.5)
    assert math.isnan(trace.between(0.5, 4.5).joules)  # away for three seconds: the same reading once more is none
    assert math.isnan(trace.between(4.5, 6.0).joules)  # not yet measured
    trace.add(14.0, PowerReading('m', 'board', 5.0, 55.0, 11.0, 0.1, 0.1))
    assert trace.span() == (5.0, 14.0)
    trace.add(15.0, PowerReading('other', 'board', 5.0, 1.0, 1.0, 0.1, 0.1))
    assert trace.span() == (15.0, 15.0)


def test_edges_within_a_reading_are_less_certain():
    trace = EnergyTrace()
    for now in (0.0, 1.0, 2.0):
        trace.add(now, PowerReading('m', 'board', 10.0, 10.0 * now, now, 0.0, 0.0))
    assert trace.between(0.0, 1.0).error_joules == 0.0
    assert trace.between(0.0, 1.5).error_joules == pytest.approx(10.0 / math.sqrt(12))
    assert trace.between(0.0, 1.1).error_joules == pytest.approx(2.0 / math.sqrt(12))


def test_a_modelled_attribution_says_so_and_adds_up():
    found = modelled(PowerModel(2.0, 1.0, relative_error=0.2), 10.0, busy={'a': 3.0, 'b': 2.0}, other_busy=1.0)
    assert whole(found) == pytest.approx(found.total.joules) == pytest.approx(26.0)
    assert found.stages['a'].kind == 'modelled'
    assert found.stages['a'].error_joules == pytest.approx(0.6)

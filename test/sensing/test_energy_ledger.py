# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Readings and runs brought together: settled windows, frames' energies, and idleness that is learnt."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.power.attribution import Attribution, Energy, Run
from edge_dnn_partition.sensing.power.ledger import EnergyLedger, IdlePower
from edge_dnn_partition.sensing.power.reading import PowerReading


def reading(watts, joules, covered):
    return PowerReading('m', 'board', watts, joules, covered, 0.001, 0.001)


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


def test_idleness_is_learnt_in_quiet_moments():
    idle = IdlePower(3.0, 0.6, least=3)
    assert (idle.watts, idle.error_watts, idle.measured) == (3.0, 0.6, False)
    for watts, share in ((2.5, 0.01), (9.0, 0.9), (2.6, 0.0), (math.nan, 0.0), (5.0, math.nan), (2.4, 0.02)):
        idle.add(watts, share)
    assert idle.measured
    assert idle.watts == 2.5
    assert idle.error_watts == pytest.approx(1.4826 * 0.1 / math.sqrt(3))


def test_each_frames_stages_get_their_energy_and_other_work_its_own():
    ledger = EnergyLedger(IdlePower(2.0, 0.0), lag_seconds=1.0)
    settled, joules = [], 0.0
    for tick in range(1, 41):
        now = tick * 0.25
        if tick % 4 == 2:  # a frame that kept two cores busy for 0.2 s, told at its end
            ledger.run(Run((tick // 4, 'stage'), now - 0.2, now, cores=2.0))
        busy_cores = 1.0 + (2.0 * 0.2 / 0.25 if tick % 4 == 2 else 0.0)  # another process takes a core all the time
        joules += 0.25 * (2.0 + 1.5 * busy_cores)
        settled += ledger.reading(now, reading(math.nan, joules, now), busy_cores, cores=4)
    found = summed(settled)
    seconds = 0.25 * len(settled)
    assert found.idle.joules == pytest.approx(2.0 * seconds)
    assert found.other.joules == pytest.approx(1.5 * seconds)
    frames = {frame for frame, _ in found.stages}
    assert len(frames) == 9
    for energy in found.stages.values():
        assert energy.joules == pytest.approx(1.5 * 0.4)
    assert whole(found) == pytest.approx(found.total.joules)


def test_the_radio_is_taken_off_before_the_stages_share():
    """2 W idle, a stage of 1.5 W in half of the time, and 3 J of radio over two seconds; the meter counts in steps of 0.05 J."""
    ledger, step = EnergyLedger(IdlePower(2.0, 0.0), lag_seconds=1.0), 0.05
    settled, true = [], 0.0
    ledger.radio(3.1, 5.1, 3.0)
    ledger.radio(6.0, 6.0, 5.0)  # of no length
    ledger.radio(6.0, 7.0, math.nan)  # unknown: stays in the rest
    for tick in range(1, 41):
        now = tick * 0.25
        ledger.run(Run((tick, 'stage'), now - 0.125, now))
        true += 0.25 * 2.0 + 0.125 * 1.5 + 1.5 * max(0.0, min(now, 5.1) - max(now - 0.25, 3.1))
        settled += ledger.reading(now, reading(math.nan, math.floor(true / step) * step, now), 0.5, cores=4)
    found = summed(settled)
    assert found.radio.joules == pytest.approx(3.0)
    assert found.radio.kind == 'modelled'
    seconds = 0.25 * len(settled)
    assert whole(found) == pytest.approx(found.total.joules)
    assert found.total.joules == pytest.approx(2.0 * seconds + 0.75 * seconds + 3.0, abs=2 * step)
    assert math.fsum(e.joules for e in found.stages.values()) == pytest.approx(0.75 * seconds, abs=2 * step)


def test_a_window_waits_for_the_runs_that_end_later():
    ledger = EnergyLedger(IdlePower(0.0, 0.0), lag_seconds=1.0)
    for now in (0.0, 0.5, 1.0):
        assert ledger.reading(now, reading(4.0, 4.0 * now, now)) == []
    ledger.run(Run('long', 0.0, 1.2))
    (first,) = ledger.reading(1.5, reading(4.0, 6.0, 1.5))
    assert first.stages['long'].joules == pytest.approx(2.0)


def test_time_that_the_meter_did_not_cover_is_unknown():
    ledger = EnergyLedger(IdlePower(1.0, 0.0), lag_seconds=0.5)
    ledger.reading(0.0, reading(4.0, 0.0, 0.0))
    ledger.reading(1.0, reading(4.0, 4.0, 1.0))
    ledger.reading(2.0, reading(math.nan, 4.0, 1.0))
    ledger.run(Run('a', 1.2, 1.4))
    (lost,) = ledger.reading(2.6, reading(4.0, 4.0, 1.0))[-1:]
    assert math.isnan(lost.total.joules)
    assert math.isnan(lost.stages.get('a', lost.total).joules)


ticks = st.lists(st.tuples(st.floats(0.1, 1.0), st.floats(0.0, 20.0), st.floats(0.0, 4.0)), min_size=5, max_size=30)
spans = st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 0.9), st.sampled_from('abc')), max_size=20)


hops = st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 2.0), st.floats(0.0, 30.0)), max_size=10)


@given(ticks=ticks, spans=spans, hops=hops)
def test_whatever_ran_the_sum_is_the_meters_total(ticks, spans, hops):
    ledger = EnergyLedger(IdlePower(3.0, 0.1), lag_seconds=1.0)
    for start, length, stage in sorted(spans):
        ledger.run(Run(stage, start, start + length))
    for start, length, sent in hops:
        ledger.radio(start, start + length, sent)
    now = joules = 0.0
    settled = ledger.reading(0.0, reading(0.0, 0.0, 0.0))
    counted = {0.0: 0.0}
    for seconds, watts, busy in ticks:
        now += seconds
        joules += watts * seconds
        counted[now] = joules
        settled += ledger.reading(now, reading(watts, joules, now), busy, cores=4)
    total = math.fsum(found.total.joules for found in settled)
    assert total == pytest.approx(list(counted.values())[len(settled)])
    for found in settled:
        assert whole(found) == pytest.approx(found.total.joules, abs=1e-9)
        assert found.radio.joules >= 0
        assert all(energy.joules >= -1e-9 for energy in found.stages.values())

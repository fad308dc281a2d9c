# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Devices that are to be spared: by battery and throttling, with a reason, and not at any price."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.control.state.derating import Derating, DeratingSettings, DeviceHealth, weighted, with_watts
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import Device
from edge_dnn_partition.planning.solvers.solve import solve

SETTINGS = DeratingSettings()


def problem(jetson=0.004, rate=1e8):
    return from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 1000,
        'devices': {'pi': {'active_watts': 4.0}, 'jetson': {'active_watts': 8.0}},
        'links': [{'from': a, 'to': b, 'bytes_per_second': rate, 'latency_seconds': 1e-4}
                  for a, b in (('pi', 'jetson'), ('jetson', 'pi'))],
        'layers': [{'name': f'l{i}', 'inputs': [i - 1], 'output_bytes': 1000, 'weight_bytes': 1,
                    'seconds': {'pi': 0.01, 'jetson': jetson}} for i in range(4)],
    })  # fmt: skip


def applied(derating, health, now=0.0, settings=SETTINGS, **more):
    return derating.applied(problem(**more), health, {}, settings, now)


def plan(found):
    return set(solve(found, 'latency').assignment)


def test_a_device_whose_battery_is_low_runs_nothing_and_the_plan_says_why():
    derating = Derating()
    assert plan(applied(derating, {})) == {'jetson'}
    assert derating.reasons == {}
    found = applied(derating, {'jetson': DeviceHealth(12.0, 5.0)}, settings=replace(SETTINGS, most_slowdown=3.0))
    assert plan(found) == {'pi'}
    assert derating.reasons == {'jetson': 'jetson is spared: its battery is at 12 %, the limit is 20 %'}


def test_not_at_any_price():
    derating = Derating()
    found = applied(derating, {'jetson': DeviceHealth(12.0, 5.0)}, jetson=0.001)
    assert plan(found) == {'jetson'}
    assert derating.reasons['jetson'].startswith('jetson cannot be spared (its battery')


def test_the_source_too_is_spared_if_another_can_do_it():
    derating = Derating()
    assert plan(applied(derating, {'pi': DeviceHealth(5.0, 3.0)}, jetson=0.012)) == {'jetson'}
    pinned = problem(jetson=0.012).constrained(pin={'l0': 'pi'})
    found = Derating()
    assert found.applied(pinned, {'pi': DeviceHealth(5.0, 3.0)}, {}, SETTINGS, 0.0).seconds[0, 0] < math.inf
    assert 'cannot' in found.reasons['pi']


def test_it_comes_back_only_well_above_the_limit():
    derating = Derating()
    charge = {'jetson': DeviceHealth(19.0, 5.0)}
    for percent, spared in ((21.0, True), (24.9, True), (25.1, False), (21.0, False), (19.9, True)):
        applied(derating, charge, jetson=0.006)
        charge['jetson'].battery_percent = percent
        applied(derating, charge, jetson=0.006)
        assert bool(derating.reasons) == spared, percent
    charge['jetson'].discharge_watts = 0.0
    applied(derating, charge)
    assert not derating.reasons, 'it is charged'


def test_throttling_spares_until_it_is_cool():
    derating, hot = Derating(), DeviceHealth(throttling=('throttled', 'under_voltage_since_boot'))
    assert plan(applied(derating, {'jetson': hot}, now=100.0, jetson=0.006)) == {'pi'}
    assert derating.reasons == {'jetson': 'jetson is spared: it throttles (throttled)'}
    cool = {'jetson': DeviceHealth(throttling=('throttled_since_boot',))}
    assert plan(applied(derating, cool, now=120.0, jetson=0.006)) == {'pi'}
    assert plan(applied(derating, cool, now=131.0, jetson=0.006)) == {'jetson'}
    assert plan(applied(Derating(), {'jetson': hot}, settings=replace(SETTINGS, throttling=False), jetson=0.006)) == {'jetson'}


def test_the_answer_is_asked_anew_when_links_have_changed():
    derating, health = Derating(), {'pi': DeviceHealth(5.0, 3.0)}
    assert plan(applied(derating, health, now=0.0, jetson=0.012)) == {'jetson'}
    assert plan(applied(derating, health, now=6.0, jetson=0.012, rate=1e4)) == {'pi'}


def test_all_low_leaves_somebody_to_run_it():
    low = {name: DeviceHealth(3.0, 5.0) for name in ('pi', 'jetson')}
    derating = Derating()
    found = applied(derating, low, settings=replace(SETTINGS, most_slowdown=100.0))
    assert len(plan(found)) == 1
    assert sorted(reason.split(':')[0].split(' (')[0] for reason in derating.reasons.values()) == [
        'jetson is spared', 'pi cannot be spared']  # fmt: skip


def test_weights_follow_battery_and_mains():
    device = Device(name='pi', energy_weight=2.0)
    settings = DeratingSettings(battery_weight=3.0, mains_weight=0.0)
    assert weighted(device, DeviceHealth(100.0, 5.0), settings).energy_weight == 2.0
    assert weighted(device, DeviceHealth(50.0, 5.0), settings).energy_weight == 5.0
    assert weighted(device, DeviceHealth(0.0, 5.0), settings).energy_weight == 8.0
    assert weighted(device, DeviceHealth(50.0, math.nan), settings).energy_weight == 5.0
    assert weighted(device, DeviceHealth(math.nan, 5.0), settings).energy_weight == 2.0
    assert weighted(device, DeviceHealth(50.0, 0.0), settings).energy_weight == 0.0  # it is charged
    assert weighted(device, DeviceHealth(), settings).energy_weight == 0.0


def test_an_emptying_battery_moves_work_under_energy():
    costs = problem(jetson=0.004)  # 0.04 J a layer on the pi, 0.032 J on the jetson
    moved = []
    for percent in (100.0, 60.0, 30.0):
        found = Derating().applied(costs, {'jetson': DeviceHealth(percent, 5.0)}, {}, SETTINGS, 0.0)
        moved.append(set(solve(found, 'energy').assignment))
    assert moved == [{'jetson'}, {'pi'}, {'pi'}]


def test_measured_watts_count_above_the_files_and_modelled_ones_only_without_them():
    device, given = Device(name='pi', active_watts=4.0, idle_watts=2.0), frozenset({'active', 'idle'})
    measured, modelled = DeviceHealth(active_watts=6.0, idle_watts=3.0, measured=True), DeviceHealth(active_watts=6.0, idle_watts=3.0)
    assert with_watts(device, measured, given) == replace(device, active_watts=6.0, idle_watts=3.0)
    assert with_watts(device, modelled, given) == device
    bare = Device(name='pi')
    assert with_watts(bare, modelled, frozenset()) == replace(bare, active_watts=6.0)
    assert with_watts(bare, measured, frozenset()) == replace(bare, active_watts=6.0)  # idleness was not to count
    assert with_watts(device, DeviceHealth(measured=True), given) == device


healths = st.builds(
    DeviceHealth, st.floats(0, 100) | st.just(math.nan), st.floats(0, 20) | st.just(math.nan),
    st.sampled_from([(), ('throttled',), ('x_since_boot',)]),
)  # fmt: skip


@given(pi=healths, jetson=healths, seconds=st.floats(1e-4, 0.1), most=st.floats(0.0, 5.0))
def test_there_is_always_a_plan_and_never_one_that_is_too_slow(pi, jetson, seconds, most):
    found = Derating().applied(problem(seconds), {'pi': pi, 'jetson': jetson}, {}, DeratingSettings(most_slowdown=most), 0.0)
    best, mine = (evaluate(p, solve(p, 'latency').assignment).latency_seconds for p in (problem(seconds), found))
    assert mine <= max(1.0, most) * best * (1 + 1e-9)
    assert all(device.energy_weight >= 0 for device in found.devices)
    assert found.seconds.shape == (4, 2)


def test_a_device_on_which_a_frame_failed_is_spared_for_longer_each_time_unless_the_frame_fails_elsewhere_too():
    derating, strict = Derating(), replace(SETTINGS, most_slowdown=0.0)

    def devices(now):
        return plan(applied(derating, {}, now=now, settings=strict))

    assert derating.on_failure('jetson', 1, 'no memory', 0.0)
    assert not derating.on_failure('jetson', 2, 'no memory', 1.0), 'that is known'
    assert devices(1.0) == {'pi'}
    assert derating.reasons == {'jetson': 'jetson is spared: a frame failed there (no memory), so for 10 s'}
    assert devices(10.1) == {'jetson'}
    assert derating.on_failure('jetson', 3, 'no memory', 11.0)
    assert (devices(30.0), devices(32.0)) == ({'pi'}, {'jetson'})
    assert derating.on_failure('jetson', 4, 'no memory', 33.0)
    assert derating.on_failure('pi', 4, 'no memory', 34.0), 'it is the frame'
    assert (devices(35.0), derating.reasons) == ({'jetson'}, {})
    assert not derating.on_failure('jetson', 5, 'no memory', 60.0)
    assert devices(60.0) == {'jetson'}
    assert derating.on_failure('jetson', 6, 'no memory', 95.0)
    derating.on_restart('jetson')
    assert devices(96.0) == {'jetson'}

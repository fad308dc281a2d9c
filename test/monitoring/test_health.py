# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Levels and words of diagnostics, from what the fleet says."""

import math
from types import SimpleNamespace as Message

import pytest

from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.monitoring.health import Level, Rising, StreamWatch, device_health, pipeline_health
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan

FLEET = Fleet.model_validate({
    'fleet': 'lab', 'source': 'pi', 'devices': {'pi': {}, 'cloud': {}}, 'links': [{'between': ['pi', 'cloud'], 'rate': '8 Mbit/s'}],
})  # fmt: skip
PLAN = Plan(3, 'x', 'pi', 'pi', (StagePlan('pi', True, ((0, 4),)), StagePlan('cloud', False, ((4, 9),))), (), latency_seconds=0.1)


def telemetry(device='pi', **changes):
    fields = {'battery_percent': math.nan, 'throttling': [], 'temperature_celsius': 50.0, 'memory_available_bytes': 2e9,
              'memory_total_bytes': 4e9, 'left_out': [], 'quota_cores': math.nan,
              'quota_throttled_percent': math.nan}  # fmt: skip
    return Message(device=device, **(fields | changes))


@pytest.fixture
def fleet():
    view, watch = FleetView(FLEET), StreamWatch()
    view.on_heartbeat('pi', 1, 1.0, 9.5)
    view.devices['pi'].profile = object()
    watch.on_telemetry(telemetry(), 9.5)
    return view, watch


def test_a_device_that_works(fleet):
    health = device_health('pi', *fleet, Rising(), PLAN, 10.0)
    assert (health.level, health.message) == (Level.OK, 'works')
    assert health.values['runs'] == 'stage 0'
    assert health.values['seconds since heartbeat'] == '0.5'
    assert health.values['link to cloud'] == '8 Mbit/s, 0.0 ms, a guess'


def test_a_device_that_was_never_heard_of_and_one_that_is_gone(fleet):
    assert device_health('cloud', *fleet, Rising(), PLAN, 10.0).level == Level.STALE
    gone = device_health('pi', *fleet, Rising(), PLAN, 12.7)
    assert (gone.level, gone.message) == (Level.ERROR, 'no heartbeat from its worker for 3.2 s')


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'throttling': ['under_voltage', 'capped_since_boot']}, 'throttles: under_voltage'),
        ({'temperature_celsius': 91.0}, '91 °C'), ({'memory_available_bytes': 1e8}, '100.0 MB of memory left'),
        ({'left_out': ['nvml: hangs']}, 'left out: nvml: hangs'),
        ({'quota_cores': 0.5, 'quota_throttled_percent': 73.0}, 'its CPU quota of 0.5 cores is used up in 73 % of the periods'),
    ],
)  # fmt: skip
def test_a_host_in_trouble_warns(fleet, changes, words):
    view, watch = fleet
    watch.on_telemetry(telemetry(**changes), 9.5)
    health = device_health('pi', view, watch, Rising(), PLAN, 10.0)
    assert (health.level, health.message) == (Level.WARN, words)
    watch.on_telemetry(telemetry(throttling=['capped_since_boot']), 9.5)
    assert device_health('pi', view, watch, Rising(), PLAN, 10.0).level == Level.OK


def test_silence_of_the_monitor_derating_and_refusals_warn(fleet):
    view, watch = fleet
    rising = Rising()
    watch.on_heartbeat(Message(device='pi', node='worker', refused=4, last_refusal='before', troubles=[]))
    assert device_health('pi', view, watch, rising, PLAN, 10.0, derating='its battery is low').message == 'its battery is low'
    watch.on_heartbeat(Message(device='pi', node='worker', refused=5, last_refusal='a bad shape', troubles=[]))
    assert device_health('pi', view, watch, rising, PLAN, 10.1).message == 'refuses messages: a bad shape'
    for node in ('worker', 'frame_source'):
        watch.on_heartbeat(Message(device='pi', node=node, refused=0, last_refusal='', troubles=['the disk is full']))
    full = device_health('pi', view, watch, Rising(), PLAN, 10.0)
    assert (full.level, full.message) == (Level.WARN, 'the disk is full')
    watch.on_heartbeat(Message(device='pi', node='worker', refused=0, last_refusal='', troubles=[]))
    watch.on_heartbeat(Message(device='pi', node='frame_source', refused=0, last_refusal='', troubles=[]))
    view.on_heartbeat('pi', 1, 1.0, 30.0)
    assert device_health('pi', view, watch, rising, PLAN, 30.0).message == 'no telemetry from its device_monitor'


def counters(**changes):
    fields = dict.fromkeys(('accepted', 'delivered', 'in_flight', 'expired', 'lost', 'failed', 'repeated', 'dropped'), 0)
    return Message(**({'last_failure': ''} | fields | changes))


def report(seconds, status=0):
    return Message(status=status, latency_seconds=seconds, energy_joules=math.nan)


def test_a_pipeline_works_stands_still_loses_frames_or_has_no_plan():
    watch, rising = StreamWatch(), Rising()

    def health(now, plan=PLAN, gone=()):
        found = pipeline_health(plan, watch, rising, 'why', gone, now)
        return found.level, found.message

    assert health(0.0, None) == (Level.ERROR, 'no plan is in force: why')
    assert health(0.0)[0] == Level.STALE
    watch.on_source_status(counters())
    assert health(0.5) == (Level.OK, 'no images arrive')
    for at in (1.0, 2.0):
        watch.on_report(report(0.11), at)
    watch.on_report(report(9.0, status=1), 2.0)
    assert health(2.5) == (Level.OK, 'works')
    assert health(2.5, gone=['cloud']) == (Level.WARN, 'without cloud')
    watch.on_source_status(counters(lost=1, in_flight=1))
    assert health(3.0) == (Level.WARN, 'lost frames')
    assert health(5.5) == (Level.ERROR, 'frames are in flight, but no result for 3.5 s')
    watch.on_source_status(counters(lost=1, failed=1, last_failure='the image is cut off'))
    assert health(5.7) == (Level.ERROR, 'frames fail: the image is cut off')
    watch.on_report(report(0.1), 5.8)
    assert health(5.9) == (Level.WARN, 'lost frames; frames fail: the image is cut off')
    for at in (20.0, 20.1, 20.2):
        watch.on_report(report(0.3), at)
    assert health(20.5) == (Level.WARN, 'frames take 3.0 times the prediction')


def test_figures_are_of_the_last_five_seconds():
    watch = StreamWatch()
    for at in range(10):
        watch.on_report(Message(status=0, latency_seconds=0.1 * at, energy_joules=2.0), float(at))
    figures = watch.figures(9.0)
    assert (figures.fps, figures.energy_joules) == (6 / 5, 2.0)
    assert figures.latency_seconds == pytest.approx(0.65)
    assert math.isnan(watch.figures(99.0).latency_seconds)

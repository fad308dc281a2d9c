# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A host's sample from all its sources; what is unknown is NaN, None or empty, never 0."""

import math

import psutil
import pytest
from trees import DEVICES, net, stat, write_tree

from edge_dnn_partition.sensing.host import HostMeter, HostSample


def test_a_sample_of_an_orin_nano(device):
    root = device('orin_nano')
    meter = HostMeter(root)
    first = meter.sample(100.0)
    assert math.isnan(first.cpu.percent)
    assert first.power[0].watts == pytest.approx(5.0)
    write_tree(root, {'proc/stat': stat(*[(1100, 9100)] * 6), 'proc/net/dev': net(lo=(5, 5, 0), wlan0=(201, 1, 0))})
    second = meter.sample(102.0)
    assert second.cpu.percent == 50.0
    assert second.cpu.load_1min == 1.25
    assert second.memory.total_bytes == 7_800_000 * 1024
    assert second.thermal.cpu_celsius == 47.5
    assert second.pressure.io_percent == 2.5
    assert second.clock.max_hertz == 1.5104e9
    assert {i.name: i.received_bytes_per_second for i in second.interfaces}['wlan0'] == 100.0
    assert {i.name: i.signal_dbm for i in second.interfaces}['wlan0'] == -71
    assert second.gpus[0].percent == 12.0
    assert second.throttling is None  # no one tells on this tree
    assert second.battery is None
    assert second.power[0].joules == pytest.approx(10.0)


@pytest.mark.parametrize('name', DEVICES)
def test_every_source_says_what_it_found_or_why_not(device, name):
    meter = HostMeter(device(name))
    meter.sample(0.0)
    states = meter.states()
    assert len({state.name for state in states}) == len(states)
    for state in states:
        assert state.status in ('ok', 'absent')
        assert state.found
        assert '\n' not in state.found
    meters = {state.name for state in states if state.status == 'ok'} & {'ina3221', 'rapl', 'battery_meter'}
    assert meters == {
        'jetson_nano': {'ina3221'}, 'orin_nano': {'ina3221'}, 'laptop': {'rapl', 'battery_meter'}, 'server': {'rapl'},
    }.get(name, set())  # fmt: skip


def test_a_host_that_tells_nothing(tmp_path):
    meter = HostMeter(str(tmp_path))
    meter.sample(0.0)
    sample = meter.sample(1.0)
    assert sample == HostSample() or unknown(sample)


def unknown(sample):
    for part in (sample.cpu, sample.memory, sample.pressure, sample.clock, sample.thermal, sample.process):
        assert all(value == () or math.isnan(value) for value in vars(part).values())
    return (sample.throttling, sample.interfaces, sample.gpus, sample.battery, sample.power) == (None, (), (), None, ())


def test_this_machine():
    meter = HostMeter()
    meter.sample(0.0)
    sample = meter.sample(1.0)
    assert sample.memory.total_bytes == psutil.virtual_memory().total
    assert 0 < sample.memory.available_bytes <= sample.memory.total_bytes
    assert sample.cpu.load_1min >= 0
    assert len(sample.cpu.percent_per_core) == psutil.cpu_count()
    assert {interface.name for interface in sample.interfaces} == set(psutil.net_io_counters(pernic=True))
    assert sample.process.resident_bytes > 1e6

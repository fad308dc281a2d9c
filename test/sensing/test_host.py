# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Host samples from replayed psutil readings; what is unknown is NaN."""

import math
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.host import (
    HostCounters,
    HostMeter,
    Interface,
    cpu_percents,
    cpu_temperature,
    interface_rates,
    read_counters,
)


class Times(dict):
    _asdict = dict.copy


def times(user, idle, **others):
    return Times(user=user, system=0.0, idle=idle, iowait=others.pop('iowait', 0.0), **others)


def network(**counters):
    return {n: SimpleNamespace(bytes_sent=sent, bytes_recv=got) for n, (sent, got) in counters.items()}


class Host:
    """Stands in for psutil: each attribute is what the function of that name returns, or raises."""

    def __init__(self, **answers):
        self.answers = answers

    def __getattr__(self, name):
        if name not in self.answers:
            raise AttributeError(name)

        def call(**_):
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def full_host():
    return Host(
        cpu_times=[times(10.0, 90.0), times(50.0, 50.0)],
        net_io_counters=network(eth0=(1000, 2000), lo=(5, 5)),
        getloadavg=(1.5, 1.0, 0.5),
        virtual_memory=SimpleNamespace(total=8e9, available=6e9),
        swap_memory=SimpleNamespace(used=1e6),
        cpu_freq=SimpleNamespace(current=1500.0, max=1800.0),
        sensors_temperatures={'cpu_thermal': [SimpleNamespace(label='', current=48.5)]},
    )


def test_rates_come_from_differences():
    host = full_host()
    meter = HostMeter(host)
    first = meter.sample(100.0)
    assert math.isnan(first.cpu_percent)
    assert first.cpu_percent_per_core == ()
    assert [interface.name for interface in first.interfaces] == ['eth0', 'lo']
    assert all(math.isnan(interface.sent_bytes_per_second) for interface in first.interfaces)
    host.answers['cpu_times'] = [times(11.0, 91.0), times(50.5, 51.5)]
    host.answers['net_io_counters'] = network(eth0=(4000, 2500), lo=(5, 5))
    second = meter.sample(102.0)
    assert second.cpu_percent == pytest.approx(37.5)
    assert second.cpu_percent_per_core == pytest.approx((50.0, 25.0))
    assert second.interfaces == (Interface('eth0', 1500.0, 250.0), Interface('lo', 0.0, 0.0))
    assert second.load_1min == 1.5
    assert (second.memory_total_bytes, second.memory_available_bytes) == (8e9, 6e9)
    assert second.swap_used_bytes == 1e6
    assert second.temperature_celsius == 48.5
    assert (second.clock_hertz, second.clock_max_hertz) == (1.5e9, 1.8e9)


@pytest.mark.parametrize('error', [None, OSError(), NotImplementedError(), RuntimeError(), AttributeError()])
def test_what_a_host_does_not_tell_is_unknown_and_never_zero(error):
    names = vars(full_host())['answers']
    host = Host() if error is None else Host(**dict.fromkeys(names, error))
    meter = HostMeter(host)
    meter.sample(0.0)
    sample = meter.sample(1.0)
    for name, value in vars(sample).items():
        assert value == () or math.isnan(value), name


def test_platforms_that_answer_with_nothing():
    host = full_host()
    host.answers |= {'cpu_freq': None, 'sensors_temperatures': {}, 'net_io_counters': None}
    sample = HostMeter(host).sample(0.0)
    assert math.isnan(sample.clock_hertz)
    assert math.isnan(sample.temperature_celsius)
    assert sample.interfaces == ()
    host.answers['cpu_freq'] = SimpleNamespace(current=1000.0, max=0.0)  # psutil: 0 where unknown
    sample = HostMeter(host).sample(0.0)
    assert sample.clock_hertz == 1e9
    assert math.isnan(sample.clock_max_hertz)


def counters(seconds=0.0, cores=(), sent=None, received=None):
    return HostCounters(seconds, cores, sent or {}, received if received is not None else (sent or {}))


def test_guests_are_not_counted_twice_and_waiting_is_idle():
    host = Host(cpu_times=[times(6.0, 3.0, iowait=1.0, guest=2.0, guest_nice=0.0)])
    assert read_counters(0.0, host).cores == ((6.0, 10.0),)


def test_a_core_that_comes_or_goes_makes_the_cpu_unknown_once():
    total, per_core = cpu_percents(counters(cores=((1.0, 2.0),)), counters(cores=((1.0, 2.0), (1.0, 2.0))))
    assert math.isnan(total)
    assert per_core == ()


def test_read_twice_within_a_clock_tick():
    cores = ((1.0, 2.0), (1.0, 2.0))
    total, per_core = cpu_percents(counters(cores=cores), counters(cores=cores))
    assert math.isnan(total)
    assert len(per_core) == 2
    assert all(map(math.isnan, per_core))


@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 4), min_size=1, max_size=8))
def test_percents_stay_percents(cores):
    before = counters(cores=tuple((busy, busy + idle) for busy, idle, _, _ in cores))
    after = counters(cores=tuple((busy, busy + idle) for _, _, busy, idle in cores))
    total, per_core = cpu_percents(before, after)
    assert all(math.isnan(value) or 0 <= value <= 100 for value in (total, *per_core))


@pytest.mark.parametrize(
    ('before', 'after', 'expected'),
    [
        (counters(0, sent={'a': 10}), counters(2, sent={'a': 30}), 10.0),
        (counters(0, sent={'a': 10}), counters(2, sent={'a': 10}), 0.0),
        (None, counters(2, sent={'a': 30}), None),  # first sample
        (counters(0, sent={'b': 1}), counters(2, sent={'a': 30}), None),  # the interface is new
        (counters(0, sent={'a': 40}), counters(2, sent={'a': 30}), None),  # it was taken down and up
        (counters(2, sent={'a': 10}), counters(2, sent={'a': 30}), None),  # no time went by
    ],
)
def test_interface_rates(before, after, expected):
    (interface,) = interface_rates(before, after)
    assert interface.name == 'a'
    for rate in (interface.sent_bytes_per_second, interface.received_bytes_per_second):
        assert rate == expected if expected is not None else math.isnan(rate)


@pytest.mark.parametrize(
    ('chips', 'expected'),
    [
        ({'coretemp': [('Package id 0', 60.0), ('Core 1', 62.0)], 'nvme': [('Composite', 70.0)]}, 62.0),
        ({'k10temp': [('Tctl', 55.0)], 'amdgpu': [('edge', 80.0)]}, 55.0),
        ({'cpu_thermal': [('', 48.0)]}, 48.0),  # Raspberry Pi
        ({'CPU-therm': [('', 41.0)], 'GPU-therm': [('', 60.0)]}, 41.0),  # Jetson
        ({'thinkpad': [('CPU', 50.0), ('GPU', 90.0)]}, 50.0),
        ({'acpitz': [('', 30.0)], 'iwlwifi_1': [('', 45.0)]}, 30.0),
        ({'acpitz': [('', 30.0)], 'coretemp': [('', 45.0)]}, 45.0),
        ({'cpu_thermal': [('', -273.1)], 'nvme': [('', 40.0)]}, math.nan),
        ({'cpu_thermal': [('', None)]}, math.nan),
        ({'nvme': [('', 40.0)]}, math.nan),
        ({}, math.nan),
    ],
)
def test_temperature_is_the_hottest_cpu_sensors(chips, expected):
    sensors = {
        chip: [SimpleNamespace(label=label, current=current) for label, current in values]
        for chip, values in chips.items()
    }
    assert cpu_temperature(sensors) == pytest.approx(expected, nan_ok=True)


def test_this_machine():
    meter = HostMeter()
    meter.sample(0.0)
    sample = meter.sample(1.0)
    assert sample.memory_total_bytes == psutil.virtual_memory().total
    assert 0 < sample.memory_available_bytes <= sample.memory_total_bytes
    assert sample.load_1min >= 0
    assert len(sample.cpu_percent_per_core) == psutil.cpu_count()

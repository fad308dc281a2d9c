# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Each source on the trees of six devices; files that vanish, cannot be read or hold nonsense."""

import errno
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import DEVICES, process, psi, stat, write_tree

from edge_dnn_partition.sensing import files
from edge_dnn_partition.sensing.host import telemetry_sources
from edge_dnn_partition.sensing.source import Unavailable
from edge_dnn_partition.sensing.sources import memory
from edge_dnn_partition.sensing.sources.battery import BatterySource
from edge_dnn_partition.sensing.sources.cpu import ClockSource, CpuSource, cpu_use, parse_cores
from edge_dnn_partition.sensing.sources.jetson import JetsonGpuSource
from edge_dnn_partition.sensing.sources.memory import MemorySource, PressureSource
from edge_dnn_partition.sensing.sources.process import ProcessSource
from edge_dnn_partition.sensing.sources.thermal import Sensor, ThermalSource, ThrottlingSource, cpu_temperature, pi_flags


def no_command(command):
    raise FileNotFoundError(2, 'No such file or directory', command[0])


def probed(source):
    source.probe()
    return source


def test_cpu_use_comes_from_differences(device):
    root = device('pi4')
    source = probed(CpuSource(root))
    first = source.read(0.0)
    assert math.isnan(first.percent)
    assert first.percent_per_core == ()
    assert first.load_1min == 1.25
    write_tree(root, {'proc/stat': stat((1050, 9050), (1000, 9100), (1100, 9000), (1000, 9000))})
    second = source.read(1.0)
    assert second.percent == pytest.approx(50.0)
    assert second.percent_per_core[:3] == (50.0, 0.0, 100.0)
    assert math.isnan(second.percent_per_core[3])  # its counters stood still


def test_guests_are_not_counted_twice_and_waiting_is_idle():
    assert parse_cores('cpu  1 1\ncpu0 6 0 0 3 1 0 0 0 2 0\nintr 5\n') == {'cpu0': (6.0, 10.0)}


def test_a_core_that_goes_offline_makes_the_use_unknown_once(device):
    root = device('pi4')
    source = probed(CpuSource(root))
    source.read(0.0)
    write_tree(root, {'proc/stat': stat((1050, 9050), (1000, 9100))})
    assert math.isnan(source.read(1.0).percent)
    write_tree(root, {'proc/stat': stat((1100, 9050), (1050, 9100))})
    assert source.read(2.0).percent == 100.0


ticks = st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)).map(lambda p: (float(min(p)), float(max(p))))


@given(before=st.lists(ticks, max_size=4), after=st.lists(ticks, max_size=4))
def test_percentages_lie_between_0_and_100(before, after):
    total, per_core = cpu_use(dict(enumerate(before)), dict(enumerate(after)))
    for value in (total, *per_core):
        assert math.isnan(value) or 0 <= value <= 100


@pytest.mark.parametrize(
    ('name', 'gibibytes', 'swap_used'),
    [('pi4', 3.70, 0.0), ('pi5', 7.86, 97_136 * 1024), ('laptop', 15.26, 500_000 * 1024), ('server', 124.93, 0.0)],
)
def test_memory(device, name, gibibytes, swap_used):
    reading = MemorySource(device(name)).read(0.0)
    assert reading.total_bytes / 2**30 == pytest.approx(gibibytes, abs=0.01)
    assert reading.available_bytes < reading.total_bytes
    assert reading.swap_used_bytes == swap_used


def test_an_old_kernel_does_not_say_what_is_available(device):
    reading = MemorySource(device('pi4', proc__meminfo='MemTotal: 100 kB\nMemFree: lots\n')).read(0.0)
    assert (reading.total_bytes, reading.available_bytes) == (102_400, pytest.approx(math.nan, nan_ok=True))
    assert math.isnan(reading.swap_used_bytes)


def test_process(device):
    root = device('pi4')
    source = ProcessSource(root)
    assert source.probe() == 'process 4711: edge (py) x'
    assert math.isnan(source.read(0.0).cpu_percent)
    write_tree(root, process(ticks=(150, 30)))
    reading = source.read(2.0)
    assert reading.cpu_seconds == pytest.approx(1.8)
    assert reading.cpu_percent == pytest.approx(30.0)
    assert reading.resident_bytes == 5000 * 4096
    write_tree(root, {'proc/self/stat': '4711 (x) S 1\n'})
    with pytest.raises(Unavailable, match='has 2 words after the name'):
        source.read(3.0)


@pytest.mark.parametrize(('name', 'expected'), [('orin_nano', (0.5, 1.5, 2.5)), ('laptop', (3.6, 0.0, 0.25))])
def test_pressure(device, name, expected):
    reading = probed(PressureSource(device(name))).read(0.0)
    assert (reading.cpu_percent, reading.memory_percent, reading.io_percent) == expected


def test_without_pressure_it_says_why(device, monkeypatch):
    with pytest.raises(Unavailable, match='older than 4.20'):
        PressureSource(device('jetson_nano')).probe()  # its kernel is 4.9

    def switched_off(path):
        raise OSError(errno.EOPNOTSUPP, 'Operation not supported', path)

    monkeypatch.setattr(memory, 'read_text', switched_off)  # Raspberry Pi OS
    with pytest.raises(Unavailable, match='switched off') as caught:
        PressureSource(device('pi5')).probe()
    assert 'psi=1' in caught.value.advice


@pytest.mark.parametrize(
    ('name', 'hertz', 'largest', 'limit'),
    [
        ('pi4', 1.5e9, 1.8e9, 1.8e9),
        ('jetson_nano', 1.428e9, 1.479e9, 1.428e9),
        ('orin_nano', (4 * 1.5104e9 + 2 * 0.7296e9) / 6, 1.5104e9, 1.5104e9),
        ('laptop', 2e9, 4.2e9, 4.2e9),
        ('server', 2.6e9, 3.5e9, 3.5e9),
    ],
)
def test_clocks_are_weighed_by_cores(device, name, hertz, largest, limit):
    reading = probed(ClockSource(device(name))).read(0.0)
    assert (reading.hertz, reading.max_hertz, reading.limit_hertz) == pytest.approx((hertz, largest, limit))


def test_clocks_of_a_virtual_machine(tmp_path):
    root = write_tree(tmp_path, {'proc/cpuinfo': 'model name : x\ncpu MHz : 2000.0\n\ncpu MHz\t: 3000.0\n'})
    source = ClockSource(root)
    assert 'no cpufreq' in source.probe()
    reading = source.read(0.0)
    assert reading.hertz == 2.5e9
    assert math.isnan(reading.max_hertz)
    write_tree(tmp_path, {'proc/cpuinfo': 'CPU part : 0xd08\n'})
    with pytest.raises(Unavailable, match='most virtual machines'):
        source.probe()


@pytest.mark.parametrize(
    ('name', 'cpu', 'gpu'),
    [('pi4', 48.686, math.nan), ('jetson_nano', 36.5, 34.0), ('orin_nano', 47.5, 46.0), ('laptop', 62.0, math.nan),
     ('server', 55.125, math.nan)],
)  # fmt: skip
def test_temperatures(device, name, cpu, gpu):
    reading = probed(ThermalSource(device(name))).read(0.0)
    assert (reading.cpu_celsius, reading.gpu_celsius) == pytest.approx((cpu, gpu), nan_ok=True)


@pytest.mark.parametrize(
    ('sensors', 'expected'),
    [
        ([('coretemp', 'Package id 0', 60.0), ('coretemp', 'Core 1', 62.0), ('nvme', 'Composite', 70.0)], 62.0),
        ([('k10temp', 'Tctl', 55.0), ('amdgpu', 'edge', 80.0)], 55.0),
        ([('CPU-therm', '', 41.0), ('GPU-therm', '', 60.0)], 41.0),
        ([('thinkpad', 'CPU', 50.0), ('thinkpad', 'GPU', 90.0)], 50.0),
        ([('acpitz', '', 30.0), ('iwlwifi_1', '', 45.0)], 30.0),
        ([('acpitz', '', 30.0), ('coretemp', '', 45.0)], 45.0),
        ([('cpu_thermal', '', math.nan), ('nvme', '', 40.0)], math.nan),
        ([], math.nan),
    ],
)
def test_temperature_is_the_hottest_cpu_sensors(sensors, expected):
    assert cpu_temperature([Sensor(*sensor) for sensor in sensors]) == pytest.approx(expected, nan_ok=True)


def test_a_sensor_that_is_absurd_or_fails_is_unknown(device):
    root = device('pi4')
    source = probed(ThermalSource(root))
    write_tree(root, {
        'sys/class/hwmon/hwmon0/temp1_input': '-273100\n', 'sys/class/thermal/thermal_zone0/temp': None,
    })  # fmt: skip
    assert math.isnan(source.read(0.0).cpu_celsius)


@pytest.mark.parametrize(
    ('text', 'flags'),
    [
        ('throttled=0x0', ()),
        ('throttled=0x50005', ('under_voltage', 'throttled', 'under_voltage_since_boot', 'throttled_since_boot')),
        ('80008', ('soft_temperature_limit', 'soft_temperature_limit_since_boot')),
        ('throttled=0xe0002', ('frequency_capped', 'frequency_capped_since_boot', 'throttled_since_boot',
                               'soft_temperature_limit_since_boot')),
    ],
)  # fmt: skip
def test_flags_of_the_raspberry_pi(text, flags):
    assert pi_flags(text) == flags


def test_throttling_of_a_pi_by_file_and_by_command(device):
    reading = probed(ThrottlingSource(device('pi4'), no_command)).read(0.0)
    assert reading.flags[:2] == ('under_voltage', 'throttled')
    source = ThrottlingSource(device('pi5'), lambda command: 'throttled=0x4\n')
    assert source.probe() == 'the firmware'
    assert source.read(0.0).flags == ('throttled',)
    with pytest.raises(Unavailable):
        ThrottlingSource(device('pi5'), no_command).probe()
    with pytest.raises(Unavailable, match="said 'error=1 "):
        pi_flags('error=1 error_msg="Command not registered"')


def test_throttling_by_counters_and_cooling_devices(device):
    root = device('laptop')
    source = probed(ThrottlingSource(root, no_command))
    assert source.read(0.0).flags == ()
    write_tree(root, {'sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count': '19\n'})
    assert source.read(1.0).flags == ('throttled',)
    assert source.read(2.0).flags == ()
    write_tree(root, {'sys/class/thermal/cooling_device0/cur_state': '2\n'})
    assert source.read(3.0).flags == ('cooling',)
    with pytest.raises(Unavailable, match='no firmware'):
        ThrottlingSource(device('server'), no_command).probe()


def test_battery(device):
    root = device('laptop')
    source = BatterySource(root)
    assert source.probe() == 'BAT0'  # not the mouse's
    reading = source.read(0.0)
    assert (reading.percent, reading.charging) == (73, False)
    assert reading.discharge_watts == pytest.approx(9.12)
    write_tree(root, {'sys/class/power_supply/BAT0/status': 'Charging\n'})
    assert source.read(1.0).discharge_watts == 0
    write_tree(root, {'sys/class/power_supply/BAT0/type': None})
    with pytest.raises(Unavailable, match='taken out'):
        source.read(2.0)
    with pytest.raises(Unavailable, match='no battery'):
        BatterySource(device('server')).probe()


@pytest.mark.parametrize(('name', 'percent', 'hertz'), [('jetson_nano', 65.4, 921.6e6), ('orin_nano', 12.0, 624.75e6)])
def test_gpu_of_a_jetson(device, name, percent, hertz):
    (reading,) = probed(JetsonGpuSource(device(name))).read(0.0)
    assert (reading.percent, reading.hertz) == pytest.approx((percent, hertz))
    assert math.isnan(reading.memory_used_bytes)


@pytest.mark.parametrize('name', DEVICES)
@pytest.mark.parametrize('garbage', ['', 'nonsense', '-999999999 \x00\xff', '9' * 400, 'nan', 'inf inf inf', '\n\n\n', ':' * 40])
def test_nonsense_in_every_file_is_unknown_and_never_breaks(device, name, garbage):
    root = device(name)
    sources = [s for s in telemetry_sources(root) if not s.name.startswith(('nvidia', 'jtop'))]
    for when in ('before the probe', 'after it'):
        if when == 'before the probe':
            found = write_and_read(root, name, garbage, sources, probe=True)
        else:
            write_tree(root, DEVICES[name])
            for source in sources:
                try_probe(source)
            found = write_and_read(root, name, garbage, sources, probe=False)
        for reading in found:
            for value in vars(reading).values():
                assert not isinstance(value, float) or math.isnan(value) or value >= 0, reading


def write_and_read(root, name, garbage, sources, *, probe):
    write_tree(root, {path: garbage for path in DEVICES[name] if not path.endswith('/type')})
    found = []
    for source in sources:
        if probe and not try_probe(source):
            continue
        try:
            reading = source.read(0.0)
        except (Unavailable, OSError):
            continue
        found += reading if isinstance(reading, tuple) else [reading]
    return found


def try_probe(source):
    try:
        source.probe()
    except (Unavailable, OSError):
        return False
    return True


@pytest.mark.parametrize('name', DEVICES)
def test_files_that_vanish_raise_what_the_sampler_takes(device, name):
    root = device(name)
    sources = [s for s in telemetry_sources(root) if not s.name.startswith(('nvidia', 'jtop')) and try_probe(s)]
    assert len(sources) >= 6
    write_tree(root, dict.fromkeys(DEVICES[name]))
    for source in sources:
        try:
            source.read(1.0)
        except (Unavailable, OSError) as error:
            assert str(error)


def test_this_machine_and_long_files(tmp_path):
    (tmp_path / 'long').write_text('x' * 3_000_000 + '\n')
    assert len(files.read_text(str(tmp_path / 'long'))) == 3_000_000
    assert [p.rpartition('/')[2] for p in files.listing('/proc/self')].count('stat') == 1


def test_commands_fail_in_one_line():
    assert files.run_command(['echo', 'hello']) == 'hello\n'
    with pytest.raises(OSError, match='sh -c echo no >&2; exit 3 failed with 3: no'):
        files.run_command(['sh', '-c', 'echo no >&2; exit 3'])


def test_psi_text():
    assert memory.parse_pressure(psi(7.25, 0, 0)['proc/pressure/cpu']) == 7.25
